"""What the kernel does with each action on each kind of addresses is what `model/actions.py` says.

All by plain writes to sysfs: a scheme that takes everything, on a process whose memory is
known, and the kernel's own numbers of what it tried, applied and let pass.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from damonpolicy.kernel.capabilities import Capabilities, detect
from damonpolicy.kernel.memory import node_ram
from damonpolicy.kernel.sysfs import KDAMONDS, LiveMachine
from damonpolicy.kernel.tree import slot_tree, snapshot
from damonpolicy.model.actions import ACTIONS, traits
from damonpolicy.plan.texts import chain

from .cgroups import cgroup
from .memory import pages, physical, zram_swap
from .policy import run, wait_for
from .workload import Workload

ROOT = Path(KDAMONDS)
CONTEXT = ROOT / "0/contexts/0"
SCHEME = CONTEXT / "schemes/0"
STATISTICS = ("sz_tried", "sz_applied", "sz_ops_filter_passed")
MIB = 1 << 20
SIZE = 16
ENOUGH = SIZE * MIB // 4
MOST = (1 << 32) - 1
ME, OTHER = "/matrix.slice/load", "/matrix.slice/other"
HUGE = ("hugepage", "collapse")
MOVES = ("migrate_hot", "migrate_cold")

Filter = tuple[str, str, str, str]
"""Type, matching, allow, and the cgroup if there is one."""


def write(path: Path, value: object) -> None:
    path.write_text(str(value), encoding="ascii")


def known(path: Path, word: str) -> bool:
    try:
        write(path, word)
    except OSError:
        return False
    return True


@dataclass(frozen=True)
class Numbers:
    """What the kernel says of the scheme, in bytes."""

    tried: int
    applied: int
    passed: int


@contextmanager
def scheme(load: Workload, ops: str, node: int = 1) -> Iterator[Callable[[], None]]:
    """Stage a kdamond with one scheme for all of a workload's cold memory; yields its start."""
    write(ROOT / "nr_kdamonds", 1)
    write(ROOT / "0/contexts/nr_contexts", 1)
    write(CONTEXT / "operations", ops)
    write(CONTEXT / "monitoring_attrs/intervals/sample_us", 2_000)
    write(CONTEXT / "monitoring_attrs/intervals/aggr_us", 40_000)
    # as large as can be: what some actions take are whole huge pages
    write(CONTEXT / "monitoring_attrs/nr_regions/min", 3)
    write(CONTEXT / "targets/nr_targets", 1)
    target = CONTEXT / "targets/0"
    spans = [load.cold]
    if ops == "paddr":
        # the workload is nearly all that lies there
        spans = node_ram(LiveMachine(), node)
    else:
        write(target / "pid_target", load.pid)
    # which a kdamond takes as they are until its first update of them, after a minute
    write(target / "regions/nr_regions", len(spans))
    for index, (start, end) in enumerate(spans):
        write(target / f"regions/{index}/start", start)
        write(target / f"regions/{index}/end", end)
    write(CONTEXT / "schemes/nr_schemes", 1)
    for name in ("sz", "nr_accesses", "age"):
        write(SCHEME / f"access_pattern/{name}/max", (1 << 64) - 1 if name == "sz" else MOST)
    try:
        yield lambda: write(ROOT / "0/state", "on")
    finally:
        if (ROOT / "0/state").read_text("ascii") == "on\n":
            write(ROOT / "0/state", "off")
        write(ROOT / "nr_kdamonds", 0)


def choose(action: str) -> None:
    """Let the scheme do something."""
    write(SCHEME / "action", action)
    if action in MOVES:
        write(SCHEME / "target_nid", 1)


def numbers(rounds: int = 1, patience: float = 30) -> Numbers:
    """Let the scheme be applied some times; return what came of it.

    ``patience`` is in seconds: a scheme that tries nothing never says that it was applied.
    """
    deadline = time.monotonic() + patience
    seen = 0
    while True:
        write(ROOT / "0/state", "update_schemes_stats")
        tried = int((SCHEME / "stats/nr_tried").read_text("ascii"))
        seen += tried > 0
        if seen > rounds or time.monotonic() > deadline:
            break
        time.sleep(0.1)
    values = {
        name: int((SCHEME / f"stats/{name}").read_text("ascii"))
        if (SCHEME / f"stats/{name}").exists()
        else 0
        for name in STATISTICS
    }
    return Numbers(values["sz_tried"], values["sz_applied"], values["sz_ops_filter_passed"])


