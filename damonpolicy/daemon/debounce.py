"""Detection of the moment when changing files have settled: `Settling`."""

from __future__ import annotations

from damonpolicy.base.lazy import dataclass

__all__ = ("Settling",)


@dataclass(slots=True)
class Settling:
    """The state of content, which has settled after ``debounce`` seconds without a change.

    The first content counts as settled, as there is no sign of a change.
    """

    debounce: float
    taken: str = ""
    """The digest of the last content."""
    rested_at: float = 0.0
    """When the last content had settled."""
    _before: str = ""
    _digest: str = ""
    _since: float = 0.0

    def settled(
        self,
        digest: str,
        now: float,
        *,
        held: bool,
        since: float | None = None,
        early: float = 0.0,
    ) -> bool:
        """Return whether this is new content that has settled.

        ``held``: somebody is writing a file of it, so it cannot have settled. ``since`` is when
        files last changed, None if they have not; unseen content then counts from now. The result
        is true ``early`` seconds before its time, for a caller that does the last step no sooner
        than at `rested_at`.
        """
        if held:
            self._digest = ""  # it can settle once the file is closed
            return False
        if digest != self._digest or since is not None:
            self._digest, self._since = digest, now if since is None else since
        if digest == self.taken:
            return False
        rested_at = self._since + self.debounce if self.taken else now
        if now + early < rested_at:
            return False
        self._before, self.taken, self.rested_at = self.taken, digest, rested_at
        return True

    def moved(self) -> None:
        """Revoke the last result: the content changed before its time."""
        if self.taken:  # otherwise somebody asked meanwhile to apply the current content at once
            self.taken = self._before

    def rests_at(self, now: float) -> float | None:
        """Return when seen content can have settled, None if nothing is under way."""
        if not self._digest or self._digest == self.taken:
            return None
        return max(self._since + self.debounce, now)

    def forget(self) -> None:
        """Apply the current content again, even if it is the last content."""
        self.taken = ""
