"""damonpolicy's own files during one transaction; a rescue can go on without them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

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
        with self._or_without(f"generation {generation.number} is not kept", must=not self.rescue):
            self.store.stage(generation)

    @contextmanager
    def _or_without(self, otherwise: str, *, must: bool) -> Iterator[None]:
        """On failure of a block raise, or note what a rescue does without."""
        try:
            yield
        except (DamonPolicyError, OSError) as error:
            if must:
                raise
            self.remarks.append(f"{otherwise}: {error}")

    def journal(self, header: Header) -> Unwritten:
        """Begin the journal, with room for the state file that will follow."""
        otherwise = "no journal is kept, so run this again if it is killed"
        made = [Unwritten(header)]
        with self._or_without(otherwise, must=self.needs_record):
            self.store.reserve(header.managed)
            made.append(journals.begin(self.store.places.journal, header))
        return made[-1]

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