def reached(least: int) -> Numbers:
    """Let the scheme be applied until it did more than so many bytes, or for a while.

    Pages that were touched lately are spared at first, and how late that was is the guest's clock.
    """
    deadline = time.monotonic() + 60
    while (found := numbers()).applied <= least and time.monotonic() < deadline:
        pass
    return found


def put_filters(filters: list[Filter], directory: str = "") -> None:
    """Write filters to the directory that takes their type."""
    layers = (SCHEME / "ops_filters").exists()
    base = SCHEME / (directory or ("ops_filters" if layers else "filters"))
    write(base / "nr_filters", len(filters))
    for index, (kind, matching, allow, path) in enumerate(filters):
        write(base / f"{index}/type", kind)
        write(base / f"{index}/matching", matching)
        if (base / f"{index}/allow").exists():
            write(base / f"{index}/allow", allow)
        if path:
            write(base / f"{index}/memcg_path", path)
        if kind == "hugepage_size":
            write(base / f"{index}/min", 2 * MIB)
            write(base / f"{index}/max", 2 * MIB)


@pytest.fixture(scope="module")
def able() -> Capabilities:
    """What this kernel can do, by presence."""
    machine = LiveMachine()
    return detect(machine, snapshot(machine))


@pytest.fixture(scope="module")
def group() -> Iterator[Path]:
    """A cgroup for the workload, with another one beside it."""
    with cgroup("matrix.slice/load") as made, cgroup("matrix.slice/other"):
        yield made


def lacks(able: Capabilities, name: str) -> bool:
    """Tell whether the kernel lacks a feature; what no table names all kernels have."""
    return name in able.answers and able.known(name) == "no"


class Loads:
    """Workloads by where they are; those whose memory is moved away serve once only."""

    def __init__(self, stack: ExitStack, group: Path) -> None:
        self._stack, self._group = stack, group
        self._kept: dict[tuple[int | None, bool], Workload] = {}

    @contextmanager
    def serving(self, ops: str, action: str) -> Iterator[Workload]:
        """Give a workload that an action could change, with swap where that is needed."""
        node = None if ops != "paddr" else 1
        if action == "pageout":
            with zram_swap(256), Workload.start(1, SIZE, node=node) as load:
                yield load
        elif action in MOVES:
            with Workload.start(1, SIZE, node=0) as load:
                yield load
        else:
            yield self.kept(node, huge=action in HUGE)

    def kept(self, node: int | None, *, huge: bool = False) -> Workload:
        """Return one that stays, in the cgroup of the tests."""
        if (node, huge) not in self._kept:
            load = Workload.start(1, SIZE, node=node, huge=huge, cgroup=self._group)
            self._kept[node, huge] = self._stack.enter_context(load)
        return self._kept[node, huge]


@pytest.fixture(scope="module")
def loads(group: Path) -> Iterator[Loads]:
    """All workloads of the module; they end with it."""
    with ExitStack() as stack:
        yield Loads(stack, group)


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


@pytest.mark.parametrize("rest", ["nothing", "young", "anon and not anon"])
def test_an_allow_of_addresses_is_all_until_a_page_filter_follows(
    rest: str, loads: Loads, able: Capabilities
) -> None:
    """Then what no filter matches is left to the pages: damos_set_filters_default_reject().

    What `plan/filters.py` knows, and why it never puts a page filter behind such an `allow`.
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


# What is used between two turns is young then, and stays: else the guest reads itself back in.
ALLOWED = """
version: 1
name: p
kdamonds:
  - name: k
    ops: paddr
    targets: [{{system_ram: true}}]
    intervals: {{sample: 5ms, aggregation: 100ms}}
    schemes:
      - name: s
        action: pageout
        apply_every: 3s
        quota: unlimited
        filters: [{{allow: {{addr: {{start: {start:#x}, end: {end:#x}}}}}}}]
"""
