"""Descriptions of parts of a kdamond's tree, in the policy's words.

Standard library only.
"""

from __future__ import annotations

from collections.abc import Mapping

from damonpolicy.base.units import U32_MAX, U64_MAX, format_bytes, format_duration, format_percent
from damonpolicy.kernel.damon.modules import PARAMETERS, UNLIMITED
from damonpolicy.kernel.damon.tree import Tree
from damonpolicy.kernel.damon.view import Goal, Kdamond
from damonpolicy.plan import facts

__all__ = ("chain", "goal_text", "setting_text", "value_text")


def chain(tree: Tree, owner: str) -> str:
    """Describe the effect of a scheme's or probe's filters; empty without filters."""
    return facts.said(facts.filters(tree, owner))


def setting_text(content: str, path: str = "") -> str:
    """Return a setting's content as one would write it; with ``path`` in the policy's units."""
    from damonpolicy.kernel.settings import normalise

    text = normalise(content) if "[" in content else content.strip()
    parameter = PARAMETERS.get(path)
    if parameter is None or parameter.unit == "bool":
        return text
    if text == "0":
        return "unlimited" if parameter.name in UNLIMITED else text
    return value_text(parameter.unit, text, {})


def value_text(unit: str, value: str, tree: Tree, path: str = "") -> str:
    """Write a kernel file's content in the policy's units."""
    if unit == "bool":
        return {"Y": "true", "N": "false"}.get(value, value)
    if unit == "text" or not value.isdecimal():
        return value
    number = int(value)
    intervals = Kdamond(tree).intervals
    sample, aggregation = intervals.sample.number or 1, intervals.aggregation.number or 1
    if unit in ("bytes", "samples", "aggregations") and number in (U32_MAX, U64_MAX):
        return "unlimited"
    if unit == "samples":
        samples = max(aggregation // sample, 1)
        share = format_percent(min(number, samples), samples)
        return f"{share} ({number} of {samples} samples)" if number else share
    if unit == "aggregations":
        count = f"{number} aggregation{'' if number == 1 else 's'}"
        tuned = intervals.auto_tune.aggregations.text != "0"
        # the kernel counts aggregations, whatever their tuned length
        time = "" if tuned or not number else format_duration(number * aggregation)
        return f"{time} ({count})" if time else count if number else "0"
    if unit == "goal":
        return goal_text(number, Goal(tree, path.rpartition("/")[0]).metric.text)
    texts: Mapping[str, str] = {
        "us": format_duration(number),
        "ms": format_duration(number * 1_000),
        "bytes": format_bytes(number),
        "address": f"{number:#x}",
        "bp": format_percent(number, 10_000),
        "permil": format_percent(number, 1_000),
    }
    return texts.get(unit, value)


def goal_text(number: int, metric: str) -> str:
    """Write a goal's value in its metric's unit."""
    if metric.endswith("_us"):
        return format_duration(number)
    return format_percent(number, 10_000) if metric.endswith("_bp") else str(number)
