"""A cgroup that is made again, on a real kernel: its filter is lost until the next commit."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from damonpolicy.kernel.system.machine import LiveMachine
from damonpolicy.kernel.system.memory import node_ram

from .cgroups import ROOT, cgroup
from .memory import no_balancing
from .policy import MIB, run, state, wait_for
from .served import SECONDS, Service
from .workload import Workload

GROUP = "spared"
COLD = 256
"""MiB of the process in the cgroup; what else is anonymous on its node stays as it is."""
SOME = COLD / 4
"""MiB that may come and go beside it: an interpreter has 35, and may be on either node."""

POLICY = f"""\
version: 1
name: spare
kdamonds:
  - name: k
    ops: paddr
    targets: [{{numa_node: 1}}]
    intervals: {{sample: 50ms, aggregation: 500ms}}
    schemes:
      - name: s
        action: lru_deprio
        apply_every: 500ms
        quota: unlimited
        filters: [{{reject: {{not: anon}}}}, {{reject: {{memcg: /{GROUP}}}}}]
modules: {{damon_stat: {{enabled: false}}}}
"""


@pytest.fixture(autouse=True)
def _all_stays_on_its_node() -> Iterator[None]:
    with no_balancing():
        yield


@contextmanager
def inhabited() -> Iterator[None]:
    """Make the cgroup, with a process in it."""
    with cgroup(GROUP) as made, Workload.start(0, COLD, cgroup=made, node=1, pause=0.1):
        yield


def applied() -> float:
    """Return how many MiB of the node the scheme was applied to, each time that it looked."""

    def numbers() -> tuple[int, int]:
        (kdamond,) = state()["kdamonds"]
        found = kdamond["schemes"][0]["statistics"]
        return found["sz_tried"], found["sz_applied"]

    whole = sum(end - start for start, end in node_ram(LiveMachine(), 1))
    first = numbers()
    last = first
    deadline = time.monotonic() + SECONDS
    while last[0] - first[0] < 2 * whole:
        assert time.monotonic() < deadline, "the scheme is never applied"
        time.sleep(0.2)
        last = numbers()
    return (last[1] - first[1]) / (last[0] - first[0]) * whole / MIB


@contextmanager
def others() -> Iterator[None]:
    """Make cgroups that take what ids are free: older kernels (6.12) give the lowest one.

    So a cgroup that is made again might have that of before, by chance. It is free once the old
    one is completely gone, which takes the kernel some time.
    """
    stat = ROOT / "cgroup.stat"
    wait_for(lambda: "nr_dying_descendants 0\n" in stat.read_text(encoding="ascii"), 10)
    with ExitStack() as stack:
        for number in range(8):
            stack.enter_context(cgroup(f"other{number}"))
        yield


def test_a_filter_holds_again_after_the_next_apply(tmp_path: Path) -> None:
    policy = tmp_path / "spare.yaml"
    policy.write_text(POLICY, encoding="ascii")
    with inhabited():
        assert run("apply", policy).code == 0
        assert run("diff").code == 0
        before = applied()
    with others(), inhabited():
        lost = applied()
        told, planned = run("diff"), run("plan", policy)
        assert told.code == planned.code == 2
        assert f"the cgroup `/{GROUP}` was made again since" in told.out
        assert "1 kdamond to change online, 1 write" in planned.out
        assert run("apply", policy).code == 0
        after = applied()
        assert run("diff").code == 0
        assert "No changes" in run("apply", policy).out
        assert run("remove", "spare").code == 0

    figures = f"applied to {before:.0f}, {lost:.0f}, {after:.0f} MiB"
    print(figures)
    assert lost > before + COLD - SOME, (
        f"its files say the same, the kernel compares ids: {figures}"
    )
    assert abs(after - before) < SOME, figures


def committed() -> int:
    """Return which cgroup the service committed last."""
    record = Path("/run/damonpolicy/state.json")
    if not record.exists():  # nothing was applied yet
        return 0
    slots = json.loads(record.read_text(encoding="ascii"))["slots"].values()
    return next((each["cgroups"].get(f"/{GROUP}", 0) for each in slots), 0)


def test_the_service_commits_it_within_six_seconds(service: Service) -> None:
    """Also one that is gone for longer: the filter is left out, and comes back with it."""
    with inhabited():
        service.put("spare.yaml", POLICY)
        assert wait_for(lambda: committed() == (ROOT / GROUP).stat().st_ino, SECONDS)
        before = applied()
    times, after = [], []
    for gone_for in (0.0, 7.0):
        time.sleep(gone_for)
        with inhabited():
            now = (ROOT / GROUP).stat().st_ino
            began = time.monotonic()
            assert wait_for(lambda now=now: committed() == now, SECONDS)  # type: ignore[misc]
            times.append(round(time.monotonic() - began, 1))
            after.append(round(applied()))

    figures = f"committed after {times} s, applied to {before:.0f}, {after} MiB"
    print(figures)
    assert max(times) < 6, figures
    assert all(abs(each - before) < SOME for each in after), figures
    assert service.events("filters left out")[-1]["cgroups"] == [f"/{GROUP}"]


def test_a_missing_cgroup_keeps_no_other_policy_waiting(service: Service) -> None:
    reloads = len(service.events("reload"))
    service.put("spare.yaml", POLICY.replace("{reject: {memcg", "{allow: {memcg"))
    text = POLICY.replace("name: spare", "name: look").replace("lru_deprio", "stat")
    lines = text.splitlines(keepends=True)
    service.put("look.yaml", "".join(each for each in lines if "filters:" not in each))
    assert service.reloaded(reloads + 1)

    def runs() -> list[str]:
        return [each["name"] for each in state()["kdamonds"]]

    assert wait_for(lambda: runs() == ["look/k"], SECONDS)
    assert f"waits for the cgroup `/{GROUP}`" in run("status").out
    with inhabited():
        assert wait_for(lambda: sorted(runs()) == ["look/k", "spare/k"], SECONDS)
    assert wait_for(lambda: runs() == ["look/k"], SECONDS), "nothing is allowed, and not all"
