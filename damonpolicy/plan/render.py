"""A plan as people read it: by kdamond and scheme, in the policy's words, like a diff.

Each line begins with ``+`` (comes), ``-`` (goes), ``~`` (changes) or a blank, and has the kernel's
path beside it. Standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from damonpolicy.kernel.settings import normalise
from damonpolicy.kernel.tree import COUNTS, Tree, default, is_volatile
from damonpolicy.model.words import by_kernel, rank
from damonpolicy.plan.order import KdamondPlan, Plan, SettingPlan
from damonpolicy.units import (
    U32_MAX,
    U64_MAX,
    approximate_bytes,
    format_bytes,
    format_duration,
    format_percent,
)

__all__ = ("chain", "render", "setting_text", "to_json", "value_text")

_WIDTH = 58
_SCHEME = re.compile(r"contexts/0/schemes/\d+")
_PROBE = re.compile(r"contexts/0/monitoring_attrs/probes/\d+")
_TARGET = re.compile(r"contexts/0/targets/(\d+)")
_FILTERS = re.compile(r"(.*/(?:core_filters|ops_filters|filters))(?:/|\Z)")
_VERBS = {
    "start": ("+", "starts"),
    "change": ("~", "changes online"),
    "restart": ("~", "restarts"),
    "keep": (" ", "stays as it is"),
    "adopt": (" ", "is adopted"),
    "stop": ("-", "stops"),
    "wait": (" ", "waits for a process"),
}


@dataclass(frozen=True, slots=True)
class _Row:
    sign: str
    scope: str
    word: str
    before: str
    after: str
    path: str


def render(plan: Plan, *, changes: bool) -> str:
    """Return the whole plan as text; ``changes`` says whether anything is to be done at all."""
    lines = [f"Plan for {_machine(plan)}", ""]
    settings = [each for each in plan.settings if _moves(each)]
    if settings:
        lines.append("settings")
        lines += [_setting_line(each) for each in settings]
        lines.append("")
    for each in plan.kdamonds:
        if each.action != "keep" or each.name.split("/")[0] in plan.affected:
            lines += [*_kdamond(each), ""]
    lines += [f"note: {remark}" for remark in plan.remarks]
    lines.append(_summary(plan, settings) if changes else "No changes.")
    return "\n".join(lines) + "\n"


def _machine(plan: Plan) -> str:
    kind = "the emulated kernel" if plan.machine.startswith("emulated") else "kernel"
    return f"{kind} {plan.release}" if plan.release else plan.machine


def _moves(each: SettingPlan) -> bool:
    return normalise(each.before) != normalise(each.after)


def _setting_line(each: SettingPlan) -> str:
    back = ", put back" if each.restored else ""
    return f"  ~ {each.path}: {setting_text(each.before)} → {setting_text(each.after)}{back}"


def setting_text(content: str) -> str:
    """What a setting's content says, as one would write it."""
    return normalise(content) if "[" in content else content.strip()


def _summary(plan: Plan, settings: list[SettingPlan]) -> str:
    counts = [
        (sum(each.action == "start" for each in plan.kdamonds), "to start"),
        (sum(each.action == "change" for each in plan.kdamonds), "to change online"),
        (sum(each.action == "restart" for each in plan.kdamonds), "to restart"),
        (sum(each.action == "adopt" for each in plan.kdamonds), "to adopt"),
        (
            sum(each.action in ("stop", "wait") and each.slot >= 0 for each in plan.kdamonds),
            "to stop",
        ),
    ]
    parts = [
        f"{number} kdamond{'s' if number > 1 else ''} {what}" for number, what in counts if number
    ]
    if settings:
        parts.append(f"{len(settings)} setting{'s' if len(settings) > 1 else ''} to change")
    writes = len(plan.operations)
    parts.append(f"{writes} write{'' if writes == 1 else 's'}")
    return ", ".join(parts)


def _kdamond(each: KdamondPlan) -> Iterator[str]:
    sign, verb = _VERBS[each.action]
    where = f"slot {each.slot}, " if each.slot >= 0 else ""
    yield f"{sign} kdamond {each.name} ({where}{verb})"
    for remark in each.remarks:
        yield f"    note: {remark}"
    if each.action in ("keep", "adopt", "wait"):
        return
    if each.action == "stop":
        return
    scope = ""
    for row in _rows(each):
        if row.scope != scope:
            scope = row.scope
            yield f"    {scope}"
        indent = "      " if row.scope else "    "
        moved = f"{row.before} → {row.after}" if row.sign == "~" else row.after or row.before
        text = f"{indent}{row.sign} {row.word}: {moved}"
        yield f"{text:<{_WIDTH}}  {row.path}".rstrip()


def _rows(each: KdamondPlan) -> list[_Row]:
    """Return the differences in the order kdamond, targets, probes, schemes."""
    fresh = each.action == "start"
    before = {} if fresh else each.before
    rows: dict[tuple[int, str, str], _Row] = {}
    for path in sorted({*before, *each.after}, key=_natural):
        old, new = before.get(path), each.after.get(path)
        if old == new or (fresh and new == default(path)) or is_volatile(path, each.after):
            continue
        row = _row(each, path, before, old, new)
        if row is not None and not (fresh and row.after == "unlimited"):
            rows.setdefault((_rank(row.scope), row.scope, f"{row.word} {row.path}"), row)
    return sorted(rows.values(), key=lambda row: (_rank(row.scope), *_order(row)))


