"""After a crash: finish or undo what the journal tells of. Needs no wheel, only Python.

``python -I -S -c "import sys; sys.path.insert(0, DIR); from damonpolicy.engine.recover import
main; main()"`` is how the guard and the units call it, where DIR holds the package.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from damonpolicy.engine import journal
from damonpolicy.engine.store import Store
from damonpolicy.engine.transaction import finish
from damonpolicy.engine.undo import put_right, undo
from damonpolicy.errors import DamonPolicyError, RollbackIncomplete
from damonpolicy.kernel.host import look
from damonpolicy.kernel.sysfs import Machine

__all__ = ("main", "recover")


def recover(machine: Machine, store: Store) -> list[str]:
    """Bring an interrupted transaction to its end; returns what was done, for the user.

    The caller holds the lock. Raises RollbackIncomplete where something is neither as it was
    nor as it was to be; the journal stays then.
    """
    path = store.places.journal
    found = journal.read(path)
    if found is None:
        return []
    header, intents = found
    boot_id = look(machine).boot_id
    if header.boot_id != boot_id:
        path.rename(path.with_name(f"journal.{header.boot_id}"))
        return ["a journal of an earlier boot was put aside: its kernel is gone"]
    managed = store.managed(boot_id)
    if managed.transaction == header.transaction:
        finish(store, managed)
        path.unlink(missing_ok=True)
        return [f"generation {header.generation} was complete: only its journal was left"]
    undone = undo(machine, header, intents)
    if undone.restarted:
        store.save(put_right(managed, undone))
    if undone.problems:
        message = "not everything could be put back: " + "; ".join(undone.problems[:6])
        hint = f"the journal stays at `{path}`; run `damonpolicy recover` when that is mended"
        raise RollbackIncomplete(message, hint=hint)
    store.drop_generation(header.generation)
    path.unlink(missing_ok=True)
    return [
        f"generation {header.generation} was interrupted: everything is as it was before",
        *undone.remarks,
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Recover, roll back an unconfirmed change, or stop everything; without click."""
    from damonpolicy.engine import rescue

    parser = argparse.ArgumentParser(
        prog="python -m damonpolicy.engine.recover",
        description="Bring damonpolicy's last transaction to its end, with Python alone.",
    )
    parser.add_argument("--kernel", default="live", help="live or emulated:VERSION")
    parser.add_argument("--machine", type=Path, help="description of the emulated machine")
    parser.add_argument("--state-dir", type=Path)
    parser.add_argument("--stop-all", action="store_true", help="stop all that is ours")
    parser.add_argument(
        "--guard", type=int, metavar="GENERATION", help="roll back unless it is confirmed in time"
    )
    parser.add_argument("--deadline", type=float, default=0.0, help="seconds since boot")
    options = parser.parse_args(arguments)
    try:
        for line in rescue.run(options):
            print(line, file=sys.stderr)
    except DamonPolicyError as error:
        print(f"error[{error.code}]: {error.message}", file=sys.stderr)
        if error.hint:
            print(f"  hint: {error.hint}", file=sys.stderr)
        sys.exit(int(error.exit_code))


if __name__ == "__main__":
    main()
