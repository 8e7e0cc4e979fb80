"""Pressure stall information."""

from __future__ import annotations

from damonpolicy.kernel.system.machine import Machine

__all__ = ("has_pressure",)


def has_pressure(machine: Machine) -> bool:
    """Return whether the kernel measures memory pressure; otherwise a PSI goal always reads 0."""
    try:
        return "some" in machine.read("/proc/pressure/memory")
    except OSError:
        return False
