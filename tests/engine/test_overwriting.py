"""Others' writes to an interrupted transaction, and `recover --overwrite`."""

from __future__ import annotations

import pytest

from damonpolicy.base.errors import ExitCode
from damonpolicy.kernel.system.machine import KDAMONDS
from tests.engine.site import shipped
from tests.world import CHANGED, STAT_OFF

SLEEP = "/sys/kernel/mm/ksm/sleep_millisecs"
SWAPPY = "version: 1\nname: ksm\nsettings: {/proc/sys/vm/swappiness: 5}\n"
SCHEME = f"{KDAMONDS}/0/contexts/0/schemes/0"


def starting(path, text):
    return text == "on"


def test_bytes_of_someone_else_are_put_back_where_that_is_asked_for(site):
    site.machine.write(SLEEP, "50")
    before = site.world.look()
    site.killed(starting, "ksm")
    site.machine.write(SLEEP, "77")
    site.machine.write(f"{SCHEME}/action", "pageout")
    assert site.run("recover").code == ExitCode.ROLLBACK_INCOMPLETE

    assert "everything is as it was before" in site.done("recover", "--overwrite").out
    assert site.world.look() == before
    site.done("apply", shipped("monitor"))


def test_what_was_started_in_a_slot_of_ours_is_stopped_where_that_is_asked_for(site):
    """Killed before the kdamond was started, so someone else has started it."""
    before = site.world.look()
    site.killed(lambda path, text: path.startswith(f"{SCHEME}/access_pattern"), "ksm")
    site.machine.write(f"{KDAMONDS}/0/state", "on")
    assert "slot 0 was started by someone else" in site.run("recover").err

    site.done("recover", "--overwrite")

    assert site.world.look() == before


def test_a_slot_of_someone_else_is_never_put_back(site):
    site.killed(starting, "ksm")
    path = f"{KDAMONDS}/5/contexts/nr_contexts"
    site.machine.write(path, "1")
    site.machine.write(f"{KDAMONDS}/5/contexts/0/operations", "paddr")

    outcome = site.done("recover", "--overwrite")

    assert "slot 5 was configured by someone else: it is left as it is" in outcome.out
    assert site.read(f"{KDAMONDS}/5/contexts/0/operations") == "paddr"
    assert site.read(f"{KDAMONDS}/0/contexts/nr_contexts") == "0", "ours is cleared"
    site.done("apply", shipped("monitor"))


def staging(path, text):
    return "/schemes/" in path


def running(site, slot=0):
    """What the kernel runs with, whatever the files say; None where nothing runs."""
    site.machine.read(f"{KDAMONDS}/{slot}/state")  # so that it takes over what others did
    found = site.machine._kdamonds.running(str(slot))
    return found and dict(found["tree"])


def test_what_someone_committed_runs_no_longer(site):
    site.world.apply("ksm")
    before = running(site)
    site.killed(staging, "ksm", CHANGED["ksm"])
    site.machine.write(f"{SCHEME}/quotas/ms", "77")
    site.machine.write(f"{KDAMONDS}/0/state", "commit")
    assert running(site) != before

    site.done("recover", "--overwrite")

    assert running(site) == before


@pytest.mark.parametrize("act", ["nothing", "stops", "edits"])
def test_a_kdamond_of_someone_else_is_neither_asked_nor_judged(site, act):
    site.world.foreign(on=True)
    site.killed(starting, "ksm")
    if act == "stops":
        site.machine.write(f"{KDAMONDS}/0/state", "off")
    if act == "edits":
        aggregation = f"{KDAMONDS}/0/contexts/0/monitoring_attrs/intervals/aggr_us"
        site.machine.write(aggregation, "200000")
        site.machine.write(f"{KDAMONDS}/0/state", "commit")
    since = len(site.machine.log)

    site.done("recover", "--overwrite")

    assert not [each for each in site.machine.log[since:] if f"{KDAMONDS}/0/" in each.path]


def wiped(site):
    """Two kdamonds of ours, of which someone has taken the slots in the midst of a change."""
    site.world.apply("ksm")
    site.world.apply("monitor")
    before = site.world.look()
    site.killed(staging, "ksm", CHANGED["ksm"])
    for slot in (0, 1):
        site.machine.write(f"{KDAMONDS}/{slot}/state", "off")
    site.machine.write(f"{KDAMONDS}/nr_kdamonds", "0")
    return before


def test_slots_that_someone_took_away_come_back_and_run(site):
    wiped(site)
    assert "or have it put back" in site.run("recover").err

    outcome = site.done("recover", "--overwrite")

    assert "the kdamond of slot 1 was started again" in outcome.out
    assert running(site, 0)
    assert running(site, 1)
    assert site.done("diff").out.endswith("No drift.\n")


def test_what_cannot_be_had_back_holds_up_nothing(site):
    """Someone made a slot of the two: it is not wiped, and the other is no more."""
    wiped(site)
    site.machine.write(f"{KDAMONDS}/nr_kdamonds", "2")
    theirs = f"{KDAMONDS}/1/contexts/nr_contexts"
    site.machine.write(theirs, "1")
    site.machine.write(f"{KDAMONDS}/1/contexts/0/operations", "paddr")

    outcome = site.done("recover", "--overwrite")

    assert "slot 1 was configured by someone else: it is left as it is" in outcome.out
    assert site.read(f"{KDAMONDS}/1/contexts/0/operations") == "paddr"
    assert running(site, 0)
    site.done("stop", "--all")
    assert site.read(theirs) == "1"


def test_a_kdamond_that_an_undo_has_started_is_ours(site):
    """Its first try put back all but one file, and started what someone had stopped."""
    site.world.apply("ksm")
    site.killed(staging, "ksm", CHANGED["ksm"])
    kept = site.read(f"{SCHEME}/quotas/ms")
    site.machine.write(f"{KDAMONDS}/0/state", "off")
    site.machine.write(f"{SCHEME}/quotas/ms", "77")
    assert site.run("recover").code == ExitCode.ROLLBACK_INCOMPLETE
    site.machine.write(f"{SCHEME}/quotas/ms", kept)

    site.done("recover")

    assert running(site)


def test_a_setting_that_the_crash_had_not_reached_is_put_back_too(site):
    """DAMON_STAT was switched on meanwhile, and lets no kdamond start."""
    site.world.apply("ksm")
    before = site.world.look()
    site.killed(lambda path, text: path.endswith("nr_contexts"), "ksm", None, SWAPPY)
    site.machine.write(STAT_OFF, "Y")
    assert site.run("recover").code == ExitCode.ROLLBACK_INCOMPLETE

    site.done("recover", "--overwrite")

    assert site.world.look() == before
    assert running(site)
