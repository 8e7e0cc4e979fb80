"""Lines of text for a kdamond, for `status`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from damonpolicy.base.units import approximate_bytes
from damonpolicy.cli.show.goals import goal_lines
from damonpolicy.observe.status.schemes import Limits
from damonpolicy.plan.facts import ALL, Accesses, Filter, Target, said

__all__ = ("kdamond_lines",)

_SHOWN = 4
"""The most targets to name."""


def kdamond_lines(each: Mapping[str, Any], *, fresh: bool) -> list[str]:
    """Describe the state of a kdamond; ``fresh``: its numbers were just requested."""
    whose = each["name"] or "someone else's"
    pid = f", pid {each['pid']}" if each["pid"] else ""
    state = f"{each['state']}, paused" if each["paused"] else each["state"]
    lines = [f"kdamond {whose}: {state} (slot {each['slot']}{pid})"]
    targets = [_target(Target(**one)) for one in each["targets"]]
    if targets:
        more = f" and {len(targets) - _SHOWN} more" if targets[_SHOWN:] else ""
        lines.append(f"  {each['ops']}: {', '.join(targets[:_SHOWN])}{more}")
    if each["state"] == "off" and each["owner"] == "ours":
        gone = each["targets"] and not any(one["process"] for one in each["targets"])
        processes = each["ops"] != "paddr" and gone
        why = "its processes have ended" if processes else "it has ended"
        lines.append(
            f"  {why}: `damonpolicy apply` starts it again{' with others' if processes else ''}"
        )
    if (accesses := Accesses(**each["accesses"])) != ALL:
        lines.append(f"  accesses: {accesses.text}")
    if not each["schemes"]:
        lines.append("  no scheme: one with `action: stat` would count what it selects")
    for scheme in each["schemes"]:
        quota = f", {Limits(**scheme['quota']).text}" if scheme["quota"] else ""
        lines.append(f"  scheme {scheme['name']}: {scheme['action']}{quota}")
        lines += [f"    {line}" for line in _scheme(each, scheme, fresh=fresh)]
    return lines


def _target(target: Target) -> str:
    gone = target.pid and not target.process
    return f"{target.name} (ended)" if gone else target.name


def _scheme(kdamond: Mapping[str, Any], scheme: Mapping[str, Any], *, fresh: bool) -> Iterator[str]:
    if scheme["filters"]:
        yield said([Filter(**one) for one in scheme["filters"]])
    if scheme["watermarks"]:
        yield scheme["watermarks"]["why"]
    now, numbers = scheme["now"], scheme["statistics"]
    if now:
        passed = now["passed_bytes"]
        yield (
            f"now {approximate_bytes(now['bytes'])} in {_regions(now['regions'])}"
            + (f", {approximate_bytes(passed)} passed the filters" if passed is not None else "")
        )
    if numbers.get("sz_tried") is None:
        yield _not_asked(kdamond)
    else:
        passed = numbers.get("sz_ops_filter_passed")
        yield (
            f"added up over all rounds{'' if fresh or scheme['asked'] else ', when last asked'}:"
            f" tried {approximate_bytes(numbers['sz_tried'])} in {_regions(numbers['nr_tried'])},"
            + (f" {approximate_bytes(passed)} passed the filters," if passed is not None else "")
            + f" applied to {approximate_bytes(numbers.get('sz_applied') or 0)}"
        )
    yield from goal_lines(scheme, fresh=fresh)


def _regions(count: int) -> str:
    return f"{count} region{'' if count == 1 else 's'}"


def _not_asked(kdamond: Mapping[str, Any]) -> str:
    """Explain why there are no numbers."""
    if kdamond["owner"] != "ours":
        return "not asked: it is someone else's"
    if kdamond["state"] != "on":
        return "no numbers were requested before it ended"
    return "not asked: `status --update`"
