"""After a crash: finish or undo what the journal tells of."""

from __future__ import annotations

from damonpolicy.engine import journal
from damonpolicy.engine.store import Store
from damonpolicy.engine.transaction import finish
from damonpolicy.engine.undo import undo
from damonpolicy.engine.undone import put_right
from damonpolicy.errors import RollbackIncomplete
from damonpolicy.kernel.host import look
from damonpolicy.kernel.sysfs import Machine

__all__ = ("settle",)


def settle(machine: Machine, store: Store, *, overwrite: bool = False) -> list[str]:
    """Bring an interrupted transaction to its end; returns what was done, for the user.

    The caller holds the lock. Raises RollbackIncomplete where something is neither as it was
    nor as it was to be; the journal stays then. With ``overwrite`` that is put back, too.
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
    undone = undo(machine, header, intents, managed, overwrite=overwrite)
    if undone.moved:
        store.save(put_right(managed, undone))
    if undone.problems:
        message = "not everything could be put back: " + "; ".join(undone.problems[:6])
        hint = f"the journal stays at `{path}`; mend that and run `damonpolicy recover`"
        if undone.theirs and not overwrite:
            hint += ", or have it put back with `damonpolicy recover --overwrite`"
        raise RollbackIncomplete(message, hint=hint)
    if header.generation != managed.generation:
        store.drop_generation(header.generation)
    path.unlink(missing_ok=True)
    return [
        f"generation {header.generation} was interrupted: everything is as it was before",
        *undone.remarks,
    ]
