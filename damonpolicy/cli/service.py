"""The service's state, as other commands read it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from damonpolicy.base.diagnostics import as_text
from damonpolicy.base.errors import DamonPolicyError
from damonpolicy.engine.state_directory import Places, damaged, read_json
from damonpolicy.kernel.system.host import starts
from damonpolicy.kernel.system.machine import LiveMachine, Machine

__all__ = ("beside", "served", "troubles")


def served(machine: Machine, places: Places) -> dict[str, Any] | None:
    """Return a service's own record, and whether it is ``running``; None without a record."""
    found = read_json(places.service)
    if found is None:
        return None
    from damonpolicy.daemon.record import check

    try:
        check(found)
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
