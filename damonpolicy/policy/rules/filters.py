"""Rules on filters: their shape, their order, and whether the kernel uses them."""

from __future__ import annotations

from collections.abc import Sequence

from damonpolicy.kernel.damon.actions import traits
from damonpolicy.kernel.damon.tree import CORE
from damonpolicy.policy.model.filters import IDLE, Filter, Match, Memcg
from damonpolicy.policy.model.kdamond import Kdamond
from damonpolicy.policy.model.schemes import Scheme
from damonpolicy.policy.reading.read import Cursor
from damonpolicy.policy.rules import filter_lists
from damonpolicy.policy.rules.rule import Findings, Rules, readable, rule

__all__ = ("check", "inside", "shape", "sizes", "subtrees")


check = Rules[[Scheme, Kdamond, Cursor]]()
"""The rules on a scheme's filters."""


@check.add
def _each(scheme: Scheme, kdamond: Kdamond, at: Cursor) -> Findings:
    alone = len(scheme.filters) == 1
    for index, each in enumerate(scheme.filters):
        place = at("filters", index)
        for one in (shape, _probed, sizes, _addresses):
            yield from one(each, place)
        yield from _hits(each, kdamond, place)
        yield from _number(each, kdamond, place, alone=alone)


@check.add
def _lists(scheme: Scheme, kdamond: Kdamond, at: Cursor) -> Findings:
    place, physical = at("filters"), kdamond.known("ops") == "paddr"
    yield from subtrees(scheme.filters, place)
    yield from filter_lists.check(scheme.filters, place, physical=physical)


@rule
def shape(each: Filter, at: Cursor) -> Findings:
    """Yield the errors in a single filter's form."""
    if at.lost:
        return
    what = each.what
    if (each.allow is None) == (each.reject is None):
        message = "a filter is either `allow` or `reject`"
        yield at.value.error("DP0226", message, "write `{reject: {not: anon}}`")
    elif isinstance(what, Match) and what.not_ is not None and what.given:
        message = f"`not` and `{what.given[0]}` stand beside each other"
        yield at(each.verb).value.error("DP0226", message, f"write `not: {{{what.given[0]}: …}}`")
    elif isinstance(inner := each.inner, Match):
        if inner.not_ is not None:
            message = "`not` of `not` is nothing"
            yield at(each.verb, "not", "not").key.error("DP0227", message, "remove both")
        elif len(inner.given) != 1:
            message = "a filter looks at exactly one thing"
            hint = "write several filters, the first that matches decides"
            yield at(each.verb).value.error("DP0226", message, hint)
        elif isinstance(inner.memcg, Memcg):
            yield from _named(inner.memcg, inside(each, at)("memcg"))


@rule
def _named(memcg: Memcg, at: Cursor) -> Findings:
    if (memcg.path is None) == (memcg.unit is None):
        hint = "keep one of them" if memcg.path else "write `memcg: {unit: postgresql.service}`"
        yield at.value.error("DP0226", "a `memcg` is named by its `path`, or by a `unit`", hint)


def inside(each: Filter, at: Cursor) -> Cursor:
    """Return the place of a filter's condition without its ``not``."""
    return at(each.verb, "not") if each.negated else at(each.verb)


@rule
def _probed(each: Filter, at: Cursor) -> Findings:
    if each.type in IDLE:
        hint = f"a probe can: `probes: [{{name: NAME, filters: [{{allow: {each.type}}}]}}]`"
        yield inside(each, at).value.error("DP0213", f"schemes cannot look at `{each.type}`", hint)


@rule
def _addresses(each: Filter, at: Cursor) -> Findings:
    addr = each.inner.addr if isinstance(each.inner, Match) else None
    if addr is not None and addr.end <= addr.start:
        message = "the address range ends before it starts"
        hint = "the end is the first address that no longer belongs to it"
        yield inside(each, at)("addr", "end").value.error("DP0204", message, hint)


@rule
def _hits(each: Filter, kdamond: Kdamond, at: Cursor) -> Findings:
    inner, place = each.inner, inside(each, at)
    hits = inner.probe_hits_wsum if isinstance(inner, Match) else None
    if hits is not None and not any(probe.weight for probe in kdamond.probes):
        message = "no probe of this kdamond has a weight, so all sums are 0"
        yield place("probe_hits_wsum").value.error("DP0234", message, "give a probe a `weight`")


@rule
def _number(each: Filter, kdamond: Kdamond, at: Cursor, *, alone: bool) -> Findings:
    target = each.inner.target if isinstance(each.inner, Match) else None
    if target is None or kdamond.ops != "paddr":  # several processes may match one selector
        return
    span, hint = inside(each, at)("target").value, "leave the filter out"
    if target > 0:
        message = f"there is no target {target}: `paddr` has one, number 0"
        yield span.error("DP0235", message, hint)
    elif alone:
        message = "`paddr` has one target, number 0: this filter matches all memory"
        yield span.warning("DP0213", message, hint)


@rule
def sizes(each: Filter, at: Cursor) -> Findings:
    """Yield empty ranges."""
    inner, place = each.inner, inside(each, at)
    for name in ("hugepage_size", "probe_hits_wsum"):
        range_ = getattr(inner, name, None)
        if range_ is not None and range_.min > range_.max:
            yield place(name, "min").value.error("DP0201", "`min` is above `max`", "swap them")


@rule
def subtrees(filters: Sequence[Filter], at: Cursor) -> Findings:
    """Refuse `not` on a cgroup and all below it, if no list of kernel filters expresses it.

    The kernel's filter has one cgroup. "Not in any of these" can be expressed by its opposite at
    the end of a list, through the default verdict, but not earlier.
    """
    for index, each in readable(filters[:-1], "inner", "type"):
        if each.negated and each.whole:
            message = "`not` on a cgroup and all below it works as the last filter only"
            hint = "put it last, or name one cgroup with `subtree: false`"
            yield at(index).value.error("DP0251", message, hint)


@check.add
def _order(scheme: Scheme, _: Kdamond, at: Cursor) -> Findings:
    """Check that core filters come first, as the kernel runs them before page-level ones.

    mm/damon/core.c: damos_core_filter_out() decides before the operation set sees a page.
    The order does not matter if all filters up to the core filter only reject.
    """
    known = list(readable(scheme.filters, "type", "verb"))
    pages = [index for index, each in known if each.type not in (*CORE, "")]
    for index, each in known:
        if each.type not in CORE or not pages or pages[0] > index:
            continue
        if all(other.verb == "reject" for place, other in known if place <= index):
            continue
        message = (
            f"`{each.type}` is decided before `{scheme.filters[pages[0]].type}`,"
            " whatever the order here"
        )
        hint = f"put `{each.type}` filters first"
        related = [(at("filters", pages[0]).value, "this one looks at single pages, later")]
        yield at("filters", index).value.error("DP0214", message, hint, related=related)
        return


@check.add
def _ignored(scheme: Scheme, kdamond: Kdamond, at: Cursor) -> Findings:
    known = traits(kdamond.ops, scheme.action)
    if known.filters or not known.works:
        return
    for index, each in readable(scheme.filters, "type"):
        if each.type and each.type not in CORE:
            message = f"`{scheme.action}` on `{kdamond.ops}` ignores filters on `{each.type}`"
            hint = "use `ops: paddr`, or only `addr` and `target` filters"
            yield at("filters", index).value.error("DP0213", message, hint)
