"""What damonpolicy remembers, as far as it can be read: commands that look show the rest."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from damonpolicy.diagnostics import Diagnostic
from damonpolicy.engine import journal
from damonpolicy.engine.places import Places
from damonpolicy.engine.store import Generation, Store
from damonpolicy.errors import DamonPolicyError, NoPermission
from damonpolicy.plan.managed import Managed

__all__ = ("Remembered", "overdue", "unfinished", "unsettled")

Found = TypeVar("Found")

_STATE = (
    "move it away: what runs counts as someone else's then, `damonpolicy apply` of the same policies"
    " takes it over, and what settings were before is lost"
)
_GENERATION = "nothing that runs needs it, but `damonpolicy rollback` cannot go back to it"
_CONFIRMED = (
    "move it away: the next change writes it again, and nothing comes back at boot till then"
)
_JOURNAL = "move it away, and see with `damonpolicy status` what the transaction left behind"
_SERVICE = "move it away, and restart the service: it writes it again"


class Remembered:
    """Reads a store as `Store` does, but what cannot be read counts as not there.

    ``found`` collects a warning for each file that could not be read.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._said: dict[str, Diagnostic] = {}
        self.unknown = False
        """Whether what is ours is unknown."""

    @property
    def places(self) -> Places:
        """Where it is kept."""
        return self._store.places

    @property
    def found(self) -> list[Diagnostic]:
        """One warning for each file that could not be read."""
        return list(self._said.values())

    def managed(self, boot_id: str) -> Managed:
        """Return what is managed; nothing where that is ``unknown``."""
        found = self._read(lambda: self._store.managed(boot_id), _STATE)
        self.unknown = found is None
        return found or Managed(boot_id)

    def numbers(self) -> list[int]:
        """Return the numbers of all generations."""
        return self._read(self._store.numbers, _GENERATION) or []

    def generation(self, number: int) -> Generation | None:
        """Return one generation, None where its file cannot be read."""
        return self._read(lambda: self._store.generation(number), _GENERATION)

    def confirmed(self) -> int:
        """Return the generation that comes back at boot, 0 for none."""
        return self._read(self._store.confirmed, _CONFIRMED) or 0

    def waiting(self) -> bool:
        """Tell whether a confirmed generation has policies that a boot would bring back."""
        number = self.confirmed()
        generation = self.generation(number) if number else None
        return generation is not None and bool(generation.policies)

    def interrupted(self) -> bool:
        """Tell whether a transaction has a journal that somebody has to end."""
        return self._read(lambda: journal.read(self.places.journal), _JOURNAL) is not None

    def service(self, read: Callable[[], Found]) -> Found | None:
        """Return what ``read`` makes of what the service says of itself."""
        return self._read(read, _SERVICE)

    def _read(self, read: Callable[[], Found], hint: str) -> Found | None:
        try:
            return read()
        except DamonPolicyError as error:
            told = error.hint if isinstance(error, NoPermission) else hint
            self._said[error.message] = Diagnostic.warning("DP0660", None, error.message, hint=told)
            return None


def overdue(managed: Managed, now: float) -> str:
    """Say that nobody has confirmed a change in time, nor rolled it back; else nothing."""
    if not managed.overdue(now):
        return ""
    return f"generation {managed.generation} was not confirmed in time, and is still there"


def unfinished(store: Remembered, managed: Managed, now: float) -> list[Diagnostic]:
    """Warn of what nobody has ended: a change that was not confirmed in time, a transaction."""
    found = []
    if late := overdue(managed, now):
        hint = "`damonpolicy recover` rolls it back"
        found.append(Diagnostic.warning("DP0661", None, late, hint=hint))
    if store.interrupted():
        message = "a transaction was interrupted"
        hint = "`damonpolicy recover` ends it"
        found.append(Diagnostic.warning("DP0612", None, message, hint=hint))
    return found


def unsettled(store: Remembered, managed: Managed, now: float) -> list[Diagnostic]:
    """Warn of what is unfinished, and of a change that waits to be confirmed."""
    found = unfinished(store, managed, now)
    if managed.pending is not None and not overdue(managed, now):
        message = f"generation {managed.generation} waits to be confirmed"
        hint = "`damonpolicy confirm` keeps it, `damonpolicy rollback` ends it"
        found.insert(0, Diagnostic.warning("DP0613", None, message, hint=hint))
    return found
