"""Finishing or undoing the transaction in the journal, also after a crash."""

from __future__ import annotations

from damonpolicy.base import log
from damonpolicy.base.errors import DamonPolicyError, RollbackIncomplete
from damonpolicy.engine import journal as journals
from damonpolicy.engine.journal import Header, Journal, Unwritten
from damonpolicy.engine.state_directory import forget
from damonpolicy.engine.store import Store
from damonpolicy.engine.undo import undo
from damonpolicy.engine.undo_context import put_right
from damonpolicy.kernel.system.host import look
from damonpolicy.kernel.system.machine import Machine
from damonpolicy.plan.state import Managed

__all__ = ("back", "settle")


def settle(machine: Machine, store: Store, *, overwrite: bool = False) -> list[str]:
    """End an interrupted transaction; returns what was done, for the user.

    The caller holds the lock. Raises RollbackIncomplete if anything has neither its old nor its new
    state; the journal stays then. With ``overwrite``, that is restored, too.
    """
    path = store.places.journal
    found = journals.read(path)
    if found is None:
        if path.exists():  # its transaction has ended, but the file could not be removed
            forget(path)
        return []
    header, progress, size = found
    if header.boot_id != look(machine).boot_id:
        return [_put_aside(store, header.boot_id)]
    journal = journals.reopen(path, header, progress, size)
    if not progress.undoing and _committed(store, header):
        store.copy()
        journal.end()
        return [f"generation {header.generation} was complete: only its journal was left"]
    remarks = back(machine, store, journal, overwrite=overwrite)
    if header.generation != header.managed.generation:
        store.unstage(header.generation)
    done = f"generation {header.generation} was interrupted: everything is as it was before"
    return [done, *remarks]


def _committed(store: Store, header: Header) -> bool:
    """Return whether a transaction has passed its commit point; if unknown, it has not."""
    try:
        return store.transaction() == header.transaction
    except DamonPolicyError:
        return False


def _put_aside(store: Store, boot_id: str) -> str:
    path = store.places.journal
    try:
        path.rename(path.with_name(f"journal.{boot_id}"))
    except OSError as error:  # the next one takes its place
        log.warning("journal", path=str(path), reason=error.strerror)
    return "a journal of an earlier boot was put aside: its kernel is gone"


def back(
    machine: Machine,
    store: Store,
    journal: Unwritten,
    *,
    overwrite: bool = False,
    because: str = "",
) -> list[str]:
    """Undo a transaction and end its journal; returns what that lost, for the user.

    ``because`` is the failure, as the beginning of a sentence. Raises RollbackIncomplete if
    anything could not be restored: the journal stays, and the next command continues with it.
    """
    journal.note({"undo": True}, must=False)  # whatever the state file says
    undone = undo(machine, journal, overwrite=overwrite)
    problems = [*undone.problems]
    try:
        _say_so(store, put_right(journal.header.managed, undone))
    except (DamonPolicyError, OSError) as error:
        problems.append(f"{error}")
    if problems:
        journal.leave()
        message = f"{because}not everything could be put back: {'; '.join(problems[:4])}"
        if isinstance(journal, Journal):
            hint = (
                f"the journal stays at `{journal.path}`; check with `damonpolicy status`, mend that"
                " and run `damonpolicy recover`"
            )
            if undone.theirs and not overwrite:
                hint += ", or have it put back with `damonpolicy recover --overwrite`"
        else:
            hint = (
                "no journal could be kept, so `damonpolicy recover` knows nothing of it: look with"
                " `damonpolicy status`, fix that and give the same command again"
            )
        raise RollbackIncomplete(message, hint=hint)
    store.unreserve()
    journal.end()
    return undone.remarks


def _say_so(store: Store, managed: Managed) -> None:
    """Write the managed set after an undo to the state file, unless it is there already."""
    try:
        known = store.managed(managed.boot_id) == managed
    except DamonPolicyError:
        known = False
    if not known:
        store.save(managed)
