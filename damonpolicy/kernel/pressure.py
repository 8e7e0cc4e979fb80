"""Pressure stall information."""

from __future__ import annotations

from damonpolicy.kernel.sysfs import Machine

__all__ = ("has_pressure",)


def has_pressure(machine: Machine) -> bool:
    """Tell whether the kernel measures memory pressure; else a PSI goal reads 0 for ever."""
    try:
        return "some" in machine.read("/proc/pressure/memory")
    except OSError:
        return False
