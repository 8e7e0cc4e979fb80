"""Opening of the machine that ``--kernel`` names."""

from __future__ import annotations

import os
from pathlib import Path

from damonpolicy.base.errors import UsageError
from damonpolicy.engine.state_directory import emulated_directory
from damonpolicy.kernel.damon.features import NEWEST
from damonpolicy.kernel.system.machine import LiveMachine, Machine

__all__ = ("description_of", "open_machine")


def description_of(kernel: str, named: Path | None) -> Path | None:
    """Return the machine file: the ``named`` one, or $DAMONPOLICY_MACHINE.

    The variable does not apply to the live machine.
    """
    usual = os.environ.get("DAMONPOLICY_MACHINE")
    return Path(usual) if named is None and usual and kernel != "live" else named


def open_machine(
    kernel: str,
    state_dir: Path | None = None,
    description: Path | None = None,
    *,
    kept: bool = True,
) -> Machine:
    """Return the machine that ``--kernel`` names.

    Unless ``kept``, an emulated machine is new, and gone with the process.

    Raises UsageError for a kernel that is neither ``live`` nor ``emulated:VERSION``.
    """
    if kernel == "live":
        if description is not None:
            hint = f"add `--kernel emulated:{NEWEST}`"
            raise UsageError("`--machine` describes an emulated machine", hint=hint)
        return LiveMachine()
    kind, _, version = kernel.partition(":")
    if kind != "emulated" or not version:
        message = f"`{kernel}` is not a kernel"
        raise UsageError(message, hint=f"write `live`, or for example `emulated:{NEWEST}`")
    # The live kernel needs no module of the emulated one.
    from damonpolicy.emulated.machine import EmulatedMachine, open_emulated
    from damonpolicy.emulated.spec import load

    if not kept:
        spec = None if description is None else load(description)
        return EmulatedMachine.create(version, spec=spec)
    base = emulated_directory(kernel, state_dir)
    return open_emulated(version, base / "machine", description)
