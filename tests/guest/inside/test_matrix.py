"""What the kernel does with each action on each kind of addresses is what `kernel/damon/actions.py` says.

All by plain writes to sysfs: a scheme that takes everything, on a process whose memory is
known, and the kernel's own numbers of what it tried, applied and let pass.
"""

from __future__ import annotations

import pytest

from damonpolicy.kernel.damon.actions import ACTIONS, traits
from damonpolicy.kernel.damon.capabilities import Capabilities

from .matrix import (
    CONTEXT,
    ENOUGH,
    MIB,
    MOVES,
    OTHER,
    ROOT,
    SCHEME,
    SIZE,
    Loads,
    choose,
    known,
    lacks,
    numbers,
    put_filters,
    reached,
    scheme,
    write,
)
from .memory import pages

CASES = [(ops, action) for ops, actions in ACTIONS.items() for action in actions]


@pytest.mark.parametrize(("ops", "action"), CASES)
def test_actions_work_or_do_nothing(
    ops: str, action: str, loads: Loads, able: Capabilities
) -> None:
    """What does nothing is accepted all the same: no errno tells."""
    known_ = traits(ops, action)
    works = known_.works and (not known_.needs or able.known(known_.needs) == "yes")
    node = 0 if action in MOVES else 1
    with loads.serving(ops, action) as load, scheme(load, ops, node) as start:
        if lacks(able, f"action.{action}"):
            assert not known(SCHEME / "action", action)
            return
        choose(action)
        start()
        found = reached(ENOUGH) if works and action != "stat" else numbers()

    assert found.tried > SIZE * MIB // 2, found
    if action == "stat":
        assert found.applied == 0 or works
    elif works:
        assert found.applied > ENOUGH, found
    else:
        assert found.applied == 0, found


FILTERED = [(ops, action) for ops, action in CASES if traits(ops, action).works]


@pytest.mark.parametrize(("ops", "action"), FILTERED)
def test_page_filters_are_honoured_or_ignored(
    ops: str, action: str, loads: Loads, able: Capabilities
) -> None:
    """Nothing is charged to the other cgroup: what is not its own leaves nothing."""
    known_ = traits(ops, action)
    if known_.needs and able.known(known_.needs) != "yes":
        return
    if lacks(able, f"action.{action}"):
        return
    need = known_.filters_need
    honoured = known_.filters and (not need or able.known(need) == "yes")
    node = 0 if action in MOVES else 1
    with loads.serving(ops, action) as load, scheme(load, ops, node) as start:
        choose(action)
        put_filters([("memcg", "N", "N", OTHER)])
        start()
        found = numbers() if honoured or action == "stat" else reached(ENOUGH)

    if action == "stat":
        assert not honoured or found.passed == 0, found
    elif honoured:
        assert found.applied == 0, found
    else:
        assert found.applied > ENOUGH, found


@pytest.mark.parametrize("ops", ["vaddr", "paddr"])
def test_weighted_destinations(ops: str, loads: Loads, able: Capabilities) -> None:
    """Half and half on virtual addresses; on physical ones the one node alone counts."""
    if able.known("migrate.destinations") != "yes":
        return
    moving = "migrate_cold"
    with loads.serving(ops, moving) as load, scheme(load, ops, node=0) as start:
        choose(moving)
        write(SCHEME / "dests/nr_dests", 2)
        for node in (0, 1):
            write(SCHEME / f"dests/{node}/id", node)
            write(SCHEME / f"dests/{node}/weight", 1)
        start()
        numbers(rounds=6)
        moved = pages(load.pid, load.cold).nodes.get(1, 0)

    weighted = traits(ops, "migrate_cold").destinations
    assert moved > SIZE * MIB // 4
    assert (moved < SIZE * MIB * 3 // 4) is weighted, moved


@pytest.mark.parametrize("ops", ["vaddr", "paddr"])
def test_probes_are_asked_of_physical_addresses(ops: str, loads: Loads, able: Capabilities) -> None:
    """A probe on processes is taken and counts nothing, until there are preparations."""
    if able.known("probes") != "yes" or able.known("scheme.tried_regions") != "yes":
        return
    with scheme(loads.kept(1), ops) as start:
        # many: one sample each looks at one page, and few pages of a node are in use
        write(CONTEXT / "monitoring_attrs/nr_regions/min", 100)
        probes = CONTEXT / "monitoring_attrs/probes"
        write(probes / "nr_probes", 1)
        write(probes / "0/filters/nr_filters", 1)
        for name, word in (("type", "anon"), ("matching", "Y"), ("allow", "Y")):
            write(probes / "0/filters/0" / name, word)
        start()
        numbers(rounds=3)
        write(ROOT / "0/state", "update_schemes_tried_regions")
        hits = [
            int(path.read_text("ascii")) for path in SCHEME.glob("tried_regions/*/probes/0/hits")
        ]

    assert hits
    assert any(hits) is (ops == "paddr" or able.known("probe.preps") == "yes"), hits
