"""Parts of a kdamond's tree in the policy's words: filters, accesses, targets, values.

Standard library only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction

from damonpolicy.kernel.modules import PARAMETERS, UNLIMITED
from damonpolicy.kernel.settings import normalise
from damonpolicy.kernel.tree import Tree
from damonpolicy.units import (
    U32_MAX,
    U64_MAX,
    approximate_bytes,
    format_bytes,
    format_duration,
    format_percent,
)

__all__ = (
    "EARLY",
    "SAMPLE",
    "accesses",
    "chain",
    "goal_text",
    "setting_text",
    "target",
    "value_text",
)

SAMPLE = "contexts/0/monitoring_attrs/sample"
EARLY = "contexts/0/operations_attrs"


def chain(tree: Tree, owner: str) -> str:
    """Say in words what the filters of a scheme or probe do; empty without filters.

    Filters that differ in their cgroup only, as a subtree makes them, are said once.
    """
    words: list[str] = []
    below = 0
    allowed = ""
    for base in _filters(tree, owner):
        allowed = tree.get(f"{base}/allow", "N")
        matching = tree.get(f"{base}/matching", "N")
        verb = "allow" if allowed == "Y" else "reject"
        what = _what(tree, base)
        word = f"{verb} {what}" if matching == "Y" else f"{verb} what is not {what}"
        if words and "memcg" in what and word.startswith(words[-1].split(" and ")[0] + "/"):
            below += 1
            words[-1] = f"{words[-1].split(' and ')[0]} and {below} below it"
        else:
            words.append(word)
            below = 0
    if not words:
        return ""
    rest = "the rest is rejected" if allowed == "Y" else "the rest is taken"
    return "; ".join([*words, rest])


def _filters(tree: Tree, owner: str) -> Iterator[str]:
    for layer in ("core_filters", "filters", "ops_filters"):
        for index in range(int(tree.get(f"{owner}/{layer}/nr_filters", "0"))):
            yield f"{owner}/{layer}/{index}"


def _what(tree: Tree, base: str) -> str:
    kind = tree.get(f"{base}/type", "")
    path = tree.get(f"{base}/memcg_path") or tree.get(f"{base}/path") or ""
    if kind == "memcg":
        return f"memcg {path}"
    if kind == "addr":
        start, end = (int(tree.get(f"{base}/addr_{name}", "0")) for name in ("start", "end"))
        return f"addr {start:#x}-{end:#x}"
    if kind == "target":
        return f"target {tree.get(f'{base}/damon_target_idx', '0')}"
    low, high = (int(tree.get(f"{base}/{name}", "0")) for name in ("min", "max"))
    if kind == "hugepage_size":
        return f"hugepage_size {format_bytes(low)}-{format_bytes(high)}"
    if kind == "probe_hits_wsum":
        return f"probe_hits_wsum {low}-{high}"
    return kind


def accesses(tree: Tree) -> str:
    """Say which accesses count; each filter but the last rejects what is not of its kind."""
    if tree.get(f"{EARLY}/use_reports") == "Y":
        kind = "writes" if tree.get(f"{EARLY}/write_only") == "Y" else "all"
        given = {"CPU": tree.get(f"{EARLY}/cpus"), "thread": tree.get(f"{EARLY}/tids")}
        conditions = [_some(what, which) for what, which in given.items() if which]
        return f"{kind} of {' and '.join(conditions)}" if conditions else kind
    if tree.get(f"{SAMPLE}/primitives/page_fault") != "Y":
        return "all"
    if tree.get(f"{SAMPLE}/filters/nr_filters", "0") == "0":
        return "all, by page faults"
    kind, conditions = "all", []
    for index in range(int(tree.get(f"{SAMPLE}/filters/nr_filters", "0")) - 1):
        base = f"{SAMPLE}/filters/{index}"
        if tree.get(f"{base}/type") == "write":
            kind = "writes" if tree.get(f"{base}/matching") == "N" else "reads"
        elif tree.get(f"{base}/type") == "cpumask":
            conditions.append(_some("CPU", tree.get(f"{base}/cpumask", "")))
        else:
            conditions.append(_some("thread", tree.get(f"{base}/tid_arr", "")))
    return f"{kind} of {' and '.join(conditions)}" if conditions else kind


def _some(what: str, which: str) -> str:
    return f"{what} {which}" if which.isdecimal() else f"{what}s {which.replace(',', ', ')}"


def target(tree: Tree, base: str) -> str:
    """Say what a target is: a pid, and how much of which regions."""
    if f"{base}/pid_target" not in tree:
        return ""
    count = int(tree.get(f"{base}/regions/nr_regions", "0"))
    total = sum(
        int(tree[f"{base}/regions/{number}/end"]) - int(tree[f"{base}/regions/{number}/start"])
        for number in range(count)
        if f"{base}/regions/{number}/end" in tree
    )
    pid = tree[f"{base}/pid_target"]
    parts = [f"pid {pid}"] if pid != "0" else []
    if count:
        size = approximate_bytes(total * int(tree.get("contexts/0/addr_unit", "1")))
        parts.append(f"{size} in {count} region{'s' if count > 1 else ''}")
    obsolete = tree.get(f"{base}/obsolete_target") == "Y"
    return ", ".join(parts) + (" (obsolete)" if obsolete else "")


def setting_text(content: str, path: str = "") -> str:
    """What a setting's content says, as one would write it; with ``path`` in the policy's units."""
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
    intervals = "contexts/0/monitoring_attrs/intervals"
    sample = int(tree.get(f"{intervals}/sample_us", "5000")) or 1
    aggregation = int(tree.get(f"{intervals}/aggr_us", "100000")) or 1
    if unit in ("bytes", "samples", "aggregations") and number in (U32_MAX, U64_MAX):
        return "unlimited"
    if unit == "samples":
        samples = max(aggregation // sample, 1)
        share = format_percent(Fraction(min(number, samples), samples))
        return f"{share} ({number} of {samples} samples)" if number else share
    if unit == "aggregations":
        count = f"{number} aggregation{'' if number == 1 else 's'}"
        tuned = tree.get(f"{intervals}/intervals_goal/aggrs", "0") != "0"
        # the kernel counts aggregations, whatever they have been tuned to
        time = "" if tuned or not number else format_duration(number * aggregation)
        return f"{time} ({count})" if time else count if number else "0"
    if unit == "goal":
        return goal_text(number, tree.get(path.replace("target_value", "target_metric"), ""))
    texts: Mapping[str, str] = {
        "us": format_duration(number),
        "ms": format_duration(number * 1_000),
        "bytes": format_bytes(number),
        "address": f"{number:#x}",
        "bp": format_percent(Fraction(number, 10_000)),
        "permil": format_percent(Fraction(number, 1_000)),
    }
    return texts.get(unit, value)


def goal_text(number: int, metric: str) -> str:
    """Write a goal's value in its metric's unit."""
    if metric.endswith("_us"):
        return format_duration(number)
    return format_percent(Fraction(number, 10_000)) if metric.endswith("_bp") else str(number)
