from damonpolicy.daemon.debounce import Settling


def test_the_first_content_is_taken_at_once():
    assert Settling(0.5).settled("a", 10.0, held=False)


def test_what_changes_has_to_rest():
    settling = Settling(0.5)
    settling.settled("a", 0.0, held=False)

    assert not settling.settled("b", 1.0, held=False)
    assert settling.rests_at(1.1) == 1.5
    assert not settling.settled("c", 1.4, held=False)
    assert not settling.settled("c", 1.8, held=False)
    assert settling.settled("c", 1.9, held=False)
    assert settling.rests_at(2.0) is None


def test_what_comes_back_has_not_changed():
    settling = Settling(0.5)
    settling.settled("a", 0.0, held=False)
    settling.settled("b", 1.0, held=False)

    assert not settling.settled("a", 1.2, held=False)
    assert settling.rests_at(1.3) is None
    assert not settling.settled("a", 9.0, held=False)


def test_what_is_being_written_does_not_rest():
    settling = Settling(0.5)

    assert not settling.settled("a", 0.0, held=True)
    assert settling.settled("a", 0.1, held=False)
    for now in range(1, 10):
        assert not settling.settled("b", now, held=True)
    assert not settling.settled("b", 20.0, held=False)
    assert not settling.settled("b", 20.4, held=False)
    assert settling.settled("b", 20.5, held=False)


def test_again():
    settling = Settling(0.5)
    settling.settled("a", 0.0, held=False)
    settling.forget()

    assert settling.settled("a", 0.1, held=False)


def test_it_is_told_early_for_who_waits():
    settling = Settling(0.5)
    settling.settled("a", 0.0, held=False)

    assert not settling.settled("b", 1.0, held=False, since=0.9, early=0.2)
    assert not settling.settled("b", 1.1, held=False, early=0.2)
    assert settling.settled("b", 1.3, held=False, early=0.2)
    assert settling.rested_at == 1.4


def test_files_that_change_and_hold_the_same_rest_anew():
    settling = Settling(0.5)
    settling.settled("a", 0.0, held=False)

    assert not settling.settled("b", 1.0, held=False, since=0.9)
    assert not settling.settled("b", 1.4, held=False, since=1.2)
    assert not settling.settled("b", 1.6, held=False)
    assert settling.settled("b", 1.7, held=False)


def test_what_moved_after_all_has_to_rest_anew():
    settling = Settling(0.5)
    settling.settled("a", 0.0, held=False)
    settling.settled("b", 1.0, held=False)
    assert settling.settled("b", 1.4, held=False, early=0.2)
    settling.moved()

    assert not settling.settled("c", 1.5, held=False, early=0.2)
    assert not settling.settled("a", 9.0, held=False), "it is what runs"
