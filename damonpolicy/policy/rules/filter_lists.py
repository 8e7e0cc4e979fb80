"""Rules on lists of filters: unreachable filters, and lists with a misleading effect."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from damonpolicy.base.diagnostics import Diagnostic
from damonpolicy.base.units import format_bytes
from damonpolicy.kernel.damon.tree import CORE
from damonpolicy.policy.model.filters import Filter, HitsRange, Match, Memcg, SizeRange
from damonpolicy.policy.model.targets import AddressRange
from damonpolicy.policy.reading.forms import flow
from damonpolicy.policy.reading.read import Cursor
from damonpolicy.policy.rules.coverage import Coverage, coverage, matches_nothing
from damonpolicy.policy.rules.rule import Findings, rule

__all__ = ("check", "check_coverage", "conjunction")

_IN_GENERAL = "to require both, reject the opposite first, and allow last"


@rule
def check(filters: Sequence[Filter], at: Cursor, *, physical: bool) -> Findings:
    """Yield the errors in a scheme's list; ``physical`` memory is one target."""
    yield from check_coverage(filters, at, physical=physical)
    found = list(coverage(filters, physical=physical))
    if len(found) == len(filters) and not any(each.covered for each in found):
        yield from _alternatives(filters, at, found)


@rule
def check_coverage(
    filters: Sequence[Filter], at: Cursor, *, physical: bool, what: str = "the scheme"
) -> Findings:
    """Yield filters that are never reached or match nothing, and lists that reject everything."""
    rejecting = True
    for found in coverage(filters, physical=physical):
        each, place = filters[found.index], at(found.index)
        if matches_nothing(each, physical=physical):
            message = "this filter can match nothing"
            hint = "pages are powers of two, from 4KiB up"
            if each.type != "hugepage_size":
                hint = "remove it"
            yield place.value.error("DP0259", message, hint)
        elif found.covered:
            yield _covered(filters, found, at)
        rejecting &= each.verb == "reject" or found.covered
        if rejecting and not found.rest and not at.lost:
            message = f"these filters reject everything, so {what} finds nothing"
            hint = "leave one of them out, or `allow` what is meant"
            yield at.value.error("DP0259", message, hint)
            return


def _covered(filters: Sequence[Filter], found: Coverage, at: Cursor) -> Diagnostic:
    each = filters[found.index]
    if found.by is None:
        message = "this filter is never reached: those before it decide all that it matches"
        hint = f"put it first, or remove it: `{flow(_plain(each), sys.maxsize)}`"
        return at(found.index).value.error("DP0258", message, hint)
    first = filters[found.by]
    message = f"this filter is never reached: a filter before it {first.verb}s all that it matches"
    hint = "put it first"
    if first.verb == each.verb:
        hint = "remove it"
    elif found.mutual:
        hint = "keep one of the two"
    related = [(at(found.by).value, "this one")]
    return at(found.index).value.error("DP0258", message, hint, related=related)


@rule
def _alternatives(filters: Sequence[Filter], at: Cursor, found: Sequence[Coverage]) -> Findings:
    """Warn of an `allow` before another condition: the first match decides, it is not an `and`."""
    for index, each in enumerate(filters):
        later = next((other for other in filters[index + 1 :] if _another(each, other)), None)
        if each.verb != "allow" or later is None:
            continue
        whole = conjunction(filters)
        hint = f"to require both, write `filters: {whole}`" if whole else _IN_GENERAL
        message = f"what this allows is taken at once; the next filter, on `{later.type}`,"
        if later.verb == "allow":
            message = (
                f"either is enough: what this allows, or what the next, on `{later.type}`, does"
            )
            yield at(index).value.warning("DP0680", message, hint)
            return
        message += " is not reached"
        if not later.negated and later is filters[-1]:
            message += ", and the rest is taken"
        yield at(index).value.warning("DP0248", message, hint)
        return
    yield from _rest(filters, at, rest=bool(found) and found[-1].rest)


