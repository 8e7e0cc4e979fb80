"""Saved plans: exactly the shown plan is applied, or nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from damonpolicy.base import typed
from damonpolicy.base.errors import StalePlan, UsageError
from damonpolicy.kernel.damon.tree import digest
from damonpolicy.plan.plan import Plan
from damonpolicy.plan.state import agree

__all__ = ("from_json", "refuse_stale", "to_json")


def to_json(plan: Plan, capabilities: str) -> dict[str, Any]:
    """Return a plan as plain data; ``capabilities`` is the digest of the kernel's features."""
    body = {**plan.to_json(), "capabilities": capabilities}
    return {**body, "digest": digest(body)}


def from_json(data: Mapping[str, Any], name: str) -> tuple[Plan, str]:
    """Return a plan and the digest of capabilities it was made for.

    Raises UsageError if the file, called ``name`` in messages, is not a plan of ours.
    """
    hint = "make one with `damonpolicy plan --out FILE`"
    try:
        typed.of_format(data, Plan.FORMAT)
        body = {key: value for key, value in data.items() if key != "digest"}
        if digest(body) != data.get("digest"):
            raise UsageError(
                f"`{name}` is not a plan, or was changed after it was saved", hint=hint
            )
        capabilities = typed.text(data.get("capabilities"), "`capabilities`")
        plan = typed.record(Plan, data, besides=("digest", "capabilities"))
        agree(plan.policies)
        if not {*plan.affected} <= plan.policies.keys():
            raise ValueError("`affected` names a policy that it does not have")
    except (ValueError, RecursionError) as error:
        raise UsageError(f"`{name}` is not a plan: {error}", hint=hint) from error
    return plan, capabilities


def refuse_stale(plan: Plan, capabilities: str, now: Plan, now_capabilities: str) -> None:
    """Compare a saved plan with one made now for the same policies; raise StalePlan."""
    reasons = [
        (plan.machine != now.machine, f"it is for `{plan.machine}`"),
        (plan.boot_id != now.boot_id, "the machine was booted since"),
        (plan.release != now.release, "the kernel is another one"),
        (capabilities != now_capabilities, "the kernel's capabilities are others"),
        (plan.fingerprint != now.fingerprint, "slots, files, modules or settings have moved"),
        (plan.operations != now.operations, "processes, cgroups or memory have moved"),
    ]
    for stale, reason in reasons:
        if stale:
            message = f"the saved plan no longer fits this machine: {reason}"
            raise StalePlan(message, hint="plan again, look at it, and apply that")
