"""What commands know of the service beside them."""

from __future__ import annotations

from typing import Any

from damonpolicy.diagnostics import as_text
from damonpolicy.engine.places import Places, read_json
from damonpolicy.errors import DamonPolicyError
from damonpolicy.kernel.host import starts
from damonpolicy.kernel.sysfs import LiveMachine, Machine

__all__ = ("beside", "served")


def served(machine: Machine, places: Places) -> dict[str, Any] | None:
    """Return what a service says of itself, and whether it is ``running``; None where none does."""
    found = read_json(places.service)
    if found is None:
        return None
    # the service is a process of this machine's, also where the kernel is emulated
    here = LiveMachine()
    running = found["start"] in (0, starts(here, found["pid"])) or machine.name != "live"
    return {**found, "running": running and here.exists(f"/proc/{found['pid']}")}


def beside(machine: Machine, places: Places) -> str:
    """Return a note for who ends or changes what a service keeps, empty where none runs."""
    try:
        service = served(machine, places)
    except DamonPolicyError:  # the change that this note is about is done: `status` says why
        return ""
    if service is None or not service["running"]:
        return ""
    what = "applies its files again at their next edit, its next reload or start"
    where = ", ".join(service["paths"])
    return as_text([f"note: the service of {where} (pid {service['pid']}) {what}"])
