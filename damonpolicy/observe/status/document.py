"""Status: what runs, who owns it, and the drift from the last commit."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import asdict
from typing import Any

from damonpolicy.base.errors import DamonPolicyError
from damonpolicy.base.lazy import dataclass
from damonpolicy.kernel.damon.tree import Tree, cgroup_paths, configuration, differing
from damonpolicy.kernel.damon.view import Kdamond
from damonpolicy.kernel.system.cgroups import MOUNT
from damonpolicy.kernel.system.machine import Machine
from damonpolicy.observe.status.schemes import schemes
from damonpolicy.plan.facts import Accesses, Target, accesses, targets
from damonpolicy.plan.ir import CompiledKdamond
from damonpolicy.plan.machine_state import Current, Owner
from damonpolicy.plan.missing import cgroups_of_filters
from damonpolicy.plan.state import Managed, SlotRecord

__all__ = (
    "Drift",
    "KdamondStatus",
    "Lacking",
    "SettingStatus",
    "drift",
    "drift_of",
    "kdamonds",
    "lacking",
    "settings",
)


@dataclass(frozen=True, slots=True)
class KdamondStatus:
    """One slot."""

    slot: int
    name: str
    owner: Owner
    state: str
    pid: int | None
    ops: str
    accesses: Accesses
    paused: bool
    targets: tuple[Target, ...]
    schemes: tuple[dict[str, Any], ...]
    drifted_files: int

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {**asdict(self), "name": self.name or None}


@dataclass(frozen=True, slots=True)
class SettingStatus:
    """One setting of ours."""

    path: str
    value: str
    written: str
    original: str
    users: tuple[str, ...]

    @property
    def drifted(self) -> bool:
        """Whether someone else has changed it since."""
        from damonpolicy.kernel.settings import normalise

        return normalise(self.value) != normalise(self.written)


@dataclass(frozen=True, slots=True)
class Drift:
    """One difference: what we committed, and what the machine holds."""

    where: str
    path: str
    committed: str
    found: str
    said: str = ""
    """The meaning, if it is not a value of a file."""
    gone: bool = False
    """Whether nothing exists now that could be committed."""

    @property
    def words(self) -> str:
        """Describe the difference."""
        return self.said or f"{self.path}: committed `{self.committed}`, found `{self.found}`"


@dataclass(frozen=True, slots=True)
class Lacking:
    """What a kdamond lacks for now: its wait, or missing cgroups whose filters are left out."""

    kdamond: str
    waits_for: str = ""
    left_out: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def kdamonds(
    current: Current,
    managed: Managed,
    *,
    asked: Collection[str] = (),
    free: int | None = None,
) -> list[KdamondStatus]:
    """Return every slot that is not empty.

    ``asked`` names the kdamonds whose numbers were just requested; ``free`` memory, in parts of
    1000, decides which sleep by watermarks.
    """
    found = []
    for slot in current.slots:
        owner = current.owner(slot, managed)
        if owner == "free":
            continue
        tree = current.slot(slot)
        files = Kdamond(tree)
        record = managed.slots.get(slot) if owner == "ours" else None
        known = files.refresh.text != "0" or (record is not None and record.kdamond in asked)
        found.append(
            KdamondStatus(
                slot=slot,
                name=record.kdamond if record else "",
                owner=owner,
                state=files.state.text,
                pid=pid if (pid := current.pid(slot)) > 0 else None,
                ops=tree.get(files.ops.path, ""),
                accesses=accesses(tree),
                paused=files.paused.yes,
                targets=targets(tree),
                schemes=tuple(
                    schemes(files, record.names if record else {}, asked=known, free=free)
                ),
                drifted_files=len(differing(tree, record.files)) if record else 0,
            )
        )
    return found


def settings(current: Current, managed: Managed) -> list[SettingStatus]:
    """Return every setting of ours."""
    return [
        SettingStatus(
            path, current.settings.get(path) or "", record.written, record.original, record.users
        )
        for path, record in managed.settings.items()
    ]


def lacking(machine: Machine, managed: Managed, running: Collection[str]) -> list[Lacking]:
    """Return our kdamonds that lack something for now; ``running`` are those in slots."""
    found = []
    for policy in managed.policies.values():
        for kdamond in policy.kdamonds:
            name, served = kdamond.full_name, policy.owner != "hand"
            if name in running:
                left_out = cgroups_of_filters(kdamond, machine) if served else ()
                if left_out:
                    found.append(Lacking(name, left_out=tuple(left_out)))
            else:
                found.append(Lacking(name, _awaited(kdamond, machine, served=served)))
    return found


def _awaited(kdamond: CompiledKdamond, machine: Machine, *, served: bool) -> str:
    """Describe what a stopped kdamond waits for."""
    from damonpolicy.plan.bind import Waits, bind

    try:
        bound = bind(kdamond, machine, waits=served)
    except DamonPolicyError as error:  # it could run when it was applied
        return f"this to be mended: {error.message}"
    if isinstance(bound, Waits):
        return bound.what
    return "the service" if served else "`damonpolicy apply`: what it lacked is there"


def drift(
    current: Current,
    managed: Managed,
    *,
    without: Collection[int] = (),
    followed: Collection[int] = (),
) -> list[Drift]:
    """Return the differences between the machine and the last verified commits, both ways.

    Some slots may be left out; in ``followed`` ones, the service follows cgroups.

    Files show what is staged; a difference means that someone has staged something since, that a
    kdamond has ended, or that a setting was changed.
    """
    found = [
        each
        for slot, record in managed.slots.items()
        if slot not in without
        for each in drift_of(current, slot, record, cgroups=slot not in followed)
    ]
    for each in settings(current, managed):
        if each.drifted:
            found.append(Drift("settings", each.path, each.written, each.value))
    return found


def drift_of(
    current: Current, slot: int, record: SlotRecord, *, cgroups: bool = True
) -> list[Drift]:
    """Return the differences between one kdamond of ours and its last verified commit."""
    where = f"{record.kdamond} (slot {slot})"
    if slot not in current.slots:
        return [Drift(where, "", "a kdamond", "no such slot")]
    found: list[Drift] = []
    tree = current.slot(slot)
    same = (current.pid(slot), current.starts.get(slot, 0)) == (record.pid, record.start)
    if not current.running(slot):
        found.append(Drift(where, Kdamond().state.path, "on", "off"))
    elif not same:
        found.append(Drift(where, Kdamond().pid.path, str(record.pid), str(current.pid(slot))))
    missing = record.files.keys() - tree.keys()
    for path in sorted({*differing(tree, record.files), *missing}):
        found.append(Drift(where, path, record.files[path], tree.get(path, "no such file")))
    for path in sorted(set(configuration(tree)) - set(record.files)):
        found.append(Drift(where, path, "no such file", tree[path]))
    return [*found, *(_other_cgroups(current, where, tree, record) if cgroups else ())]


def _other_cgroups(current: Current, where: str, tree: Tree, record: SlotRecord) -> Iterator[Drift]:
    """Yield named cgroups that are not the committed ones."""
    for path in sorted(cgroup_paths(tree) & cgroup_paths(record.files)):
        before, now = record.cgroups.get(path, 0), current.cgroups.get(path)
        committed, place = f"inode {before}", f"{MOUNT}{path}"
        if now is None:
            said = f"the cgroup `{path}` is gone"
            yield Drift(where, place, committed, "no such cgroup", said, gone=True)
        elif now and before and now != before:
            said = f"the cgroup `{path}` was made again since: what was committed is gone"
            yield Drift(where, place, committed, f"inode {now}", said)
