"""Strangers and faults on a real kernel: nothing half changed, nothing of theirs touched."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from damonpolicy.base.errors import DamonPolicyError, ExitCode, Foreign
from damonpolicy.engine import recover
from damonpolicy.engine.prepare import prepare
from damonpolicy.engine.session import changing
from damonpolicy.engine.state_directory import find
from damonpolicy.engine.store import Store
from damonpolicy.engine.transaction import Terms
from damonpolicy.kernel.system.machine import LiveMachine
from damonpolicy.plan.state import Managed
from damonpolicy.policy.source.files import load as load_files

from .patient import read
from .policy import KDAMONDS, look, run, write
from .spoiled import compiled

TEXT = """\
version: 1
name: a
kdamonds:
  - name: k
    ops: paddr
    targets: [{numa_node: 0}]
    schemes: [{name: s, action: stat}]
settings: {/proc/sys/vm/swappiness: 70}
modules: {damon_stat: {enabled: false}}
"""
SWAPPINESS = Path("/proc/sys/vm/swappiness")
STAT = Path("/sys/module/damon_stat/parameters/enabled")


@pytest.fixture(autouse=True)
def _left_as_found(request: pytest.FixtureRequest) -> Iterator[None]:
    if "theirs" in request.fixturenames:  # their kdamonds are there before
        request.getfixturevalue("theirs")
    before = look()
    yield
    assert run("stop", "--all").code == 0
    assert before == look()


@pytest.fixture
def policy(tmp_path: Path) -> str:
    path = tmp_path / "a.yaml"
    path.write_text(TEXT, encoding="utf-8")
    return str(path)


@pytest.fixture
def theirs() -> Iterator[int]:
    """A slow kdamond of someone else in the last of eight slots; the first are free."""
    module = STAT.read_text("ascii").strip() if STAT.exists() else ""
    if module == "Y":
        STAT.write_text("N", encoding="ascii")
    write("nr_kdamonds", "8")
    yield 7
    clear(7)
    write("nr_kdamonds", "0")
    if module == "Y":
        STAT.write_text("Y", encoding="ascii")


def running(slot: int) -> bool:
    return read(KDAMONDS / str(slot) / "state") == "on\n"


def clear(slot: int) -> None:
    """They go."""
    if running(slot):
        write(f"{slot}/state", "off")
    write(f"{slot}/contexts/nr_contexts", "0")


def configure(slot: int, *, sample: int = 5_000, aggregation: int = 100_000) -> None:
    """As a script of someone else would."""
    base = f"{slot}/contexts"
    write(f"{base}/nr_contexts", "1")
    write(f"{base}/0/operations", "paddr")
    intervals = f"{base}/0/monitoring_attrs/intervals"
    write(f"{intervals}/aggr_us", str(aggregation))
    write(f"{intervals}/sample_us", str(sample))
    write(f"{base}/0/targets/nr_targets", "1")
    write(f"{base}/0/targets/0/regions/nr_regions", "1")
    write(f"{base}/0/targets/0/regions/0/start", str(64 << 20))
    write(f"{base}/0/targets/0/regions/0/end", str(128 << 20))
    write(f"{base}/0/schemes/nr_schemes", "1")
    write(f"{slot}/state", "on")


HOLD = """
import time
end = time.monotonic() + 20
while time.monotonic() < end:
    try:
        open("/sys/kernel/mm/damon/admin/kdamonds/7/state", "w").write("update_schemes_stats")
    except OSError:
        time.sleep(0.01)  # whoever is there before us holds the lock for a moment
"""


def test_a_lock_that_is_held_leaves_nothing_half_changed(policy: str, theirs: int) -> None:
    """H1: another program asks its slow kdamond for numbers, which holds DAMON's one lock."""
    configure(theirs, sample=1_000_000, aggregation=4_000_000)
    before = look()
    holder = subprocess.Popen([sys.executable, "-c", HOLD])
    outcome = run("apply", policy)
    holder.wait()

    if outcome.code:
        assert outcome.code in (ExitCode.ROLLED_BACK, ExitCode.BUSY, ExitCode.FOREIGN), outcome.err
        assert before == look(), outcome.err
        assert run("apply", policy).code == 0
    assert SWAPPINESS.read_text("ascii") == "70\n"
    assert run("remove", "a").code == 0
    assert before == look()
    clear(theirs)


def test_a_kdamond_that_starts_between_plan_and_write_is_left_alone(
    policy: str, theirs: int
) -> None:
    """H4: all is looked at again before the first write."""
    machine = LiveMachine()
    with changing(machine, find(machine, None)) as session:
        policies = compiled(load_files([policy])[0])
        current, plan = prepare(machine, session.managed, policies, policies)
        slot = next(each.slot for each in plan.kdamonds)
        with pytest.raises(Foreign, match=f"slot {slot} was changed by someone else"):
            session.carry_out(current, plan, Terms("t", when_ready=lambda: configure(slot)))

    assert running(slot)
    sample = f"{slot}/contexts/0/monitoring_attrs/intervals/sample_us"
    assert (KDAMONDS / sample).read_text("ascii") == "5000\n"
    assert SWAPPINESS.read_text("ascii") != "70\n"
    clear(slot)


def test_what_an_undo_has_started_is_known_to_the_next(
    policy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """H2: room for the journal, none for the state file."""
    assert run("apply", policy).code == 0
    before = look()

    def full(self: Store, managed: Managed) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(Store, "save", full)
        patched.setattr("damonpolicy.engine.transaction.OwnFiles.commit", _fail)
        outcome = run("remove", "a")
    assert outcome.code == ExitCode.ROLLBACK_INCOMPLETE, outcome.err
    assert "the journal stays" in outcome.err
    again = run("recover")

    assert again.code == 0, again.err
    assert before == look()
    assert run("status", "--format", "json").data["kdamonds"][0]["owner"] == "ours"


def _fail(self: object, after: Managed, journal: object) -> None:
    message = "no room"
    raise DamonPolicyError(message)


def test_the_rescue_needs_no_library(policy: str) -> None:
    """A1: nothing can be written below the directory of generations."""
    before = look()
    assert run("apply", policy).code == 0
    library = find(LiveMachine(), None).lib
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro,mode=700", "none", library], check=True)
    try:
        recover.main(["--stop-all"])
    finally:
        subprocess.run(["umount", library], check=True)

    assert before == look()
