"""Progress of the loops of policies, for `status`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from damonpolicy.plan.loops import value
from damonpolicy.plan.state import Managed

__all__ = ("loop_lines", "loops")

_NOBODY = "no service runs that would move it"


def loops(managed: Managed, service: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Return each loop: what it moves, the value, its error, and the reason if it does not move.

    ``error`` is a share: above 0, the measured value is too small; None if unknown.
    """
    running = service if service is not None and service["running"] else None
    found = []
    for policy in managed.policies.values():
        for loop in policy.loops:
            name = f"{policy.name}/{loop.name}"
            why = _NOBODY if running is None else running["loops"].get(name)
            found.append(
                {
                    "loop": name,
                    "kdamond": f"{policy.name}/{loop.kdamond}" if loop.kdamond else None,
                    "path": loop.path,
                    "value": value(policy, loop),
                    "target": "target" in loop.law or "targets" in loop.law,
                    # an older service does not report it
                    "error": running.get("errors", {}).get(name) if running else None,
                    "why": why,
                }
            )
    return found


def loop_lines(found: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Return one line for each loop."""
    for each in found:
        what = f"{each['path']}{' of ' + each['kdamond'] if each['kdamond'] else ''}"
        yield f"{each['loop']}: {what} is {each['value']}{_how(each)}"


def _how(each: Mapping[str, Any]) -> str:
    if each["why"]:
        return f", stands still: {each['why']}"
    error = each["error"]
    if error is None:
        return ""
    share = f"{abs(error):.0%}"
    if share == "0%":
        return ", at its target"
    if each["target"]:
        return f", measures {share} too {'little' if error > 0 else 'much'}"
    return f", on its way: {share} from where it goes"
