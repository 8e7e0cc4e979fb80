"""Settings beside DAMON's: shared by policies, and restored with the last that wants them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from damonpolicy.base.errors import PolicyInvalid
from damonpolicy.base.lazy import dataclass
from damonpolicy.kernel.damon.modules import module_of
from damonpolicy.kernel.operation import Operation, Phase
from damonpolicy.kernel.settings import ADVISOR, PAGES, STAYS, normalise, paced
from damonpolicy.plan.ir import CompiledPolicy
from damonpolicy.plan.machine_state import Current
from damonpolicy.plan.state import Managed

__all__ = ("SettingPlan", "operation", "plan", "remarks")


@dataclass(frozen=True, slots=True)
class SettingPlan:
    """The plan of one setting; ``original`` is the value to restore finally.

    ``chosen`` marks a value that the kernel writes once a module runs; ``owed`` one that cannot be
    restored yet, and is kept for later. A ``left`` setting keeps someone else's value, as no policy
    that wants it is being applied.
    """

    path: str
    before: str
    after: str
    original: str
    users: tuple[str, ...]
    restored: bool = False
    chosen: bool = False
    owed: bool = False
    left: bool = False


def plan(
    current: Current,
    managed: Managed,
    policies: Mapping[str, CompiledPolicy],
    affected: Collection[str],
) -> list[SettingPlan]:
    """Plan the settings to write, then those to restore.

    Those of policies that are not ``affected`` are as little written as their kdamonds; but
    those of DAMON's modules are, as no kdamond starts beside one that runs.

    In reverse order: a setting that depends on another is restored before it.

    Raises PolicyInvalid if two policies disagree.
    """
    values: dict[str, str] = {}
    users: dict[str, list[str]] = {}
    for policy in policies.values():
        for path, value in policy.settings.items():
            if path in values and normalise(values[path]) != normalise(value):
                first = users[path][0]
                wrong = PolicyInvalid(
                    f"the policies `{first}` and `{policy.name}` set `{path}` to different values",
                    hint=f"`damonpolicy remove {first}` frees it",
                    code="DP0244",
                )
                wrong.about = ((policy.name, path), (first, path))
                raise wrong
            values.setdefault(path, value)
            users.setdefault(path, []).append(policy.name)
    plans = []
    for path, value in sorted(values.items(), key=lambda each: each[0] != ADVISOR):
        before = current.settings.get(path)
        if before is None:
            continue  # the rules have refused all but values that are set in effect
        record = managed.settings.get(path)
        original = record.original if record else _readable(before)
        wanted_now = not set(affected).isdisjoint(users[path]) or bool(module_of(path))
        known = record is not None and normalise(record.written) == normalise(value)
        left = known and not wanted_now and normalise(before) != normalise(value)
        plans.append(SettingPlan(path, before, value, original, tuple(users[path]), left=left))
    advised = paced(current.settings.get(ADVISOR) or "")
    for path, record in reversed(tuple(managed.settings.items())):
        before = current.settings.get(path)
        if path in values or before is None:
            continue
        ours = normalise(before) == normalise(record.written)
        ours = ours and not (path == PAGES and advised)
        after = record.original if ours else before
        plans.append(SettingPlan(path, before, after, record.original, (), restored=True))
    return plans


def operation(each: SettingPlan, phase: Phase) -> Operation | None:
    """Return the write, None if none is needed."""
    if each.left or normalise(each.before) == normalise(each.after):
        return None
    return Operation("setting", phase, each.path, _readable(each.before), each.after)


def remarks(plans: Iterable[SettingPlan]) -> list[str]:
    """Return remarks on values that stay, although the changes seem to restore them."""
    moves = (each for each in plans if not each.left)
    found = (STAYS.get((x.path, normalise(x.before), normalise(x.after))) for x in moves)
    return [each for each in found if each]


def _readable(content: str) -> str:
    """Return the text to write that restores a setting's content."""
    return normalise(content) if "[" in content else content
