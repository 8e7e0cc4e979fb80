"""The service's state, as other commands read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from damonpolicy.base import typed
from damonpolicy.base.diagnostics import as_text
from damonpolicy.base.errors import DamonPolicyError
from damonpolicy.base.lazy import dataclass
from damonpolicy.engine.state_directory import Places, damaged, read_json
from damonpolicy.kernel.system.host import starts
from damonpolicy.kernel.system.machine import LiveMachine, Machine

__all__ = ("beside", "served", "troubles")


@dataclass(frozen=True, slots=True)
class _Reload:
    """The result of the last reload."""

    result: str
    at: float
    digest: str
    message: str
    findings: str


@dataclass(frozen=True, slots=True)
class _File:
    """A file that drifted."""

    where: str
    path: str
    committed: str
    found: str
    said: str = field(default="", metadata=typed.LATER)
    gone: bool = field(default=False, metadata=typed.LATER)


@dataclass(frozen=True, slots=True)
class _Drift:
    """Drift that the service saw."""

    files: int
    first: tuple[_File, ...]
    repairs: int
    cannot_repair: str


@dataclass(frozen=True, slots=True)
class _Job:
    """A job that has failed."""

    failures: int
    trouble: str


@dataclass(frozen=True, slots=True)
class _Waiting:
    """Processes that are not followed yet."""

    kdamond: str
    pids: tuple[int, ...]
    more: int
    why: str


@dataclass(frozen=True, slots=True)
class _Goal:
    """The progress of a goal."""

    current: int | None
    score: int | None
    why: str | None


@dataclass(frozen=True, slots=True)
class _Scheme:
    """The progress of a scheme's goals, and the direction of its quota."""

    goals: tuple[_Goal, ...]
    score: int | None
    trend: str | None


_SAID: Mapping[str, Any] = {
    "pid": int,
    "start": int,
    "paths": tuple[str, ...],
    "reload": _Reload | None,
    "held": tuple[str, ...],
    "jobs": Mapping[str, _Job],
    "following": str,
    "not_followed": tuple[_Waiting, ...],
    "feeds": Mapping[str, str],
    "loops": Mapping[str, str],
    "observing": str,
    "drift": _Drift,
    "asked": tuple[str, ...],
    "unasked": tuple[str, ...],
    "schemes": Mapping[str, _Scheme],
}
"""The part that commands show; a service of another version may write more."""
_LATER: Mapping[str, Any] = {
    "held": [], "jobs": {}, "not_followed": [], "asked": [], "unasked": [],
}  # fmt: skip
"""Fields that an older service does not write."""


def served(machine: Machine, places: Places) -> dict[str, Any] | None:
    """Return a service's own record, and whether it is ``running``; None without a record."""
    found = read_json(places.service)
    if found is None:
        return None
    try:
        for name, hint in _SAID.items():
            typed.value(hint, found.get(name, _LATER.get(name)), f"`{name}`")
    except ValueError as error:
        raise damaged(places.service, error) from error
    # the service is a process of this machine's, also where the kernel is emulated
    ours = LiveMachine()
    running = found["start"] in (0, starts(ours, found["pid"])) or not machine.here
    return {**found, "running": running and ours.exists(f"/proc/{found['pid']}")}


def troubles(service: Mapping[str, Any]) -> list[str]:
    """Return the troubles that a service reports about itself."""
    where = ", ".join(service["paths"])
    if not service["running"]:
        return [f"the service of {where} has ended unexpectedly (pid {service['pid']})"]
    last, found = service["reload"], []
    if last is not None and last["result"] not in ("applied", "unchanged"):
        why = f": {last['message']}" if last["message"] else ""
        found.append(f"the service's last reload of {where} ended as {last['result']}{why}")
    for what, key in (("follow processes", "following"), ("look at the machine", "observing")):
        if service[key]:
            found.append(f"the service cannot {what}: {service[key]}")
    found += [f"the service does not feed {goal}: {why}" for goal, why in service["feeds"].items()]
    return found + [
        f"the loop {loop} stands still: {why}" for loop, why in service["loops"].items()
    ]


def beside(machine: Machine, places: Places) -> str:
    """Return a note for commands that end or change a service's policies; empty if none runs."""
    try:
        service = served(machine, places)
    except DamonPolicyError:  # the change is done already: `status` gives the reason
        return ""
    if service is None or not service["running"]:
        return ""
    what = (
        "applies its files again at their next edit, its next reload or start; until then these"
        " policies are yours: `damonpolicy remove NAME` ends one, the removal of a file does not"
    )
    where = ", ".join(service["paths"])
    return as_text([f"note: the service of {where} (pid {service['pid']}) {what}"])
