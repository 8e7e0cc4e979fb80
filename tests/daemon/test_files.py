"""Missing files and directories: which policies end, and which stay."""

from __future__ import annotations

import shutil

import pytest

from damonpolicy.daemon.files import Settling
from damonpolicy.daemon.jobs.reload import Reloader
from damonpolicy.daemon.keeper import Keeper
from damonpolicy.engine.session import changing
from tests.daemon.conftest import DEBOUNCE, PAGES, RUN, settings


def test_a_link_to_nothing_ends_a_policy(desk):
    desk.put("p.yaml", settings(pages=200))
    desk.reloader.look()
    (desk.directory / ".p").symlink_to("/dev/null")
    (desk.directory / ".p").replace(desk.directory / "p.yaml")

    assert desk.rest().kind == "applied"
    assert not desk.world.managed.policies


def test_a_link_to_nowhere_is_no_reason_to_end_anything(desk):
    desk.put("p.yaml", settings(pages=200))
    desk.reloader.look()
    (desk.directory / "q.yaml").symlink_to("nowhere")
    outcome = desk.rest()

    assert outcome.kind == "invalid"
    assert [(each.code, each.hint) for each in outcome.diagnostics] == [("DP0001", "")]
    assert desk.read(PAGES) == "200"


def test_a_removed_file_ends_its_policy_and_nobody_elses(desk):
    desk.world.apply("hand", text=settings("hand", pages=100).replace(f"  {RUN}: 1\n", ""))
    desk.put("p.yaml", f"version: 1\nname: p\nsettings: {{{RUN}: 1}}\n")
    desk.rest()
    (desk.directory / "p.yaml").unlink()
    assert desk.rest().kind == "applied"

    assert list(desk.world.managed.policies) == ["hand"]
    assert desk.read(RUN) == "0"


def test_a_directory_that_is_gone_changes_nothing_until_it_is_back(desk):
    desk.put("p.yaml", settings(pages=200))
    desk.rest()
    shutil.rmtree(desk.directory)
    outcome = desk.rest()

    assert outcome.kind == "gone"
    assert str(desk.directory) in outcome.message
    assert desk.read(PAGES) == "200"
    desk.directory.mkdir()
    desk.put("p.yaml", settings(pages=300))
    assert desk.rest().kind == "applied"
    assert desk.read(PAGES) == "300"


def test_a_directory_that_was_never_there_holds_nothing(desk):
    desk.directory.rmdir()

    assert desk.rest().kind == "unchanged"


def restarted(desk, *paths):
    """A service of the same machine that begins; of the same paths, if none are given."""
    paths = [str(each) for each in paths] or list(desk.keeper.paths)
    return Reloader(Keeper(desk.world.machine, desk.world.places, paths), debounce=DEBOUNCE)


@pytest.mark.parametrize("named", [False, True])
def test_what_is_gone_is_missed_by_the_next_service_too(desk, tmp_path, named):
    desk.put("p.yaml", settings(pages=200))
    path, aside = desk.directory / "p.yaml" if named else desk.directory, tmp_path / "aside"
    assert restarted(desk, path).look().kind == "applied"
    path.rename(aside)
    again = restarted(desk, path)
    outcome = again.look()

    assert (outcome.kind, outcome.generation) == ("gone", 0)
    assert f"`{path}` is gone" in outcome.message
    assert desk.read(PAGES) == "200"
    aside.rename(path)
    desk.world.machine.sleep(DEBOUNCE)
    again.look()
    desk.world.machine.sleep(DEBOUNCE)
    assert again.look().kind == "unchanged"


def test_an_empty_directory_in_place_of_one_that_was_gone_ends_its_policies(desk):
    desk.put("p.yaml", settings(pages=200))
    desk.rest()
    shutil.rmtree(desk.directory)
    desk.reloader = restarted(desk)
    assert desk.rest().kind == "gone"
    desk.directory.mkdir()

    assert desk.rest().kind == "applied"
    assert not desk.world.managed.policies
    desk.directory.rmdir()
    assert desk.rest().kind == "unchanged", "it held nothing"


def test_what_hides_others_is_missed(desk, tmp_path):
    """A directory of links to /dev/null holds no policy, but keeps those of another one away."""
    desk.put("p.yaml", settings(pages=200))
    hiding = tmp_path / "hiding"
    hiding.mkdir()
    (hiding / "p.yaml").symlink_to("/dev/null")
    assert restarted(desk, desk.directory, hiding).look().kind == "unchanged"
    desk.put("q.yaml", settings("q", pages=300))
    assert restarted(desk, desk.directory, hiding).look().kind == "applied"
    shutil.rmtree(hiding)

    assert restarted(desk, desk.directory, hiding).look().kind == "gone"
    assert list(desk.world.managed.policies) == ["q"]


def test_a_service_that_begins_with_no_policies_misses_nothing(desk):
    desk.put("p.yaml", settings(pages=200))
    desk.rest()
    with changing(desk.world.machine, desk.world.places) as session:
        session.stop_all()
    shutil.rmtree(desk.directory)

    assert restarted(desk).look().kind == "unchanged"


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
