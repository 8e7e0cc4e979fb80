"""The values that the service's loops have reached, in compiled policies.

They are part of the policy, so that a reload goes on from there, and each change is an ordinary
transaction. Plain data and the standard library only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from damonpolicy.plan.ir import CompiledPolicy, Loop

__all__ = ("carried", "from_start", "moved", "value")


def value(policy: CompiledPolicy, loop: Loop) -> str | None:
    """Return the value that a loop has reached."""
    if not loop.kdamond:
        return policy.settings.get(loop.path)
    files = (each.files for each in policy.kdamonds if each.name == loop.kdamond)
    return next((each.get(loop.path) for each in files), None)


def moved(policy: CompiledPolicy, values: Mapping[tuple[str, str], str]) -> CompiledPolicy:
    """Return a policy with other values, by kdamond and path; settings have no kdamond."""
    settings = dict(policy.settings)
    settings |= {path: text for (kdamond, path), text in values.items() if not kdamond}
    kdamonds = []
    for each in policy.kdamonds:
        mine = {path: text for (name, path), text in values.items() if name == each.name}
        kdamonds.append(replace(each, files={**each.files, **mine}) if mine else each)
    return replace(policy, settings=settings, kdamonds=tuple(kdamonds))


def carried(before: CompiledPolicy | None, after: CompiledPolicy) -> CompiledPolicy:
    """Return a policy that was compiled again, with the current values of its loops.

    A changed loop starts from the policy's value.
    """
    if before is None:
        return after
    values = {
        (loop.kdamond, loop.path): text
        for loop in after.loops
        if loop in before.loops and (text := value(before, loop)) is not None
    }
    return moved(after, values) if values else after


def from_start(policy: CompiledPolicy, kdamonds: Iterable[str]) -> CompiledPolicy:
    """Return a policy with initial ages for kdamonds (full names) whose tuning restarts.

    A count of long aggregations would be a short time for a kdamond that starts with short ones.
    """
    names = set(kdamonds)
    values = {
        (loop.kdamond, loop.path): str(loop.law["start"])
        for loop in policy.loops
        if loop.law["law"] == "age" and f"{policy.name}/{loop.kdamond}" in names
        if value(policy, loop) != loop.law["start"]
    }
    return moved(policy, values) if values else policy
