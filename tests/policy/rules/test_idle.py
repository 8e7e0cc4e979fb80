"""Schemes that could act, but not beside these settings or on this machine."""

from __future__ import annotations

import pytest

from damonpolicy.emulated.machine import EmulatedMachine
from damonpolicy.emulated.spec import DEFAULT
from damonpolicy.kernel.damon.capabilities import detect
from damonpolicy.kernel.damon.tree import snapshot
from damonpolicy.policy.compile.policies import Overrides, compile_policies, load
from damonpolicy.policy.source.files import SourceFile

THP = "/sys/kernel/mm/transparent_hugepage/enabled"
HUGE = "{name: s, action: hugepage}"
PAGEOUT = "{name: s, action: pageout, quota: unlimited%s}"


def found(scheme, kernel="7.3", ops="vaddr", targets="{process: {name: nginx}}", more="", **spec):
    """Return the codes of warnings for a policy with one scheme, on a machine that differs."""
    machine = EmulatedMachine.create(kernel, spec={**DEFAULT, **spec})
    text = (
        f"version: 1\nname: p\nkdamonds:\n  - name: k\n    ops: {ops}\n    targets: [{targets}]\n"
        f"    schemes: [{scheme}]\n{more}"
    )
    loaded = load([SourceFile("p.yaml", text)], Overrides(), machine=machine)
    capabilities = detect(machine, snapshot(machine))
    _, more = compile_policies(loaded, capabilities, machine)
    everything = [*loaded.found, *more]
    assert not [each for each in everything if each.severity == "error"], everything
    return [each.code for each in everything if each.severity == "warning"]


def test_huge_pages_that_the_machine_switches_off():
    assert found(HUGE, settings={THP: "never"}) == ["DP0684"]
    shared = THP.replace("/enabled", "/shmem_enabled")
    assert found(HUGE, settings={THP: "never", shared: "advise"}) == []
    assert found(HUGE, settings={THP: "madvise"}) == []
    assert found("{name: s, action: collapse}", settings={THP: "never"}) == []


@pytest.mark.parametrize(("value", "codes"), [("never", ["DP0684"]), ("always", [])])
def test_what_the_policy_sets_counts_and_is_told_once(value, codes):
    settings = f"settings: {{{THP}: {value}}}\n"

    assert found(HUGE, more=settings, settings={THP: "never"}) == codes


def test_pageout_on_a_machine_without_swap():
    paddr = {"ops": "paddr", "targets": "{system_ram: true}"}

    assert found(PAGEOUT % "", swap="0B", **paddr) == ["DP0683"]
    assert found(PAGEOUT % "", swap="1GiB", **paddr) == []
    assert found(PAGEOUT % ", filters: [{reject: anon}]", swap="0B", **paddr) == []


@pytest.mark.parametrize(
    ("node", "more", "codes"),
    [
        (0, "action: lru_deprio", ["DP0685"]),
        (1, "action: lru_deprio", []),
        (0, "action: migrate_hot, to: 0", []),
    ],
)
def test_goals_measure_a_node_that_the_scheme_has_a_part_in(node, more, codes):
    goal = f"{{metric: node_mem_free_bp, node: {node}, target: 5%}}"
    scheme = f"{{name: s, {more}, quota: {{size: 1MiB, every: 1s, goals: [{goal}]}}}}"

    assert found(scheme, ops="paddr", targets="{numa_node: 1}") == codes


@pytest.mark.parametrize(
    ("kernel", "more", "codes"),
    [
        ("7.1", "enabled: true", ["DP0687"]),
        ("7.2", "enabled: true", []),
        ("7.1", "enabled: false", []),
        ("7.1", "enabled: true, monitor_region_start: 0x1000, monitor_region_end: 6GiB", []),
    ],
)
def test_a_module_says_what_memory_it_leaves_out(kernel, more, codes):
    modules = f"modules: {{damon_stat: {{enabled: false}}, damon_reclaim: {{{more}}}}}\n"
    machine = EmulatedMachine.create(kernel)
    text = f"version: 1\nname: p\n{modules}"
    loaded = load([SourceFile("p.yaml", text)], Overrides(), machine=machine)
    _, told = compile_policies(loaded, detect(machine, snapshot(machine)), machine)

    assert [each.code for each in (*loaded.found, *told)] == codes
