"""Our own files during one transaction; a rescue can go on without them."""

from __future__ import annotations

from collections.abc import Callable

from damonpolicy.engine import journal as journals
from damonpolicy.engine.journal import Header, Unwritten
from damonpolicy.engine.store import Generation, Store
from damonpolicy.errors import DamonPolicyError
from damonpolicy.plan.managed import Managed

__all__ = ("OwnFiles",)


class OwnFiles:
    """Writes generation, journal and state; ``remarks`` collects what a ``rescue`` did without.

    It goes on without a generation, and without a journal or a state file unless it ``starts`` a
    kdamond: what is on no record would be someone else's to whoever comes next.
    """

    def __init__(self, store: Store, remarks: list[str], *, rescue: bool, starts: bool) -> None:
        self.store = store
        self.remarks = remarks
        self.rescue = rescue
        self.needs_record = starts or not rescue

    def stage(self, generation: Generation) -> None:
        """Write the generation, which does not count yet."""
        self._written(
            lambda: self.store.stage(generation),
            f"generation {generation.number} is not kept",
            must=not self.rescue,
        )

    def _written(self, write: Callable[[], None], otherwise: str, *, must: bool) -> bool:
        """Write something; if that fails, raise, or note what a rescue does without."""
        try:
            write()
        except (DamonPolicyError, OSError) as error:
            if must:
                raise
            self.remarks.append(f"{otherwise}: {error}")
            return False
        return True

    def journal(self, header: Header, managed: Managed) -> Unwritten:
        """Begin the journal, with room for the state file that will follow."""
        made: list[Unwritten] = []

        def begin() -> None:
            self.store.reserve(managed)
            made.append(journals.begin(self.store.places.journal, header))

        otherwise = "no journal is kept, so run this again if it is killed"
        if self._written(begin, otherwise, must=self.needs_record):
            return made[0]
        return Unwritten(header)

    def commit(self, after: Managed, journal: Unwritten | None) -> None:
        """Replace the state file: all that was done stays from here on.

        A rescue may do without it, if nobody will take up its journal again.
        """
        try:
            self._save(after)
        except (DamonPolicyError, OSError) as error:
            if self.needs_record or not (journal is None or journal.ended()):
                raise
            if not after.slots and not after.settings and self.store.forget():
                return  # nothing is ours any more, and no guard finds what it would bring back
            self.remarks.append(f"the state file still tells of before: {error}")

    def _save(self, after: Managed) -> None:
        try:
            self.store.save(after)
        except (DamonPolicyError, OSError):
            if not self.rescue:
                raise
            self.store.save(after)  # an error may pass

    def finish(self, after: Managed, journal: Unwritten | None) -> None:
        """Do what is left after the commit point, where nothing can fail the change."""
        self.remarks += self.store.finish(after)
        if journal is not None:
            reason = journal.end()
            self.remarks += [f"the change is complete; {reason}"] if reason else []
