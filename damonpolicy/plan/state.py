"""The managed set of this boot: the content of the state file, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from damonpolicy.base import typed
from damonpolicy.base.lazy import dataclass
from damonpolicy.kernel.damon.tree import check_numbers
from damonpolicy.plan.ir import CompiledPolicy, Member

__all__ = ("Managed", "Pending", "SettingRecord", "SlotRecord", "agree")


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

    def __post_init__(self) -> None:
        check_numbers(self.files)

    @property
    def thread(self) -> tuple[int, int]:
        """Its pid and start time."""
        return self.pid, self.start


@dataclass(frozen=True, slots=True)
class SettingRecord:
    """A setting of ours: the earlier content, our content, and the policies that want it.

    ``chosen`` marks a value that the kernel wrote; without users it is still to be restored.
    """

    original: str
    written: str
    users: tuple[str, ...]
    chosen: bool = False


@dataclass(frozen=True, slots=True)
class Pending:
    """An unconfirmed change: its deadline on the machine's clock, and the earlier set.

    ``policies`` are those of the previous generation: a rollback must need no other file.
    """

    deadline: float
    previous: int
    policies: Mapping[str, CompiledPolicy] = field(default_factory=dict)

    def __post_init__(self) -> None:
        agree(self.policies)


@dataclass(frozen=True, slots=True)
class Managed(typed.Kept):
    """Everything that is ours; ``slots_before`` is the number of slots before ours."""

    FORMAT = 1

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

    def __post_init__(self) -> None:
        agree(self.policies)
