"""Rules on filters: their shape, their order, and whether the kernel uses them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from damonpolicy.base.diagnostics import Diagnostic
from damonpolicy.kernel.damon.actions import traits
from damonpolicy.kernel.damon.tree import CORE
from damonpolicy.policy.model.filters import IDLE, Filter, Match, Memcg
from damonpolicy.policy.model.kdamond import Kdamond
from damonpolicy.policy.model.schemes import Scheme
from damonpolicy.policy.reading.read import Cursor
from damonpolicy.policy.rules import filter_lists
from damonpolicy.policy.rules.rule import readable, rule

__all__ = ("check", "shape", "sizes", "subtrees")


@rule
def check(scheme: Scheme, kdamond: Kdamond, at: Cursor) -> Iterator[Diagnostic]:
    """Yield the errors in a scheme's filters."""
    place = at("filters")
    for index, each in enumerate(scheme.filters):
        yield from shape(each, place(index))
        yield from _probed(each, place(index))
        yield from _bounds(each, kdamond, place(index), alone=len(scheme.filters) == 1)
    yield from subtrees(scheme.filters, place)
    yield from _order(scheme, place)
    yield from _ignored(scheme, kdamond, at)
    yield from filter_lists.check(scheme.filters, place, physical=kdamond.known("ops") == "paddr")


@rule
def shape(each: Filter, at: Cursor) -> Iterator[Diagnostic]:
    """Yield the errors in a single filter's form."""
    if at.lost:
        return
    if (each.allow is None) == (each.reject is None):
        message = "a filter is either `allow` or `reject`"
        yield Diagnostic.error("DP0226", at.value, message, hint="write `{reject: {not: anon}}`")
        return
    place = at(each.verb)
    what = each.what
    if not isinstance(what, Match):
        return
    if what.not_ is not None and what.given:
        message = f"`not` and `{what.given[0]}` stand beside each other"
        hint = f"write `not: {{{what.given[0]}: …}}`"
        yield Diagnostic.error("DP0226", place.value, message, hint=hint)
        return
    inner = each.inner
    if isinstance(inner, Match):
        if inner.not_ is not None:
            message = "`not` of `not` is nothing"
            hint = "remove both"
            yield Diagnostic.error("DP0227", place("not", "not").key, message, hint=hint)
        elif len(inner.given) != 1:
            message = "a filter looks at exactly one thing"
            hint = "write several filters, the first that matches decides"
            yield Diagnostic.error("DP0226", place.value, message, hint=hint)
        elif isinstance(inner.memcg, Memcg):
            yield from _named(inner.memcg, _inside(each, at)("memcg"))


@rule
def _named(memcg: Memcg, at: Cursor) -> Iterator[Diagnostic]:
    if (memcg.path is None) == (memcg.unit is None):
        message = "a `memcg` is named by its `path`, or by a `unit`"
        hint = "keep one of them" if memcg.path else "write `memcg: {unit: postgresql.service}`"
        yield Diagnostic.error("DP0226", at.value, message, hint=hint)


def _inside(each: Filter, at: Cursor) -> Cursor:
    return at(each.verb, "not") if each.negated else at(each.verb)


@rule
def _probed(each: Filter, at: Cursor) -> Iterator[Diagnostic]:
    if each.type in IDLE:
        message = f"schemes cannot look at `{each.type}`"
        hint = f"a probe can: `probes: [{{name: NAME, filters: [{{allow: {each.type}}}]}}]`"
        yield Diagnostic.error("DP0213", _inside(each, at).value, message, hint=hint)


@rule
def _bounds(each: Filter, kdamond: Kdamond, at: Cursor, *, alone: bool) -> Iterator[Diagnostic]:
    yield from sizes(each, at)
    yield from _addresses(each, at)
    yield from _hits(each, kdamond, at)
    yield from _number(each, kdamond, at, alone=alone)


@rule
def _addresses(each: Filter, at: Cursor) -> Iterator[Diagnostic]:
    inner, place = each.inner, _inside(each, at)
    if not isinstance(inner, Match):
        return
    if inner.addr is not None and inner.addr.end <= inner.addr.start:
        message = "the address range ends before it starts"
        hint = "the end is the first address that no longer belongs to it"
        yield Diagnostic.error("DP0204", place("addr", "end").value, message, hint=hint)


