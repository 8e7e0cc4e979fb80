"""Compiled policies: files of a kdamond's directory, and names to look up later.

Plain data and the standard library only, so that a generation can be applied again by a
process that has neither the policy language nor its libraries.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field
from typing import Any, Literal

from damonpolicy.base import typed
from damonpolicy.base.lazy import dataclass
from damonpolicy.kernel.damon.tree import check_numbers
from damonpolicy.kernel.damon.view import Filter, Kdamond
from damonpolicy.kernel.system.processes import Selector

__all__ = (
    "CompiledKdamond",
    "CompiledPolicy",
    "Feed",
    "FilterLine",
    "Loop",
    "Member",
    "TargetLine",
    "by_name",
)

Member = tuple[int, int]
"""A process, identified by its pid and its start time in clock ticks since boot."""

_INSIDE = r"contexts/[a-z0-9_]+(/[a-z0-9_]+)*\Z"


@dataclass(frozen=True, slots=True)
class TargetLine:
    """One entry of ``targets:``: RAM, a node's RAM, regions, or a process selector."""

    system_ram: bool = False
    node: int = -1
    selector: Selector | None = None
    regions: tuple[tuple[int, int], ...] = ()
    """Bytes: the first, and one past the last."""


@dataclass(frozen=True, slots=True)
class FilterLine:
    """One filter; with ``subtree``, it stands for one filter per cgroup below its path.

    ``files`` are those of the filter's directory; ``path_file`` names the cgroup.
    """

    files: Mapping[str, str]
    subtree: bool = False
    path_file: str = Filter().memcg.path

    @property
    def path(self) -> str:
        """The cgroup, empty for none."""
        return self.files.get(self.path_file, "")

    @property
    def filter(self) -> Filter:
        """Its files."""
        return Filter(self.files)


@dataclass(frozen=True, slots=True)
class Feed:
    """A goal that the service feeds: its directory, source, and interval in microseconds."""

    goal: str
    source: Mapping[str, Any]
    every: int


@dataclass(frozen=True, slots=True)
class Loop:
    """A value that the service moves: a setting, or a file of a kdamond's directory.

    ``kdamond`` is the kdamond's name within its policy, empty for a setting; ``law`` and
    ``sources`` are read by `tuning.loops`; ``every`` is in microseconds.
    """

    name: str
    kdamond: str
    path: str
    law: Mapping[str, Any]
    sources: tuple[Mapping[str, Any], ...]
    every: int


@dataclass(frozen=True, slots=True)
class CompiledKdamond:
    """A kdamond's configuration.

    ``files`` maps paths below the kdamond's directory to contents; targets and filters
    are lists of their own, because processes and cgroups are looked up at each apply.
    ``names`` gives schemes and probes their names, by directory.
    """

    policy: str
    name: str
    files: Mapping[str, str]
    targets: tuple[TargetLine, ...]
    filters: Mapping[str, tuple[FilterLine, ...]] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    target_files: Mapping[str, str] = field(default_factory=dict)
    """The files of every target's directory besides its pid and regions."""
    wait: bool = False
    """Whether to wait for a process instead of failing."""
    commit: Literal["answered", "waits", "none"] = "answered"
    """How the kernel handles a commit: it ``waits`` while watermarks keep all schemes asleep."""
    uncommitted: tuple[str, ...] = field(default=(), metadata=typed.LATER)
    """The parts of a commit that the kernel may ignore, by the names of `plan.uncommitted`."""
    feeds: tuple[Feed, ...] = ()
    commit_every: int = 500_000
    """The least microseconds between two commits that follow the machine."""
    temperature: tuple[int, int, int] | None = field(default=None, metadata=typed.LATER)
    """The weights of size, access rate and age in reports' temperature."""

    def __post_init__(self) -> None:
        if not Kdamond(self.files).ops.present:
            raise ValueError(f"the kdamond `{self.name}` has no operation set")
        for path in self.files:
            if path != Kdamond().refresh.path and not re.match(_INSIDE, path):
                raise ValueError(f"`{path[:80]}` is not a file of a kdamond")

    def check(self) -> None:
        """Raise ValueError for content that no valid policy gives; a file may hold anything."""
        check_numbers(self.files)
        if self.ops != "paddr" and not any(each.selector for each in self.targets):
            raise ValueError(f"the kdamond `{self.name}` has no processes to monitor")

    @property
    def full_name(self) -> str:
        """``policy/kdamond``."""
        return f"{self.policy}/{self.name}"

    @property
    def ops(self) -> str:
        """The operation set."""
        return Kdamond(self.files).ops.text

    @property
    def pressed(self) -> bool:
        """Whether a goal on pressure tunes one of its quotas, which each commit disturbs."""
        goals = (goal for scheme in Kdamond(self.files).schemes for goal in scheme.quota.goals)
        return any(goal.metric.text == "some_mem_psi_us" for goal in goals)


@dataclass(frozen=True, slots=True)
class CompiledPolicy(typed.Kept):
    """A policy, as a generation keeps it.

    ``source`` and ``variables`` are its text and its overrides, for compiling it again on
    another kernel; ``settings`` maps absolute paths to contents; ``repairs``: the service brings
    back what someone else has changed; ``monitored``: kdamonds were given schemes that only look.
    """

    name: str
    owner: str
    kdamonds: tuple[CompiledKdamond, ...]
    settings: Mapping[str, str]
    source: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)
    loops: tuple[Loop, ...] = ()
    repairs: bool = field(default=False, metadata=typed.LATER)
    monitored: bool = field(default=False, metadata=typed.LATER)


def by_name(policies: Mapping[str, CompiledPolicy]) -> dict[str, CompiledKdamond]:
    """Return the kdamonds of policies, by their full names."""
    return {each.full_name: each for policy in policies.values() for each in policy.kdamonds}
