"""What someone else wrote into an interrupted transaction, and `recover --overwrite`."""

from __future__ import annotations

from damonpolicy.errors import ExitCode
from damonpolicy.kernel.sysfs import KDAMONDS
from tests.engine.site import shipped

SLEEP = "/sys/kernel/mm/ksm/sleep_millisecs"
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
    """Killed before the kdamond was to be started, so whoever started it is someone else."""
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

    assert "slot 5 was configured by someone else: it is left alone" in outcome.out
    assert site.read(f"{KDAMONDS}/5/contexts/0/operations") == "paddr"
    assert site.read(f"{KDAMONDS}/0/contexts/nr_contexts") == "0", "ours is cleared"
    site.done("apply", shipped("monitor"))
