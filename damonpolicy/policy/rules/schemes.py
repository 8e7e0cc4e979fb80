"""Rules on schemes: action, pattern, quota, watermarks."""

from __future__ import annotations

from contextlib import suppress
from fractions import Fraction

from damonpolicy.base.diagnostics import Diagnostic
from damonpolicy.base.units import U32_MAX, format_duration, format_percent
from damonpolicy.kernel.damon.actions import ACTIONS, traits
from damonpolicy.kernel.damon.bounds import bounds_no_age, bounds_no_rate, cut
from damonpolicy.policy.model.intervals import AutoTune
from damonpolicy.policy.model.kdamond import Kdamond
from damonpolicy.policy.model.scalars import Age, Rate, Unread
from damonpolicy.policy.model.schemes import Scheme
from damonpolicy.policy.reading.read import Cursor
from damonpolicy.policy.rules.rule import Findings, Rules, readable, rule

__all__ = ("check",)

_MIGRATIONS = ("migrate_hot", "migrate_cold")


check = Rules[[Scheme, Kdamond, Cursor]]()
"""The rules on a scheme, except those on its quota and filters."""


@check.add
def _zeros(scheme: Scheme, _: Kdamond, at: Cursor) -> Findings:
    meanings = {"apply_every": "the aggregation interval", "max_snapshots": "unlimited"}
    for name, meaning in meanings.items():
        if scheme.known(name) == 0:
            message = f"`{name}: 0` means {meaning} to the kernel"
            yield at(name).value.error("DP0219", message, f"leave `{name}` out")


@check.add
def _action(scheme: Scheme, kdamond: Kdamond, at: Cursor) -> Findings:
    if traits(kdamond.ops, scheme.action).works:
        return
    others = [ops for ops, actions in ACTIONS.items() if actions[scheme.action].works]
    message = f"the kernel accepts `{scheme.action}` on `{kdamond.ops}` and does nothing"
    hint = f"`{scheme.action}` works with " + " and ".join(f"`{ops}`" for ops in others)
    yield at("action").value.error("DP0212", message, hint)


def _kernel_spares(scheme: Scheme, kdamond: Kdamond) -> bool:
    """Return whether the kernel itself would spare young pages, unless a filter does so first."""
    return scheme.action == "pageout" and kdamond.ops == "paddr"


@check.add
def _order_of_filters(scheme: Scheme, kdamond: Kdamond, at: Cursor) -> Findings:
    if scheme.says("young") and not _kernel_spares(scheme, kdamond):
        message = f"`young` is for `pageout` on `paddr`, not for `{scheme.action}`"
        if scheme.action == "pageout":
            message = f"`young` is for `pageout` on `paddr`, not on `{kdamond.ops}`"
        yield at("young").key.error("DP0213", message, "remove `young`")
    given = scheme.says("filters_in") and not at("filters").lost
    if given and not scheme.filters and not _kernel_spares(scheme, kdamond):
        message = "`filters_in` without any filter changes nothing"
        yield at("filters_in").key.error("DP0213", message, "remove `filters_in`")


@check.add
def _retune_age(scheme: Scheme, kdamond: Kdamond, at: Cursor) -> Findings:
    if not scheme.retune_age:
        return
    bounds = (scheme.access_pattern.age.min, scheme.access_pattern.age.max)
    if kdamond.intervals.auto_tune is None:
        message = "`retune_age` rewrites nothing: no `auto_tune` changes the intervals"
    elif not any(each is not None and not each.aggregations for each in bounds):
        message = "`retune_age` rewrites nothing: no bound of `age` is a time"
    else:
        return
    yield at("retune_age").key.error("DP0264", message, "remove `retune_age`")


@check.add
def _apply_every(scheme: Scheme, kdamond: Kdamond, at: Cursor) -> Findings:
    """Warn of schemes whose wait each tuning of the intervals restarts (quirk tune.starves)."""
    intervals, tune = kdamond.intervals, kdamond.intervals.auto_tune
    if tune is None or not scheme.apply_every or not tune.aggregations:
        return
    between = [
        each * intervals.samples * tune.aggregations for each in (tune.min_sample, tune.max_sample)
    ]
    if scheme.apply_every <= between[0]:
        return
    what = "is never" if scheme.apply_every > between[1] else "may never be"
    message = f"each tuning of the intervals restarts its wait: the scheme {what} applied"
    hint = f"write at most `{format_duration(between[0])}`, or leave `apply_every` out"
    yield at("apply_every").value.warning("DP0605", message, hint)


