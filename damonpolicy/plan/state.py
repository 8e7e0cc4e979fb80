"""The managed set of this boot: the content of the state file, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from damonpolicy.base import typed
from damonpolicy.base.lazy import dataclass
from damonpolicy.kernel.damon.tree import check_numbers
from damonpolicy.plan.ir import CompiledPolicy, Member

__all__ = ("Managed", "Pending", "SettingRecord", "SlotRecord", "agree")

FORMAT = 1


def agree(policies: Mapping[str, CompiledPolicy]) -> None:
    """Raise ValueError if a policy is kept under a name other than its own, or is not a policy."""
    for name, policy in policies.items():
        if policy.name != name:
            raise ValueError(f"the policy `{name}` is called `{policy.name}`")
        for kdamond in policy.kdamonds:
            kdamond.check()


@dataclass(frozen=True, slots=True)
class SlotRecord:
    """A kdamond of ours: its last verified commit, and the kernel thread that runs it.

    ``members`` and ``cgroups`` are what the names in ``files`` meant then: the kernel looks pids
    and paths up once. The meaning of a path that is not in ``cgroups`` is unknown.
    """

    kdamond: str
    files: Mapping[str, str]
    pid: int
    start: int
    members: tuple[Member, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)
    cgroups: Mapping[str, int] = field(default_factory=dict, metadata=typed.LATER)

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "kdamond": self.kdamond,
            "files": dict(self.files),
            "pid": self.pid,
            "start": self.start,
            "members": [list(member) for member in self.members],
            "names": dict(self.names),
            "cgroups": dict(self.cgroups),
        }

    def __post_init__(self) -> None:
        check_numbers(self.files)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> SlotRecord:
        """Read what `to_json` gave."""
        return typed.record(cls, data, "a slot")


@dataclass(frozen=True, slots=True)
class SettingRecord:
    """A setting of ours: the earlier content, our content, and the policies that want it.

    ``chosen`` marks a value that the kernel wrote; without users it is still to be restored.
    """

    original: str
    written: str
    users: tuple[str, ...]
    chosen: bool = False

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "original": self.original,
            "written": self.written,
            "users": list(self.users),
            "chosen": self.chosen,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> SettingRecord:
        """Read what `to_json` gave."""
        return typed.record(cls, data, "a setting")


@dataclass(frozen=True, slots=True)
class Pending:
    """An unconfirmed change: its deadline on the machine's clock, and the earlier set.

    ``policies`` are those of the previous generation: a rollback must need no other file.
    """

    deadline: float
    previous: int
    policies: Mapping[str, CompiledPolicy] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "deadline": self.deadline,
            "previous": self.previous,
            "policies": {name: each.to_json() for name, each in self.policies.items()},
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Pending:
        """Read what `to_json` gave."""
        return typed.record(cls, data, "what waits")

    def __post_init__(self) -> None:
        agree(self.policies)


@dataclass(frozen=True, slots=True)
class Managed:
    """Everything that is ours; ``slots_before`` is the number of slots before ours."""

    boot_id: str
    transaction: str = ""
    generation: int = 0
    policies: Mapping[str, CompiledPolicy] = field(default_factory=dict)
    slots: Mapping[int, SlotRecord] = field(default_factory=dict)
    settings: Mapping[str, SettingRecord] = field(default_factory=dict)
    slots_before: int | None = None
    pending: Pending | None = None

    def slot_of(self, kdamond: str) -> int | None:
        """Return the slot of a kdamond by its full name."""
        return next((slot for slot, each in self.slots.items() if each.kdamond == kdamond), None)

    def overdue(self, now: float) -> bool:
        """Return whether the deadline of an unconfirmed change has passed."""
        return self.pending is not None and now >= self.pending.deadline

    def to_json(self) -> dict[str, Any]:
        """Plain data; `from_json` reads it back."""
        return {
            "format": FORMAT,
            "boot_id": self.boot_id,
            "transaction": self.transaction,
            "generation": self.generation,
            "policies": {name: each.to_json() for name, each in self.policies.items()},
            "slots": {str(slot): each.to_json() for slot, each in self.slots.items()},
            "settings": {path: each.to_json() for path, each in self.settings.items()},
            "slots_before": self.slots_before,
            "pending": self.pending.to_json() if self.pending else None,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Managed:
        """Read what `to_json` gave; raises ValueError for anything else."""
        return typed.record(cls, typed.of_format(data, FORMAT), besides=("format",))

    def __post_init__(self) -> None:
        agree(self.policies)
