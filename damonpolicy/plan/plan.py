"""What a plan says: what happens to each kdamond and setting, and the operations in their order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Literal

from damonpolicy.base import typed
from damonpolicy.base.lazy import dataclass
from damonpolicy.kernel.damon.modules import module_of
from damonpolicy.kernel.damon.tree import Tree
from damonpolicy.kernel.operation import Operation
from damonpolicy.plan.ir import CompiledPolicy, Member
from damonpolicy.plan.settings import SettingPlan
from damonpolicy.plan.state import Managed

__all__ = ("Action", "KdamondPlan", "Plan")

Action = Literal["start", "change", "restart", "keep", "adopt", "stop", "wait"]


@dataclass(frozen=True, slots=True)
class KdamondPlan:
    """The plan of one kdamond; trees are those of its directory."""

    name: str
    slot: int
    action: Action
    before: Tree = field(default_factory=dict)
    after: Tree = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    names_before: Mapping[str, str] = field(default_factory=dict)
    members: tuple[Member, ...] = ()
    remarks: tuple[str, ...] = ()
    cgroups: Mapping[str, int] = field(default_factory=dict)
    """The cgroups that the paths in ``after`` mean, if known."""
    left_out: tuple[str, ...] = ()
    """Missing cgroups, whose filters are left out until they exist."""
    waits_for: str = ""

    @property
    def runs(self) -> bool:
        """Whether the kdamond runs afterwards."""
        return self.action in ("start", "change", "restart", "keep", "adopt")


@dataclass(frozen=True, slots=True)
class Plan(typed.Kept):
    """A complete transaction, before its first write."""

    FORMAT = 1

    machine: str
    release: str
    boot_id: str
    fingerprint: str
    policies: Mapping[str, CompiledPolicy]
    kdamonds: tuple[KdamondPlan, ...]
    settings: tuple[SettingPlan, ...]
    operations: tuple[Operation, ...]
    slots_before: int | None
    affected: tuple[str, ...] = ()
    """The policies that are applied now; others stay as they are."""
    takeover: bool = False
    remarks: tuple[str, ...] = ()

    def about(self, operation: Operation) -> tuple[tuple[str, str], ...]:
        """Return the parts of policies that require an operation, best first."""
        if operation.slot >= 0:
            parts = operation.relative.split("/")[1:]
            named = ["/".join(parts[:count]) for count in range(len(parts), -1, -1)]
            return tuple(
                (each.name, part)
                for each in self.kdamonds
                if each.slot == operation.slot
                for part in named
            )
        module = module_of(operation.path)
        users = [
            (user, each.path)
            for each in self.settings
            if each.path == operation.path or (module and module == module_of(each.path))
            for user in each.users
        ]
        users.sort(key=lambda each: each[1] != operation.path)
        whole = [(user, "modules") for user, _ in users] or [
            (name, "kdamonds") for name in self.affected if operation.kind == "count"
        ]
        return (*users, *whole)

    def changes(self, managed: Managed) -> bool:
        """Whether anything changes: on the machine, or in the managed set."""
        return bool(self.operations) or self.records(managed)

    def records(self, managed: Managed) -> bool:
        """Whether the managed set changes: policies, their kdamonds' slots, settings' users."""
        slots = {each.kdamond: slot for slot, each in managed.slots.items()}
        kept = {each.name: each.slot for each in self.kdamonds if each.runs}
        users = {each.path: each.users for each in self.settings if each.users or each.owed}
        before = {path: each.users for path, each in managed.settings.items()}
        return dict(self.policies) != dict(managed.policies) or kept != slots or users != before