@check.add
def _destination(scheme: Scheme, kdamond: Kdamond, at: Cursor) -> Findings:
    if scheme.action in _MIGRATIONS:
        if scheme.to is None and not at("to").lost:
            message = f"`{scheme.action}` does not say where to"
            yield at("action").value.error("DP0215", message, "add `to: NODE`")
        elif isinstance(scheme.to, tuple):
            yield from _destinations(scheme, kdamond, at("to"))
        elif scheme.to is not None and {each.numa_node for each in kdamond.targets} == {scheme.to}:
            message = f"all monitored memory is on node {scheme.to} already"
            yield at("to").value.error("DP0249", message, "choose another node")
    elif scheme.to is not None:
        message = f"`{scheme.action}` moves nothing between nodes"
        yield at("to").key.error("DP0215", message, "remove `to`")


@rule
def _destinations(scheme: Scheme, kdamond: Kdamond, at: Cursor) -> Findings:
    given = scheme.to if isinstance(scheme.to, tuple) else ()
    if not given and not at.lost:
        yield at.value.error("DP0215", "`to` is empty", "write `to: NODE`")
    seen: set[int] = set()
    for index, each in readable(given, "node"):
        if each.node in seen:
            hint = "name it once, with the sum of the weights"
            yield at(index, "node").value.error("DP0223", f"node {each.node} appears twice", hint)
        seen.add(each.node)
    if given and not at.lost and not any(each.weight for each in given):
        hint = "give at least one a weight, or leave the weights out"
        yield at.value.error("DP0232", "all weights are 0", hint)
    if given and not traits(kdamond.ops, scheme.action).destinations:
        message = f"migration on `{kdamond.ops}` ignores weighted nodes"
        yield at.value.error("DP0216", message, "write `to: NODE`")


def _swapped(name: str, at: Cursor) -> Diagnostic:
    message = f"`{name}` has a `min` above its `max`, so nothing would match"
    return at("access_pattern", name, "min").value.error("DP0201", message, "swap them")


@check.add
def _sizes(scheme: Scheme, _: Kdamond, at: Cursor) -> Findings:
    size = scheme.access_pattern.size
    if size.min is not None and size.max is not None and size.min > size.max:
        yield _swapped("size", at)


@check.add
def _rates(scheme: Scheme, kdamond: Kdamond, at: Cursor) -> Findings:
    low, high = scheme.access_pattern.access_rate.min, scheme.access_pattern.access_rate.max
    if low is None or high is None:
        return
    # a share above another is a mistake even if both are the same number of samples
    samples = kdamond.intervals.samples
    counted = low.samples or high.samples
    if low.least(samples) > high.most(samples) if counted else low.value > high.value:
        yield _swapped("access_rate", at)


@check.add
def _ages(scheme: Scheme, _: Kdamond, at: Cursor) -> Findings:
    low, high = scheme.access_pattern.age.min, scheme.access_pattern.age.max
    if low and high and low.aggregations == high.aggregations and low.value > high.value:
        yield _swapped("age", at)


@check.add
def _timed_ages(scheme: Scheme, kdamond: Kdamond, at: Cursor) -> Findings:
    for name in ("min", "max"):
        yield from _timed(scheme, kdamond, name, at("access_pattern", "age"))


@rule
def _timed(scheme: Scheme, kdamond: Kdamond, name: str, at: Cursor) -> Findings:
    age: Age | None = getattr(scheme.access_pattern.age, name)
    timed = age is not None and not age.aggregations and age.value > 0
    tune = kdamond.intervals.auto_tune
    if timed and age is not None and tune is not None and not scheme.retune_age:
        count = "write it as `20 aggregations`"
        with suppress(Unread):
            count = _counted(age, name, kdamond, tune)
        message = "an age in time means something else once the kernel has tuned the aggregation"
        keep = "add `retune_age: true`, and the service (`damonpolicy run`) keeps the time"
        hint = f"{count}; or {keep}"
        yield at(name).value.error("DP0221", message, hint)


