"""Recovery, the confirm guard, and ``--stop-all``, with Python's standard library alone.

``python -I -S -c "import sys; sys.path.insert(0, DIR); from damonpolicy.engine.recover import
main; main()"`` is the guard's and the units' call, where DIR contains the package.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from damonpolicy.base.diagnostics import as_text
from damonpolicy.base.errors import DamonPolicyError, ExitCode, LockHeld, reason_of
from damonpolicy.engine.lock import SERVICE, exclusive
from damonpolicy.engine.machines import description_of, open_machine
from damonpolicy.engine.neutral import neutralise
from damonpolicy.engine.session import Session, changing
from damonpolicy.engine.state_directory import Places, find
from damonpolicy.engine.store import Store
from damonpolicy.kernel.system.host import look
from damonpolicy.kernel.system.machine import Machine

__all__ = ("main", "run")

_LONGEST_PAUSE = 60.0
"""Seconds between two tries of a guard to roll back."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Recover, roll back an unconfirmed change, or stop everything, without click."""
    parser = argparse.ArgumentParser(
        prog="python -m damonpolicy.engine.recover",
        description="Bring damonpolicy's last transaction to its end, with Python alone.",
    )
    usual = os.environ.get("DAMONPOLICY_KERNEL") or "live"
    parser.add_argument("--kernel", default=usual, help="live or emulated:VERSION")
    parser.add_argument("--machine", type=Path, help="description of the emulated machine")
    parser.add_argument("--state-dir", type=Path)
    parser.add_argument("--stop-all", action="store_true", help="stop all that is ours")
    parser.add_argument(
        "--neutral", action="store_true",
        help="unless a service runs, let goals that it fed count as reached",
    )  # fmt: skip
    parser.add_argument(
        "--overwrite", action="store_true", help="put back what someone else wrote, too"
    )
    parser.add_argument(
        "--guard", type=int, metavar="GENERATION", help="roll back unless it is confirmed in time"
    )
    parser.add_argument("--deadline", type=float, default=0.0, help="seconds since boot")
    options = parser.parse_args(arguments)
    try:
        _tell(run(options))
    except DamonPolicyError as error:
        hint = [f"  hint: {error.hint}"] if error.hint else []
        _tell([f"error[{error.code}]: {error.message}", *hint])
        sys.exit(int(error.exit_code))
    except OSError as error:
        where = f"`{error.filename}`: " if error.filename else ""
        _tell([f"error: {where}{reason_of(error)}"])
        sys.exit(int(ExitCode.FAILED))


def _tell(lines: Iterable[str]) -> None:
    print(as_text(lines), end="", file=sys.stderr)


def run(options: argparse.Namespace) -> list[str]:
    """Carry out the options of `main`; returns lines for the user."""
    description = description_of(options.kernel, options.machine)
    machine = open_machine(options.kernel, options.state_dir, description)
    places = find(machine, options.state_dir)
    if options.guard is not None:
        return _guard(machine, places, options.guard, options.deadline)
    with changing(machine, places, wait=True, settle=True, overwrite=options.overwrite) as session:
        lines = list(session.remarks)
        if options.neutral:
            return [*lines, *_neutral(session)]
        if options.stop_all:
            _, changed = session.stop_all()
            lines.append("everything is stopped" if changed else "nothing is running")
        return lines or ["nothing to recover"]


def _neutral(session: Session) -> list[str]:
    """Neutralise a service's goals, unless one runs, as it feeds them itself."""
    try:
        with exclusive(session.store.places.service_lock, wait=False, held=SERVICE):
            done = neutralise(session)
    except LockHeld as error:
        return [f"goals are left alone: {error.message}"]
    return [f"goals of {name} count as reached" for name in done] or ["no goal is fed"]


def _guard(machine: Machine, places: Places, generation: int, deadline: float) -> list[str]:
    """Wait for the deadline of a generation; the first to lock after it rolls back.

    The guard starts before the first write, so the generation may not exist yet.
    """
    store = Store(places)
    there, pause = places.run.exists(), 1.0
    while True:
        if there and not places.run.exists():  # there is nothing left to guard
            return [f"generation {generation} is gone with its state directory"]
        left = deadline - machine.monotonic()
        try:
            managed = store.managed(look(machine).boot_id)
            settled = managed.generation == generation and managed.pending is None
            if settled or managed.generation > generation:
                return [f"generation {generation} needs no guard any more"]
            if left <= 0:
                with changing(machine, places, wait=True) as session:
                    return session.remarks or [f"generation {generation} was settled in time"]
        except (DamonPolicyError, OSError) as error:
            # Nobody else may do it: a full disk or a busy kernel must not make the change stay.
            _tell([f"generation {generation}: {error}"])
            if left <= 0:
                pause = min(2 * pause, _LONGEST_PAUSE)
                left = pause
        time.sleep(min(left, pause))


if __name__ == "__main__":
    main()
