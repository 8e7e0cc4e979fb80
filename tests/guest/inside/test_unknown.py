"""A real kernel whose type information cannot be read: edits still reach the kernel."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from damonpolicy.daemon.jobs.reload import Reloader
from damonpolicy.daemon.keeper import Keeper
from damonpolicy.engine.state_directory import find
from damonpolicy.kernel.damon import capabilities
from damonpolicy.kernel.system.machine import LiveMachine

from .cgroups import cgroup
from .policy import KDAMONDS, look, run, wait_for
from .served import content

BTF = Path("/sys/kernel/btf")
POLICY = """
version: 1
name: careful
kdamonds:
  - name: k
    ops: paddr
    targets: [{{system_ram: true}}]
    schemes:
      - name: s
        action: pageout
        access_pattern: {{access_rate: {{max: 0%}}, age: {{min: 1h}}}}
        quota: {{size: 1MiB, every: 1s{more}}}
        young: last
        filters: [{filters}]
modules: {{damon_stat: {{enabled: false}}}}
"""
KEEP = "{reject: {memcg: {path: /keep.slice, subtree: false}}}"


class Served:
    """What a service does with its files, without the process around it."""

    def __init__(self, directory: Path) -> None:
        """Begin with what the kernel shows before anything is applied."""
        machine = LiveMachine()
        self.file = directory / "p.yaml"
        keeper = Keeper(machine, find(machine, None), [str(directory)])
        self.reloader = Reloader(keeper, debounce=0.1)

    def edit(self, filters: str, more: str = "") -> None:
        """Let it take a policy."""
        self.file.write_text(POLICY.format(filters=filters, more=more), encoding="utf-8")
        before = self.reloader.outcome

        def taken() -> bool:
            self.reloader.look()
            return self.reloader.outcome is not before

        assert wait_for(taken)
        outcome = self.reloader.outcome
        assert outcome is not None
        assert outcome.kind == "applied", outcome


@pytest.fixture
def blind(tmp_path: Path) -> Iterator[Served]:
    """A service that began where the kernel's types could not be read, in 0 slots."""
    before = look()
    subprocess.run(["mount", "-t", "tmpfs", "none", str(BTF)], check=True)
    capabilities._running.cache_clear()
    try:
        assert not (BTF / "vmlinux").exists()
        with cgroup("keep.slice"):
            yield Served(tmp_path)
            assert run("stop", "--all").code == 0
    finally:
        subprocess.run(["umount", str(BTF)], check=True)
        capabilities._running.cache_clear()
    assert look() == before


def names() -> dict[str, str]:
    """Return what the scheme's one filter says."""
    scheme = "0/contexts/0/schemes/0"
    layer = next(each for each in ("ops_filters", "filters")
                 if content(f"{scheme}/{each}/nr_filters") == "1")  # fmt: skip
    directory = KDAMONDS / scheme / layer / "0"
    assert content("0/state") == "on"
    return {each.name: each.read_text("ascii").strip() for each in directory.iterdir()}


@pytest.mark.parametrize("filters", ["{reject: anon}", "{reject: {not: anon}}"])
def test_an_edited_filter_takes_the_place_of_the_old_one(blind: Served, filters: str) -> None:
    """The wanted value is a new directory's default: it was left out, and the old one stayed."""
    blind.edit(KEEP)
    first = names()
    pid = content("0/pid")
    blind.edit(filters)
    last = names()

    assert (first["type"], first["memcg_path"]) == ("memcg", "/keep.slice")
    assert (last["type"], last["memcg_path"]) == ("anon", "")
    assert last["matching"] == ("N" if "not" in filters else "Y")
    assert last.get("allow", "N") == "N"
    assert content("0/pid") == pid, "it was changed online"


def test_an_edit_back_to_what_kernels_do_anyway_is_written(blind: Served) -> None:
    goal = ", goals: [{metric: some_mem_psi_us, target: 10ms}]"
    quotas = "0/contexts/0/schemes/0/quotas"
    blind.edit(KEEP, goal)
    newer = (KDAMONDS / quotas / "goal_tuner").exists()
    if newer:
        blind.edit(KEEP, f"{goal}, tuner: temporal")
        assert content(f"{quotas}/goal_tuner") == "temporal"
    blind.edit(KEEP, goal.replace("10ms", "20ms"))

    assert content(f"{quotas}/goal_tuner") == ("consist" if newer else "")
    assert content(f"{quotas}/goals/0/target_value") == "20000"