@rule
def _hits(each: Filter, kdamond: Kdamond, at: Cursor) -> Iterator[Diagnostic]:
    inner, place = each.inner, _inside(each, at)
    hits = inner.probe_hits_wsum if isinstance(inner, Match) else None
    if hits is not None and not any(probe.weight for probe in kdamond.probes):
        message = "no probe of this kdamond has a weight, so all sums are 0"
        hint = "give a probe a `weight`"
        yield Diagnostic.error("DP0234", place("probe_hits_wsum").value, message, hint=hint)


@rule
def _number(each: Filter, kdamond: Kdamond, at: Cursor, *, alone: bool) -> Iterator[Diagnostic]:
    inner, place = each.inner, _inside(each, at)
    if isinstance(inner, Match) and inner.target is not None:
        count = 1 if kdamond.ops == "paddr" else len(kdamond.targets)
        # several processes may match one selector, so only the first surely exists
        if kdamond.ops == "paddr" and inner.target >= count:
            message = f"there is no target {inner.target}: `paddr` has one, number 0"
            hint = "leave the filter out"
            yield Diagnostic.error("DP0235", place("target").value, message, hint=hint)
        elif kdamond.ops == "paddr" and alone:
            message = "`paddr` has one target, number 0: this filter matches all memory"
            spot = place("target").value
            yield Diagnostic.warning("DP0213", spot, message, hint="leave the filter out")


@rule
def sizes(each: Filter, at: Cursor) -> Iterator[Diagnostic]:
    """Yield empty ranges."""
    inner, place = each.inner, _inside(each, at)
    for name in ("hugepage_size", "probe_hits_wsum"):
        range_ = getattr(inner, name, None)
        if range_ is not None and range_.min > range_.max:
            message = "`min` is above `max`"
            yield Diagnostic.error("DP0201", place(name, "min").value, message, hint="swap them")


@rule
def subtrees(filters: Sequence[Filter], at: Cursor) -> Iterator[Diagnostic]:
    """Refuse `not` on a cgroup and all below it, if no list of kernel filters expresses it.

    The kernel's filter has one cgroup. "Not in any of these" can be expressed by its opposite at
    the end of a list, through the default verdict, but not earlier.
    """
    for index, each in readable(filters[:-1], "inner", "type"):
        inner = each.inner
        memcg = inner.memcg if isinstance(inner, Match) else None
        whole = memcg is not None and (not isinstance(memcg, Memcg) or memcg.subtree)
        if each.negated and whole:
            yield Diagnostic.error(
                "DP0251",
                at(index).value,
                "`not` on a cgroup and all below it works as the last filter only",
                hint="put it last, or name one cgroup with `subtree: false`",
            )


@rule
def _order(scheme: Scheme, at: Cursor) -> Iterator[Diagnostic]:
    """Check that core filters come first, as the kernel runs them before page-level ones.

    mm/damon/core.c: damos_core_filter_out() decides before the operation set sees a page.
    The order does not matter if all filters up to the core filter only reject.
    """
    known = list(readable(scheme.filters, "type", "verb"))
    pages = [index for index, each in known if each.type not in (*CORE, "")]
    for index, each in known:
        if each.type not in CORE or not pages or pages[0] > index:
            continue
        before = [other for place, other in known if place <= index]
        if all(other.verb == "reject" for other in before):
            continue
        yield Diagnostic.error(
            "DP0214",
            at(index).value,
            f"`{each.type}` is decided before `{scheme.filters[pages[0]].type}`,"
            " whatever the order here",
            hint=f"put `{each.type}` filters first",
            related=[(at(pages[0]).value, "this one looks at single pages, later")],
        )
        return


@rule
def _ignored(scheme: Scheme, kdamond: Kdamond, at: Cursor) -> Iterator[Diagnostic]:
    known = traits(kdamond.ops, scheme.action)
    if known.filters or not known.works:
        return
    for index, each in readable(scheme.filters, "type"):
        if each.type and each.type not in CORE:
            yield Diagnostic.error(
                "DP0213",
                at("filters", index).value,
                f"`{scheme.action}` on `{kdamond.ops}` ignores filters on `{each.type}`",
                hint="use `ops: paddr`, or only `addr` and `target` filters",
            )
