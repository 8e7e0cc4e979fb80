"""Filters decide as plans say they do, by the kernel's own numbers of what passed."""

from __future__ import annotations

from pathlib import Path

import pytest

from damonpolicy.kernel.damon.capabilities import Capabilities
from damonpolicy.kernel.damon.tree import slot_tree, snapshot
from damonpolicy.kernel.system.machine import LiveMachine
from damonpolicy.kernel.system.memory import node_ram
from damonpolicy.plan.show.texts import chain

from .matrix import (
    ME,
    MIB,
    OTHER,
    SCHEME,
    SIZE,
    Filter,
    Loads,
    choose,
    numbers,
    put_filters,
    scheme,
    write,
)
from .memory import pages, physical, zram_swap
from .policy import run, wait_for
from .workload import Workload


def share(load: Workload, filters: list[Filter]) -> tuple[float, str]:
    """Return which share of the memory passed some filters, and how a plan says them."""
    with scheme(load, "paddr") as start:
        put_filters(filters)
        said = chain(slot_tree(snapshot(LiveMachine()), 0), "contexts/0/schemes/0")
        start()
        found = numbers()
    return found.passed / (SIZE * MIB) / max(found.tried / _watched(), 1), said


def _watched() -> int:
    return sum(end - start for start, end in node_ram(LiveMachine(), 1))


LISTS: list[tuple[list[Filter], bool, str]] = [
    ([("memcg", "Y", "Y", ME)], True, "the rest is rejected"),
    ([("memcg", "Y", "N", ME)], False, "the rest is taken"),
    ([("memcg", "Y", "Y", OTHER)], False, "the rest is rejected"),
    ([("memcg", "N", "N", ME)], True, "the rest is taken"),
    ([("anon", "N", "N", ""), ("memcg", "Y", "Y", ME)], True, "the rest is rejected"),
    ([("anon", "Y", "N", ""), ("memcg", "Y", "Y", ME)], False, "the rest is rejected"),
    ([("memcg", "Y", "Y", ME), ("anon", "Y", "N", "")], True, "the rest is taken"),
]


@pytest.mark.parametrize(("filters", "passes", "rest"), LISTS)
def test_lists_of_filters_decide_as_plans_say(
    filters: list[Filter], *, passes: bool, rest: str, loads: Loads, able: Capabilities
) -> None:
    """The first that matches decides; what matches none gets the opposite of the last."""
    if able.known("scheme.filter_passed") != "yes":
        return
    part, said = share(loads.kept(1), filters)

    assert said.endswith(rest), said
    if passes:
        assert part > 0.5, (part, said)
    elif rest == "the rest is rejected":
        assert part < 0.25, (part, said)


@pytest.mark.parametrize("kind", ["anon", "memcg", "young", "active", "unmapped", "hugepage_size"])
def test_a_filter_and_its_opposite_share_the_pages(
    kind: str, loads: Loads, able: Capabilities
) -> None:
    """Each page matches or does not: what the one lets pass, the other rejects."""
    if able.known("scheme.filter_passed") != "yes" or able.known(f"filter.{kind}") == "no":
        return
    path = ME if kind == "memcg" else ""
    load = loads.kept(1)
    matching, opposite = (share(load, [(kind, each, "N", path)])[0] for each in ("N", "Y"))

    assert matching + opposite > 0.5, (matching, opposite)
    if kind in ("anon", "memcg"):
        assert matching > 0.5, "it is anonymous, and of that cgroup"
    if kind in ("unmapped", "hugepage_size"):
        assert opposite > 0.5, "it is mapped, in small pages"


@pytest.mark.parametrize("inside", [True, False])
def test_addresses_are_decided_for_regions(
    *, inside: bool, loads: Loads, able: Capabilities
) -> None:
    """A core filter: what it rejects is not even tried."""
    if able.known("filter.addr") != "yes":
        return
    load = loads.kept(None)
    with scheme(load, "fvaddr") as start:
        choose("cold")
        layer = "core_filters" if (SCHEME / "core_filters").exists() else "filters"
        put_filters([("addr", "Y", "N", "")], layer)
        first, last = load.cold if inside else (load.hot[0], load.hot[1])
        write(SCHEME / layer / "0/addr_start", first)
        write(SCHEME / layer / "0/addr_end", last)
        start()
        found = numbers(patience=3 if inside else 30)

    assert (found.applied == 0) is inside, found


@pytest.mark.parametrize("rest", ["nothing", "young", "anon and not anon"])
def test_an_allow_of_addresses_is_all_until_a_page_filter_follows(
    rest: str, loads: Loads, able: Capabilities
) -> None:
    """Then what no filter matches is left to the pages: damos_set_filters_default_reject().

    What `policy/compile/filters.py` knows, and why it never puts a page filter behind such an `allow`.
    """
    if able.known("filters.layers") != "yes":
        return
    load = loads.kept(1)
    added = {
        "nothing": [],
        "young": [("young", "Y", "N", "")],
        "anon and not anon": [("anon", "Y", "N", ""), ("anon", "N", "N", "")],
    }[rest]
    with scheme(load, "paddr") as start:
        choose("stat")
        put_filters([("addr", "Y", "Y", "")], "core_filters")
        first, last = node_ram(LiveMachine(), 0)[-1]  # none of what is monitored
        write(SCHEME / "core_filters/0/addr_start", first)
        write(SCHEME / "core_filters/0/addr_end", last)
        put_filters(added, "ops_filters")
        start()
        found = numbers(patience=3 if rest == "nothing" else 30)

    assert (found.tried > 0) is (rest != "nothing"), found
    if rest == "young":
        assert found.passed > SIZE * MIB // 2, "what nobody has named is taken"
    else:
        assert found.passed == 0, found


def test_pages_outside_what_a_policy_allows_are_left_alone(
    tmp_path: Path, able: Capabilities
) -> None:
    """A policy that pages out the addresses of one process leaves another's memory in place."""
    if not {"filter.addr", "filter.young"} <= {n for n in able.answers if able.known(n) == "yes"}:
        return
    policy = tmp_path / "p.yaml"
    with (
        zram_swap(256),
        Workload.start(1, SIZE, node=0) as kept,
        Workload.start(1, SIZE, node=1) as taken,
    ):
        start, end = physical(taken.pid, taken.cold)
        policy.write_text(ALLOWED.format(start=start, end=end), encoding="utf-8")
        assert run("apply", policy).code == 0
        try:
            assert wait_for(lambda: resident(taken) < SIZE * MIB // 2), resident(taken)
            left = resident(kept)
        finally:
            assert run("stop", "--all").code == 0

    assert left > SIZE * MIB * 3 // 4, left


def resident(load: Workload) -> int:
    """Bytes of a workload's cold memory that are in memory."""
    return sum(pages(load.pid, load.cold).nodes.values())


# What is used between two turns is young then, and stays: else the guest reads itself back in. So few
# samples leave a busy guest its time for paging out; nothing here depends on what they find.
ALLOWED = """
version: 1
name: p
kdamonds:
  - name: k
    ops: paddr
    targets: [{{system_ram: true}}]
    intervals: {{sample: 100ms, aggregation: 1s}}
    schemes:
      - name: s
        action: pageout
        apply_every: 3s
        quota: unlimited
        filters: [{{allow: {{addr: {{start: {start:#x}, end: {end:#x}}}}}}}]
"""
