"""Probes of filters, in each directory that takes them."""

from __future__ import annotations

from collections.abc import Iterator

from .lab import Lab, Load, Places, Probe, S, Staged, physical, virtual
from .schemes import APPLIED, TRIED, cell

__all__ = ("probes",)

_MIB = 1 << 20
_PAGE = 4096
_OPS = ("anon", "memcg", "young", "active", "hugepage_size", "unmapped")


def probes(places: Places) -> Iterator[Probe]:
    """Return the probes of this part of the tree."""
    for directory in ("filters", "ops_filters"):
        yield from _pages(places, directory)
    for directory in ("filters", "core_filters"):
        yield from _core(places, directory)


def _filtered(looking: Staged, directory: str, *filters: dict[str, object]) -> Staged:
    base = f"{S}/{directory}"
    files: dict[str, object] = {f"{base}/nr_filters": len(filters)}
    for place, each in enumerate(filters):
        files |= {f"{base}/{place}/{name}": value for name, value in each.items()}
    return {**looking, **files}


def _all(lab: Lab) -> bool:
    """Return whether all that is tried passes; pages that are touched may rest for a while."""
    tried, passed = lab.stat("sz_tried"), lab.stat("sz_applied")
    lab.becomes(lambda: lab.stat("sz_tried") > tried + 32 * _MIB, 5)
    passed, tried = lab.stat("sz_applied") - passed, lab.stat("sz_tried") - tried
    return 10 * passed > 9 * tried


def _pages(places: Places, directory: str) -> Iterator[Probe]:
    """Pages of a process that are anonymous, huge, mapped, and touched all the time."""
    looking = physical(places.load.spot)

    def put(**files: object) -> Staged:
        return _filtered(looking, directory, {"matching": "Y", **files})

    def changes(name: str, before: Staged, after: Staged, *, new: bool) -> Probe:
        return Probe(cell(f"{directory}/{name}"), before, after, APPLIED, new=new)

    none = _filtered(looking, directory)
    stops = put(type="anon")
    yield changes("nr_filters (more, page)", none, stops, new=False)
    yield changes("nr_filters (fewer, page)", stops, none, new=True)
    passes = put(type="memcg", memcg_path=places.empty)
    yield changes("*/type = anon", passes, put(type="anon", memcg_path=places.empty), new=False)
    yield _inactive(directory)
    yield Probe(
        cell(f"{directory}/*/type = young"), passes, put(type="young", memcg_path=places.empty),
        _all, new=False,
    )  # fmt: skip
    yield changes("*/type = memcg", put(type="anon", memcg_path=places.empty), passes, new=True)
    small, huge = {"min": _PAGE, "max": _MIB}, {"min": _PAGE, "max": 2 * _MIB}
    yield changes(
        "*/type = hugepage_size", put(type="memcg", memcg_path=places.empty, **huge),
        put(type="hugepage_size", memcg_path=places.empty, **huge), new=False,
    )  # fmt: skip
    yield changes(
        "*/type = unmapped", put(type="anon", matching="N"), put(type="unmapped", matching="N"),
        new=False,
    )  # fmt: skip
    yield changes(
        "*/matching (page)", passes, {**passes, f"{S}/{directory}/0/matching": "N"}, new=False
    )
    mine = put(type="memcg", memcg_path=places.mine)
    yield changes("*/memcg_path", passes, mine, new=False)
    yield changes(
        "*/allow (page)",
        {**mine, f"{S}/{directory}/0/allow": "N"},
        {**mine, f"{S}/{directory}/0/allow": "Y"},
        new=True,
    )
    yield changes(
        "*/max", put(type="hugepage_size", **small), put(type="hugepage_size", **huge), new=False
    )
    above = {"min": 4 * _MIB, "max": 8 * _MIB}
    yield changes(
        "*/min", put(type="hugepage_size", **above),
        put(type="hugepage_size", **above | {"min": _MIB}), new=False,
    )  # fmt: skip


def _inactive(directory: str) -> Probe:
    """Pages that were made inactive: to reject active ones lets them pass."""

    def put(load: Load, *filters: str) -> Staged:
        looking = {**physical(load.spot), f"{S}/action": "lru_deprio"}
        chosen = ({"type": each, "matching": "Y"} for each in filters)
        return _filtered(looking, directory, *chosen)

    return Probe(
        cell(f"{directory}/*/type = active"),
        lambda load: put(load, "anon"), lambda load: put(load, "active"), APPLIED, first=put,
    )  # fmt: skip


def _core(places: Places, directory: str) -> Iterator[Probe]:
    looking, (start, end) = virtual(places.load), places.load.hot

    def put(**files: object) -> Staged:
        values = {"type": "target", "matching": "Y", "damon_target_idx": 0, **files}
        return _filtered(looking, directory, values)

    def changes(name: str, before: Staged, after: Staged, *, new: bool) -> Probe:
        return Probe(cell(f"{directory}/{name}"), before, after, TRIED, new=new)

    none, stops = _filtered(looking, directory), put()
    yield changes("nr_filters (more, core)", none, stops, new=False)
    yield changes("nr_filters (fewer, core)", stops, none, new=True)
    all_ = {"addr_start": start, "addr_end": end}
    yield changes(
        "*/type = addr",
        put(damon_target_idx=7, **all_),
        put(type="addr", damon_target_idx=7, **all_),
        new=False,
    )
    nowhere = {"addr_start": _PAGE, "addr_end": 2 * _PAGE}
    yield changes("*/type = target", put(type="addr", **nowhere), put(**nowhere), new=False)
    yield changes("*/damon_target_idx", put(damon_target_idx=7), stops, new=False)
    yield changes("*/matching (core)", put(matching="N"), stops, new=False)
    yield changes("*/allow (core)", put(allow="N"), put(allow="Y"), new=True)
    behind = {"type": "addr", "addr_start": end, "addr_end": end + _PAGE}
    yield changes("*/addr_start", put(**behind), put(**behind | {"addr_start": start}), new=False)
    before = {"type": "addr", "addr_start": _PAGE, "addr_end": 2 * _PAGE}
    yield changes("*/addr_end", put(**before), put(**before | {"addr_end": end}), new=False)
