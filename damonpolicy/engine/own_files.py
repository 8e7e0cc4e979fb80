"""damonpolicy's own files during one transaction; a rescue can go on without them."""

from __future__ import annotations

from collections.abc import Callable

from damonpolicy.base.errors import DamonPolicyError
from damonpolicy.engine import journal as journals
from damonpolicy.engine.journal import Header, Unwritten
from damonpolicy.engine.store import Generation, Store
from damonpolicy.plan.state import Managed

__all__ = ("OwnFiles",)


class OwnFiles:
    """The writer of generation, journal and state; ``remarks`` lists what a ``rescue`` did without.

    A rescue goes on without a generation, and without a journal or a state file unless it
    ``starts`` a kdamond: without a record, the next command would take the kdamond for someone
    else's.
    """

    def __init__(self, store: Store, remarks: list[str], *, rescue: bool, starts: bool) -> None:
        self.store = store
        self.remarks = remarks
        self.rescue = rescue
        self.needs_record = starts or not rescue

    def stage(self, generation: Generation) -> None:
        """Write the generation, which is not valid yet."""
        self._written(
            lambda: self.store.stage(generation),
            f"generation {generation.number} is not kept",
            must=not self.rescue,
        )

    def _written(self, write: Callable[[], None], otherwise: str, *, must: bool) -> bool:
        """Write a file; on failure raise, or note what a rescue does without."""
        try:
            write()
        except (DamonPolicyError, OSError) as error:
            if must:
                raise
            self.remarks.append(f"{otherwise}: {error}")
            return False
        return True

    def journal(self, header: Header) -> Unwritten:
        """Begin the journal, with room for the state file that will follow."""
        made: list[Unwritten] = []

        def begin() -> None:
            self.store.reserve(header.managed)
            made.append(journals.begin(self.store.places.journal, header))

        otherwise = "no journal is kept, so run this again if it is killed"
        if self._written(begin, otherwise, must=self.needs_record):
            return made[0]
        return Unwritten(header)

    def commit(self, after: Managed, journal: Unwritten | None) -> None:
        """Replace the state file: from here on, the change stays.

        A rescue may do without it, if nobody will resume its journal.
        """
        try:
            self._save(after)
        except (DamonPolicyError, OSError) as error:
            if self.needs_record or not (journal is None or journal.ended()):
                raise
            if not after.slots and not after.settings and self.store.forget():
                return  # nothing is managed any more, and no guard finds anything to roll back
            self.remarks.append(f"the state file still describes the earlier state: {error}")

    def _save(self, after: Managed) -> None:
        try:
            self.store.save(after)
        except (DamonPolicyError, OSError):
            if not self.rescue:
                raise
            self.store.save(after)  # the error may be temporary

    def finish(self, after: Managed, journal: Unwritten | None) -> None:
        """Do the steps after the commit point, where nothing can fail the change."""
        self.remarks += self.store.finish(after)
        if journal is not None:
            reason = journal.end()
            self.remarks += [f"the change is complete; {reason}"] if reason else []
