"""Repair of drift, if the policy asks for it.

Only what is ours is repaired: if someone else's kdamond has replaced one of a policy, the whole
policy is left to its administrator, as a second kdamond beside theirs would not restore the earlier
state.
"""

from __future__ import annotations

from damonpolicy.base import log
from damonpolicy.base.errors import DamonPolicyError
from damonpolicy.base.lazy import dataclass
from damonpolicy.daemon.containment import tell
from damonpolicy.daemon.keeper import Keeper
from damonpolicy.engine.transaction import Terms
from damonpolicy.kernel.system.host import starts
from damonpolicy.kernel.system.machine import Machine
from damonpolicy.observe.status.document import drift_of, settings
from damonpolicy.plan.ir import CompiledPolicy
from damonpolicy.plan.machine_state import Current, retrieve
from damonpolicy.plan.state import Managed, SlotRecord

__all__ = ("Repairer", "ended", "repairable")

_AFTER_FAILURE = 60.0


@dataclass(slots=True)
class Repairer:
    """The repairer of a service's policies that ask for it."""

    keeper: Keeper
    again: float = 30.0
    """Seconds between two repairs, so that repeated changes do not cause a race."""
    repairs: int = 0
    trouble: str = ""
    _not_before: float = 0.0

    def repair(self) -> bool:
        """Repair all drift in one transaction; return whether anything was changed."""
        machine = self.keeper.machine
        if machine.monotonic() < self._not_before:
            return False
        try:
            changed = self._transact()
        except DamonPolicyError as error:
            self.trouble = tell("repair", str(error), self.trouble)
            self._not_before = machine.monotonic() + _AFTER_FAILURE
            return False
        self.trouble = ""
        if changed:
            self.repairs += 1
            self._not_before = machine.monotonic() + self.again
        return changed

    def _transact(self) -> bool:
        machine = self.keeper.machine
        with self.keeper.changing() as session:
            managed = session.managed
            current = retrieve(machine, managed.settings)
            late = repairable(machine, current, managed, self.keeper.owner)
            if not late:
                return False
            terms = Terms("repair of drift", follows=True)
            plan = self.keeper.bring(session, managed.policies, late, terms)
        if plan is not None:
            log.info("repaired", policies=late, operations=len(plan.operations))
        return plan is not None


def repairable(machine: Machine, current: Current, managed: Managed, owner: str) -> list[str]:
    """Return an owner's drifted policies that ask for repair, and can be repaired."""
    changed = {
        user
        for each in settings(current, managed)
        if each.drifted and current.settings.get(each.path) is not None
        for user in each.users
    }
    return [
        name
        for name, policy in managed.policies.items()
        if policy.repairs
        and policy.owner == owner
        and not any(_replaced(current, managed, slot) for slot in _slots(managed, policy))
        and (
            name in changed
            or any(
                drift_of(current, slot, record) and not ended(machine, current, slot, record)
                for slot, record in _slots(managed, policy).items()
            )
        )
    ]


def _slots(managed: Managed, policy: CompiledPolicy) -> dict[int, SlotRecord]:
    names = {each.full_name for each in policy.kdamonds}
    return {slot: record for slot, record in managed.slots.items() if record.kdamond in names}


def _replaced(current: Current, managed: Managed, slot: int) -> bool:
    """Return whether a slot of ours is someone else's now."""
    return slot in current.slots and current.owner(slot, managed) == "foreign"


def ended(machine: Machine, current: Current, slot: int, record: SlotRecord) -> bool:
    """Return whether a kdamond has ended by itself, with its last process.

    That is not drift if a service follows processes: the next process starts it again.
    """
    lives = (starts(machine, pid) == start for pid, start in record.members)
    return bool(record.members) and not current.running(slot) and not any(lives)
