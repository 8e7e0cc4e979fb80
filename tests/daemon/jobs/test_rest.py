"""Changes wait until their files have come to rest; files that are held open wait longer."""

from __future__ import annotations

import pytest

from damonpolicy.base import log
from damonpolicy.daemon.jobs.reload import HELD
from tests.daemon.conftest import PAGES, RUN, settings


@pytest.fixture
def events():
    """What is logged."""
    told = []
    log.set_sink(lambda level, event, values: told.append((level, event, values)))
    yield told
    log._sinks.clear()


@pytest.fixture
def slow(desk):
    """A desk whose last change took 0.2 s to be made ready, and a list of what it slept."""
    desk.put("p.yaml", settings(pages=200))
    desk.reloader.look()
    desk.reloader._early = 0.2
    desk.put("p.yaml", settings(pages=300))
    desk.reloader.look()
    desk.world.machine.sleep(0.35)
    return desk


def during_the_wait(desk, monkeypatch, act):
    """Let something happen while the end of a rest is awaited; returns what is slept then."""
    slept, real = [], desk.world.machine.sleep

    def sleep(seconds):
        assert desk.world.places.journal.exists(), "all is ready but for the writes"
        slept.append(seconds)
        act()
        real(seconds)

    monkeypatch.setattr(desk.world.machine, "sleep", sleep)
    return slept


def test_a_change_is_made_ready_while_it_rests_and_written_no_sooner(slow, monkeypatch):
    since = len(slow.world.machine.log)
    slept = during_the_wait(
        slow, monkeypatch, lambda: slow.world.machine.log[since:] and pytest.fail("too soon")
    )
    assert slow.reloader.look().kind == "applied"

    assert 0.1 < sum(slept) <= 0.15
    assert slow.read(PAGES) == "300"


def test_what_changes_while_its_rest_is_awaited_is_not_applied(slow, monkeypatch):
    later = settings(pages=400)
    slept = during_the_wait(slow, monkeypatch, lambda: slow.put("p.yaml", later))
    assert slow.reloader.look() is None
    assert len(slept) == 1
    monkeypatch.undo()

    assert slow.read(PAGES) == "200"
    assert not slow.world.places.journal.exists()
    assert slow.world.managed.generation == 1
    assert slow.rest().generation == 2
    assert slow.read(PAGES) == "400"


@pytest.mark.parametrize("rest", [0, 1])
def test_a_half_written_file_is_never_applied(desk, rest):
    """Neither while it is open, for however long, nor before it has rested."""
    desk.put("p.yaml", settings(pages=200))
    desk.rest()
    text = settings(pages=300)
    half = text[: text.index(PAGES) - 2]
    with (desk.directory / "p.yaml").open("w") as stream:
        stream.write(half)
        stream.flush()
        for _ in range(3):
            desk.rest()
            desk.world.machine.sleep(10)
        if rest:
            stream.write(text[len(half) :])
    if not rest:
        desk.reloader.look()
        with (desk.directory / "p.yaml").open("a") as stream:
            stream.write(text[len(half) :])
    assert set(desk.world.managed.settings) == {RUN, PAGES}
    assert desk.rest().kind == "applied"
    assert desk.read(PAGES) == "300"


@pytest.mark.parametrize("begun", [False, True])
def test_a_file_that_is_held_open_is_told_of_and_never_taken(desk, events, begun):
    desk.put("q.yaml", settings("q", pages=200).replace(f"  {RUN}: 1\n", ""))
    if begun:
        desk.rest()
    before = desk.reloader.outcome
    with (desk.directory / "p.yaml").open("w") as stream:
        stream.write(f"version: 1\nname: p\nsettings:\n  {RUN}: 1\n")
        stream.flush()
        desk.put("q.yaml", settings("q", pages=300).replace(f"  {RUN}: 1\n", ""))
        desk.rest()
        assert desk.reloader.held == (), "for a moment that is nothing to tell of"
        for _ in range(20):
            desk.world.machine.sleep(1)
            assert desk.reloader.look() is None
        assert desk.reloader.held == (str(desk.directory / "p.yaml"),)
        assert desk.reloader.outcome is before, "nor is the other file taken"
        assert [each for each in events if each[1] == "reload waits"] == [
            ("warning", "reload waits", {"files": [f"{desk.directory}/p.yaml"], "reason": HELD})
        ]
    assert desk.rest().kind == "applied"

    assert desk.reloader.held == ()
    assert (desk.read(RUN), desk.read(PAGES)) == ("1", "300")


def test_a_file_that_is_held_open_and_not_changed_holds_up_nothing(desk):
    desk.put("p.yaml", settings(pages=200))
    desk.rest()
    with (desk.directory / "p.yaml").open("a"):
        for _ in range(10):
            desk.world.machine.sleep(1)
            desk.reloader.look()

        assert desk.reloader.held == ()
