"""Rendering of a plan for people: a diff by kdamond and scheme, in the policy's words.

Each line begins with ``+`` (added), ``-`` (removed), ``~`` (changed) or a blank, and has the
kernel's path beside it. Standard library only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from damonpolicy.base.diagnostics import as_text
from damonpolicy.kernel.settings import normalise
from damonpolicy.plan.plan import Action, KdamondPlan, Plan
from damonpolicy.plan.settings import SettingPlan
from damonpolicy.plan.show.rows import Row, rows
from damonpolicy.plan.show.texts import setting_text

__all__ = ("render", "to_json")

_WIDTH = 58
_SHOWN = ("scope", "word", "before", "after", "path")
_WORDS: Mapping[Action, tuple[str, str, str]] = {
    "start": ("+", "starts", "to start"),
    "change": ("~", "changes online", "to change online"),
    "restart": ("~", "restarts", "to restart"),
    "keep": (" ", "stays as it is", ""),
    "adopt": (" ", "is adopted", "to adopt"),
    "stop": ("-", "stops", "to stop"),
    "wait": (" ", "waits for {}", "to wait"),
}
"""The sign of an action, what a kdamond does then, and what several have to do."""


def render(plan: Plan, *, changes: bool) -> str:
    """Return the whole plan as text; ``changes`` is whether anything changes."""
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
    return as_text(lines)


def _machine(plan: Plan) -> str:
    kind = "the emulated kernel" if plan.machine.startswith("emulated") else "kernel"
    return f"{kind} {plan.release}" if plan.release else plan.machine


def _moves(each: SettingPlan) -> bool:
    return not each.left and normalise(each.before) != normalise(each.after)


def _setting_line(each: SettingPlan) -> str:
    back = ", put back" if each.restored else ""
    before, after = (setting_text(text, each.path) for text in (each.before, each.after))
    return f"  ~ {each.path}: {before} → {after}{back}"


def _summary(plan: Plan, settings: list[SettingPlan]) -> str:
    actions = Counter(each.action for each in plan.kdamonds)
    actions["stop"] += sum(each.action == "wait" and each.slot >= 0 for each in plan.kdamonds)
    counts = ((actions[action], what) for action, (_, _, what) in _WORDS.items() if what)
    parts = [f"{n} kdamond{'s' if n > 1 else ''} {what}" for n, what in counts if n]
    if settings:
        parts.append(f"{len(settings)} setting{'s' if len(settings) > 1 else ''} to change")
    writes = len(plan.operations)
    parts.append(f"{writes} write{'' if writes == 1 else 's'}")
    return ", ".join(parts)


def _kdamond(each: KdamondPlan) -> Iterator[str]:
    sign, verb, _ = _WORDS[each.action]
    where = f"slot {each.slot}, " if each.slot >= 0 else ""
    yield f"{sign} kdamond {each.name} ({where}{verb.format(each.waits_for)})"
    for remark in _remarks(each):
        yield f"    note: {remark}"
    scope = ""
    for row in _changes(each):
        if row.scope != scope:
            scope = row.scope
            yield f"    {scope}"
        indent = "      " if row.scope else "    "
        moved = row.after or row.before
        if row.sign == "~":
            moved = f"{row.before or 'none'} → {row.after or 'none'}"
        text = f"{indent}{row.sign} {row.word}: {moved}"
        yield f"{text:<{_WIDTH}}  {row.path}".rstrip()


def _changes(each: KdamondPlan) -> list[Row]:
    return rows(each) if each.action in ("start", "change", "restart") else []


def _remarks(each: KdamondPlan) -> list[str]:
    gone = (f"the filter on the cgroup `{path}`" for path in each.left_out)
    return [*each.remarks, *(f"{what} is left out until it is there" for what in gone)]


def to_json(plan: Plan) -> dict[str, Any]:
    """Return the plan for tools: the content of `render`, and every operation."""
    return {
        "machine": plan.machine,
        "release": plan.release,
        "kdamonds": [
            {
                "name": each.name,
                "slot": each.slot if each.slot >= 0 else None,
                "action": each.action,
                "members": [pid for pid, _ in each.members],
                **({"waits_for": each.waits_for} if each.action == "wait" else {}),
                "remarks": _remarks(each),
                "changes": [
                    {name: getattr(row, name) or None for name in _SHOWN} for row in _changes(each)
                ],
            }
            for each in plan.kdamonds
        ],
        "settings": [
            {
                "path": each.path,
                "before": setting_text(each.before),
                "after": setting_text(each.before if each.left else each.after),
                "original": setting_text(each.original),
                "users": list(each.users),
            }
            for each in plan.settings
        ],
        "operations": [operation.to_json() for operation in plan.operations],
        "remarks": list(plan.remarks),
    }