def _rank(scope: str) -> int:
    return 0 if not scope else 1 if scope.startswith("probe") else 2


def _order(row: _Row) -> tuple[list[tuple[int, str]], int, list[tuple[int, str]]]:
    """Order as in a policy: schemes by number, settings as the language lists them."""
    found = _SCHEME.match(row.path) or _PROBE.match(row.path)
    return (_natural(found[0] if found else ""), rank(row.path), _natural(row.path))


def _natural(path: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in path.split("/")]


def _row(
    each: KdamondPlan, path: str, before: Tree, old: str | None, new: str | None
) -> _Row | None:
    scope = _scope(each, path)
    if found := _FILTERS.match(path):
        directory = found[1]
        if "sample/" not in directory:
            return _filter_row(each, scope, directory, before)
    if found := _TARGET.match(path):
        return _target_row(each, before, int(found[1]), path)
    if path.rpartition("/")[2] in COUNTS.values():
        return None
    word = by_kernel(path)
    name = word.ours if word else path.rpartition("/")[2]
    goal = re.match(r"(.*/goals/)(\d+)/", path)
    if goal:
        name = name.replace("goals", f"goals[{goal[2]}]")
    sign = "+" if old is None or not before else "-" if new is None else "~"
    unit = word.unit if word else "text"
    return _Row(
        sign,
        scope,
        name,
        "" if old is None else value_text(unit, old, before, path),
        "" if new is None else value_text(unit, new, each.after, path),
        path,
    )


def _scope(each: KdamondPlan, path: str) -> str:
    for kind, expression in (("scheme", _SCHEME), ("probe", _PROBE)):
        if found := expression.match(path):
            names = each.names if found[0] in each.names else each.names_before
            return f"{kind} {names.get(found[0], found[0].rpartition('/')[2])}"
    return ""


def _filter_row(each: KdamondPlan, scope: str, directory: str, before: Tree) -> _Row | None:
    """All filters of a scheme or probe on one line, in the order the kernel asks them."""
    owner = directory.rpartition("/")[0]
    old, new = chain(before, owner), chain(each.after, owner)
    if old == new:
        return None
    sign = "+" if not before or not old else "~" if new else "-"
    layers = ("filters", "ops_filters", "core_filters")
    used = [each_ for each_ in layers if each.after.get(f"{owner}/{each_}/nr_filters", "0") != "0"]
    path = f"{owner}/{used[0] if len(used) == 1 else 'filters'}"
    return _Row(sign, scope, "filters", old or "none", new or "none", path)


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
    if kind == "hugepage_size":
        low, high = (int(tree.get(f"{base}/{name}", "0")) for name in ("min", "max"))
        return f"hugepage_size {format_bytes(low)}-{format_bytes(high)}"
    return kind


def _target_row(each: KdamondPlan, before: Tree, index: int, path: str) -> _Row | None:
    old, new = _target(before, index), _target(each.after, index)
    if old == new:
        return None
    sign = "+" if not old else "~" if new else "-"
    base = f"contexts/0/targets/{index}"
    file = "regions" if "/regions" in path else "pid_target"
    return _Row(sign, "", f"targets[{index}]", old, new, f"{base}/{file}")


def _target(tree: Tree, index: int) -> str:
    base = f"contexts/0/targets/{index}"
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
        return f"{share} ({number} of {samples} samples)"
    if unit == "aggregations":
        return f"{format_duration(number * aggregation)} ({number} aggregations)"
    if unit == "goal":
        return _goal(number, tree.get(path.replace("target_value", "target_metric"), ""))
    texts: Mapping[str, str] = {
        "us": format_duration(number),
        "ms": format_duration(number * 1_000),
        "bytes": format_bytes(number),
        "address": f"{number:#x}",
        "bp": format_percent(Fraction(number, 10_000)),
        "permil": format_percent(Fraction(number, 1_000)),
    }
    return texts.get(unit, value)


def _goal(number: int, metric: str) -> str:
    if metric.endswith("_us"):
        return format_duration(number)
    return format_percent(Fraction(number, 10_000)) if metric.endswith("_bp") else str(number)


def to_json(plan: Plan) -> dict[str, Any]:
    """Return the plan for tools: what `render` shows, and every operation."""
    return {
        "machine": plan.machine,
        "release": plan.release,
        "kdamonds": [
            {
                "name": each.name,
                "slot": each.slot if each.slot >= 0 else None,
                "action": each.action,
                "members": [pid for pid, _ in each.members],
                "remarks": list(each.remarks),
                "changes": [
                    {
                        "scope": row.scope or None,
                        "word": row.word,
                        "before": row.before or None,
                        "after": row.after or None,
                        "path": row.path,
                    }
                    for row in (
                        _rows(each) if each.action in ("start", "change", "restart") else ()
                    )
                ],
            }
            for each in plan.kdamonds
        ],
        "settings": [
            {
                "path": each.path,
                "before": normalise(each.before),
                "after": normalise(each.after),
                "original": normalise(each.original),
                "users": list(each.users),
            }
            for each in plan.settings
        ],
        "operations": [operation.to_json() for operation in plan.operations],
        "remarks": list(plan.remarks),
    }
