"""When files that are being changed have come to rest: `Settling`."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ("Settling",)


@dataclass(slots=True)
class Settling:
    """Content has settled when it has stayed the same for ``debounce`` seconds.

    The first content is taken as it is: nothing says that anybody changes it.
    """

    debounce: float
    taken: str = ""
    """The digest of the content that was taken last."""
    rested_at: float = 0.0
    """When what was taken last had stayed the same for long enough."""
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
        """Tell whether this is other content than was taken last, and has come to rest.

        ``held``: somebody is writing a file of it right now, and it cannot be at rest. ``since``
        is when files last changed, None where they have not; content that was not seen before
        then rests from now on. It is told ``early`` seconds before its time, for who does the
        last step no sooner than at `rested_at`.
        """
        if held:
            self._digest = ""  # its rest begins once it has been let go
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
        """Take back that content was taken: it changed before its time."""
        if self.taken:  # else somebody asked meanwhile to take what is there at once
            self.taken = self._before

    def rests_at(self, now: float) -> float | None:
        """Return when content that was seen can have settled, None where nothing is under way."""
        if not self._digest or self._digest == self.taken:
            return None
        return max(self._since + self.debounce, now)

    def forget(self) -> None:
        """Take what is there once more, even if it is what was taken last."""
        self.taken = ""