def _counted(age: Age, name: str, kdamond: Kdamond, tune: AutoTune) -> str:
    """Return the initial number of aggregations of an age, and the time that they may become."""
    intervals = kdamond.intervals
    count = max((age.least if name == "min" else age.most)(max(intervals.aggregating, 1)), 1)
    least, most = (
        format_duration(each * intervals.samples * count)
        for each in (tune.min_sample, tune.max_sample)
    )
    return f"write `{count} aggregations`, which may then be {least} to {most}"


def _count_cut(key: str, name: str, value: int, what: str, at: Cursor) -> Diagnostic:
    """Refuse counts above 32 bits that bind more once the kernel keeps the last 32."""
    message = f"the kernel keeps 32 bits of it: {cut(value)} {what}s"
    hint = "leave it out" if name == "max" else f"write at most `{U32_MAX} {what}s`"
    return at("access_pattern", key, name).value.error("DP0220", message, hint)


@check.add
def _rate_cut(scheme: Scheme, kdamond: Kdamond, at: Cursor) -> Findings:
    rate = scheme.access_pattern.access_rate
    for name in ("min", "max"):
        bound: Rate | None = rate.known(name)
        if bound is not None and bound.samples and (value := int(bound.value)) > U32_MAX:
            if name == "min" or not bounds_no_rate(value, kdamond.intervals.samples):
                yield _count_cut("access_rate", name, value, "sample", at)


@check.add
def _age_cut(scheme: Scheme, kdamond: Kdamond, at: Cursor) -> Findings:
    age = scheme.access_pattern.age
    for name in ("min", "max"):
        bound: Age | None = age.known(name)
        if bound is not None and bound.aggregations and bound.value > U32_MAX:
            if name == "min" or not bounds_no_age(bound.value, kdamond.intervals.aggregating):
                yield _count_cut("age", name, bound.value, "aggregation", at)


@check.add
def _rate_rounded(scheme: Scheme, kdamond: Kdamond, at: Cursor) -> Findings:
    """Check that a bound does not vanish in rounding, as the kernel counts samples."""
    rate, samples = scheme.access_pattern.access_rate, kdamond.intervals.samples
    if rate.max is not None and rate.max.value > 0 and rate.max.most(samples) < 1:
        few = f"with {samples} samples an aggregation"
        message = f"{few}, this is less than one sample and becomes 0"
        hint = f"write at least `{format_percent(Fraction(1, samples))}`, or `0%`"
        place = at("access_pattern", "access_rate", "max")
        yield place.value.error("DP0220", message, hint)


@check.add
def _age_rounded(scheme: Scheme, kdamond: Kdamond, at: Cursor) -> Findings:
    """Check that an age does not vanish in rounding, as the kernel counts aggregations."""
    age, aggregating = scheme.access_pattern.age, max(kdamond.intervals.aggregating, 1)
    if isinstance(age.max, Age) and not age.max.aggregations:
        if 0 < age.max.value < aggregating:
            message = "this is shorter than an aggregation and becomes 0"
            hint = f"write at least one aggregation ({aggregating}us)"
            yield at("access_pattern", "age", "max").value.error("DP0220", message, hint)


@check.add
def _watermarks(scheme: Scheme, _: Kdamond, at: Cursor) -> Findings:
    marks, at = scheme.watermarks, at("watermarks")
    if marks is None or marks.known("metric") == "none":
        return
    for name in ("high", "mid", "low"):
        value = marks.known(name)
        if value is not None and (value * 1000).denominator != 1:
            message = "a watermark is finer than a permil (0.1%)"
            yield at(name).value.error("DP0250", message, "round it")
    if marks.known("every") == 0:
        message = "`every` is 0, and the kernel would never rest"
        yield at("every").value.error("DP0222", message, "write for example `5s`")
    if not marks.high >= marks.mid >= marks.low:
        message = "the watermarks are not in the order `high` ≥ `mid` ≥ `low`"
        hint = "asleep above `high` and below `low`, awake from `mid` down"
        yield at("mid").value.error("DP0206", message, hint)
