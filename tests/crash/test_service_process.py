"""The service as users run it, with its threads, signals and clock, killed at random moments.

`test_service_sigkill` plays the same by a clock of its own, which makes hundreds of moments
cheap; here a few show that nothing of `serve` stands between its jobs and a restart.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
import time

import pytest

from damonpolicy.daemon.app import Wishes, serve
from damonpolicy.engine.state_directory import read_json
from damonpolicy.kernel.system.machine import KDAMONDS
from damonpolicy.observe.status.document import drift
from damonpolicy.plan.machine_state import retrieve
from tests.crash.test_service_sigkill import FED, STEADY, Bench
from tests.crash.test_sigkill import arm
from tests.daemon.conftest import PAGES, settings
from tests.world import STAT_OFF, in_memory_directory

pytestmark = pytest.mark.unmeasured

MOMENTS = 6
SECONDS = 120
MEGABYTES = 1 << 20
children: list[int] = []
"""Of the test that runs."""
CALLS = 300
"""More calls than an edit takes: the parent kills a service that is still alive then."""


@pytest.fixture(autouse=True)
def _none_is_left():
    yield
    for child in children:
        with contextlib.suppress(ChildProcessError):  # it was waited for
            if os.waitpid(child, os.WNOHANG) == (0, 0):
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
    children.clear()


def forked(bench, at=None):
    """Start a service in a child; with ``at`` it is killed right before so many calls."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        children.append(child)
        return child
    code = 1
    try:
        if at is not None:
            arm(at)
        serve(bench.machine, bench.world.places, [str(bench.policies)], Wishes(debounce=0.05))
        code = 0
    finally:
        os._exit(code)


def wait_for(child, condition):
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end
        assert os.waitpid(child, os.WNOHANG) == (0, 0), "it has ended by itself"
        time.sleep(0.02)


def killed(child, *acts):
    """Play acts to a service until it is killed, at the latest after them."""
    for act in acts:
        act()
        end = time.monotonic() + 0.25
        while time.monotonic() < end:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                break
            time.sleep(0.02)
        if done:
            break
    else:
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)
    assert os.WTERMSIG(status) == signal.SIGKILL


def in_force(bench, child, size, pages):
    """Whether all policies are, by the word of the service and by the machine's own files."""
    said = read_json(bench.world.places.service) or {}
    if said.get("pid") != child or (said["reload"] or {}).get("result") not in (
        "applied",
        "unchanged",
    ):
        return False
    managed = bench.world.managed
    slot = managed.slot_of("fed/k")
    if slot is None or sorted(managed.policies) != ["fed", "p", "steady"]:
        return False
    quota = bench.machine.read(f"{KDAMONDS}/{slot}/contexts/0/schemes/0/quotas/bytes").strip()
    return (quota, bench.machine.read(PAGES).strip()) == (str(size * MEGABYTES), str(pages))


def test_killed_and_started_again():
    bench, chance = Bench("7.3", in_memory_directory()), random.Random("process")
    bench.world.write(STAT_OFF, "N")
    bench.score.write_text("500")
    size, pages = 100, 200
    bench.put("steady.yaml", STEADY)
    bench.put("fed.yaml", FED)
    bench.put("p.yaml", settings(pages=pages))
    child = forked(bench)
    wait_for(child, lambda: in_force(bench, child, 100, 200))
    killed(child)
    steady = bench.steady()
    for moment in range(MOMENTS):
        size, pages = size + 1, pages + 1
        killed(
            forked(bench, chance.randrange(1, CALLS)),
            lambda: bench.put("fed.yaml", FED.replace("100MiB", "lots")),
            lambda size=size: bench.put("fed.yaml", FED.replace("100MiB", f"{size}MiB")),
            lambda pages=pages: bench.put("p.yaml", settings(pages=pages)),
        )
        # where it was killed early, not all has been played
        bench.put("fed.yaml", FED.replace("100MiB", f"{size}MiB"))
        bench.put("p.yaml", settings(pages=pages))
        child = forked(bench)
        wait_for(child, lambda args=(child, size, pages): in_force(bench, *args))
        os.kill(child, signal.SIGTERM)
        assert os.waitpid(child, 0)[1] == 0, moment
        managed = bench.world.managed
        assert drift(retrieve(bench.machine, managed.settings), managed) == [], moment
        assert bench.steady() == steady, moment
        assert not bench.world.places.journal.exists(), moment
        assert not bench.machine.poisoned, moment
    bench.world.close()
