"""Fault-tolerant reader of damonpolicy's stored state, for commands that only look."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from damonpolicy.base.diagnostics import Diagnostic
from damonpolicy.base.errors import DamonPolicyError, NoPermission
from damonpolicy.engine import journal
from damonpolicy.engine.state_directory import Places
from damonpolicy.engine.store import Generation, Store
from damonpolicy.plan.state import Managed

__all__ = ("CONFIRM", "Remembered", "overdue", "unfinished", "unsettled", "warning")

Found = TypeVar("Found")

_STATE = (
    "move it away: what runs counts as someone else's then, `damonpolicy apply` of the same policies"
    " takes it over, and the earlier values of settings are lost"
)
_GENERATION = "nothing that runs needs it, but `damonpolicy rollback` cannot go back to it"
_CONFIRMED = (
    "move it away: the next change writes it again, and nothing comes back at boot until then"
)
_JOURNAL = "move it away, and see with `damonpolicy status` what the transaction left behind"
CONFIRM = "`damonpolicy confirm` keeps it, `damonpolicy rollback` ends it"
_SERVICE = "move it away, and restart the service: it writes it again"


class Remembered:
    """A store like `Store`, in which unreadable files count as missing.

    ``found`` collects a warning for each file that could not be read.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._said: dict[str, Diagnostic] = {}
        self.unknown = False
        """Whether it is unknown what is ours."""

    @property
    def places(self) -> Places:
        """The places of the state."""
        return self._store.places

    @property
    def found(self) -> list[Diagnostic]:
        """One warning for each file that could not be read."""
        return list(self._said.values())

    def managed(self, boot_id: str) -> Managed:
        """Return the managed set; empty if that is ``unknown``."""
        found = self._read(lambda: self._store.managed(boot_id), _STATE)
        self.unknown = found is None
        return found or Managed(boot_id)

    def numbers(self) -> list[int]:
        """Return the numbers of all generations."""
        return self._read(self._store.numbers, _GENERATION) or []

    def generation(self, number: int) -> Generation | None:
        """Return one generation, None if its file cannot be read."""
        return self._read(lambda: self._store.generation(number), _GENERATION)

    def confirmed(self) -> int:
        """Return the generation that is restored at boot, 0 for none."""
        return self._read(self._store.confirmed, _CONFIRMED) or 0

    def waiting(self) -> bool:
        """Return whether a confirmed generation has policies that a boot would restore."""
        number = self.confirmed()
        generation = self.generation(number) if number else None
        return generation is not None and bool(generation.policies)

    def interrupted(self) -> bool:
        """Return whether there is a journal of a transaction that has to be ended."""
        return self._read(lambda: journal.read(self.places.journal), _JOURNAL) is not None

    def service(self, read: Callable[[], Found]) -> Found | None:
        """Return the service's own record, parsed by ``read``."""
        return self._read(read, _SERVICE)

    def _read(self, read: Callable[[], Found], hint: str) -> Found | None:
        try:
            return read()
        except DamonPolicyError as error:
            told = error.hint if isinstance(error, NoPermission) else hint
            self._said[error.message] = Diagnostic.warning("DP0660", None, error.message, hint=told)
            return None


def overdue(managed: Managed, now: float) -> str:
    """Return the warning for a change past its deadline that was not rolled back, if any."""
    if not managed.overdue(now):
        return ""
    return f"generation {managed.generation} was not confirmed in time, and is still there"


def unfinished(store: Remembered, managed: Managed, now: float) -> list[Diagnostic]:
    """Warn of unfinished work: a change past its deadline, or a transaction."""
    found = []
    if late := overdue(managed, now):
        found.append(warning("DP0661", late, "`damonpolicy recover` rolls it back"))
    if store.interrupted():
        what = "a transaction was interrupted"
        found.append(warning("DP0612", what, "`damonpolicy recover` ends it"))
    return found


def unsettled(store: Remembered, managed: Managed, now: float) -> list[Diagnostic]:
    """Warn of unfinished work, and of an unconfirmed change."""
    found = unfinished(store, managed, now)
    if managed.pending is not None and not overdue(managed, now):
        what = f"generation {managed.generation} waits to be confirmed"
        found.insert(0, warning("DP0613", what, CONFIRM))
    return found


def warning(code: str, message: str, hint: str) -> Diagnostic:
    """Return a warning about the stored state, which has no place in a text."""
    return Diagnostic.warning(code, None, message, hint=hint)