def _another(each: Filter, later: Filter) -> bool:
    """Return whether a page filter after an `allow` looks like a second condition.

    A `reject` of exactly the rest is not a condition.
    """
    if later.type in CORE or (later.verb == "reject" and later.what == _opposite(each).what):
        return False
    return later.type != each.type or (later.negated and later.verb == "reject")


@rule
def _rest(filters: Sequence[Filter], at: Cursor, *, rest: bool) -> Findings:
    """Warn of a final `reject` after an unrelated `allow`, which then changes nothing."""
    if not rest or filters[-1].verb != "reject":
        return
    for index, each in enumerate(filters):
        if each.verb != "allow":
            continue
        alone = [other for other in filters[index + 1 :] if other.verb == "reject"]
        parts = list(coverage([_opposite(each), *alone], physical=False))
        if all(part.covered for part in parts[1:]):
            message = "this `allow` changes nothing: the rest is taken, as the last filter rejects"
            order = ("reject", "allow")
            sorted_ = sorted(filters, key=lambda other: order.index(other.verb))
            hint = f"to allow nothing else, write `filters: {format_filters(sorted_)}`"
            yield at(index).value.warning("DP0681", message, hint)
            return


def _opposite(each: Filter, verb: str = "") -> Filter:
    """Return the filter that matches everything ``each`` does not, perhaps with another verb."""
    what = each.inner if each.negated else {"not": each.inner}
    return Filter.model_validate({verb or each.verb: what})


def conjunction(filters: Sequence[Filter]) -> str:
    """Return the list that requires all conditions of the filters, empty if impossible.

    Opposites are rejected, and one condition comes last: the one with several alternatives, or a
    cgroup with all below it, for which `not` works nowhere else.
    """
    kinds = list(dict.fromkeys(each.type for each in filters))
    conditions = [[each for each in filters if each.type == kind] for kind in kinds]
    last = [each for each in conditions if _only_last(each)]
    if len(last) > 1 or any(each[0].type in CORE for each in last if len(each) > 1):
        return ""
    conditions.sort(key=lambda each: (each[0].type not in CORE, each in last))
    result: list[Filter] = []
    for condition in conditions[:-1]:
        result += [
            each if each.verb == "reject" else _opposite(each, "reject") for each in condition
        ]
    end = conditions[-1]
    allow = len(end) == 1 and end[0].verb == "reject" and end[0].negated
    return format_filters([*result, *([_opposite(end[0], "allow")] if allow else end)])


def _only_last(condition: Sequence[Filter]) -> bool:
    allowing = [each for each in condition if each.verb == "allow"]
    if len(allowing) > 1 or (allowing and len(condition) > 1):
        return True
    return any((each.verb == "allow") != each.negated and each.whole for each in condition)


def format_filters(filters: Sequence[Filter]) -> str:
    """Write filters in the policy's form, on one line."""
    return flow([_plain(each) for each in filters], sys.maxsize)


def _plain(each: Filter) -> dict[str, Any]:
    """Return a filter as plain data in the policy's form."""
    inner = each.inner
    what = _condition(inner) if isinstance(inner, Match) else inner
    return {each.verb: {"not": what} if each.negated else what}


def _condition(match: Match) -> dict[str, Any]:
    (name,) = match.given
    part = getattr(match, name)
    match part:
        case Memcg(unit=None, subtree=True):
            return {name: part.where}
        case Memcg():
            key = {"unit": part.unit} if part.unit else {"path": part.where}
            return {name: key if part.subtree else {**key, "subtree": "false"}}
        case AddressRange():
            return {name: {"start": f"{part.start:#x}", "end": f"{part.end:#x}"}}
        case SizeRange():
            return {name: {"min": format_bytes(part.min), "max": format_bytes(part.max)}}
        case HitsRange():
            return {name: {"min": str(part.min), "max": str(part.max)}}
    return {name: str(part)}
