"""The files of a service's policies: when they have settled, and which of them are gone."""

from __future__ import annotations

import os
from collections.abc import Sequence

from damonpolicy.base.lazy import dataclass
from damonpolicy.daemon.keeper import Keeper
from damonpolicy.engine.state_directory import Places, damaged, read_json, write_json
from damonpolicy.policy.source.content import Content

__all__ = ("Settling", "Sources", "unknown")


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


def unknown(paths: Sequence[str], places: Places) -> list[str]:
    """Return the missing paths that held no policy for a service of this boot.

    Raises DamonPolicyError if the stored paths are damaged.
    """
    absent = [path for path in paths if not os.path.lexists(path)]
    found = (read_json(places.sources) or {}).get("paths") if absent else None
    known = found if isinstance(found, list) else []
    return [path for path in absent if path not in known]


class Sources:
    """The paths that held policies, stored from one service to the next of the same paths.

    A missing path is hardly meant to end its policies: it may be on a file system that is not
    mounted. So paths are stored beside the state, and are lost at a reboot like it. A service that
    begins with no policies in force has none to lose, and forgets the paths.
    """

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._known: frozenset[str] | None = None

    def gone(self, content: Content) -> list[str]:
        """Return the missing paths that held policies; raises DamonPolicyError."""
        return sorted(self._read().intersection(content.missing))

    def add(self, content: Content) -> None:
        """Remember paths whose policies are about to be applied: a crash may follow at once."""
        self._write(self._read().union(content.there))

    def keep(self, content: Content) -> None:
        """Remember only the paths of the applied policies."""
        self._write(frozenset(content.there))

    def _read(self) -> frozenset[str]:
        if self._known is None:
            self._known = self._kept() if self._keeper.policies() else frozenset()
        return self._known

    def _kept(self) -> frozenset[str]:
        found = read_json(self._keeper.places.sources) or {"owner": "", "paths": []}
        try:
            ours = found["owner"] == self._keeper.owner
            return frozenset(map(str, found["paths"] if ours else ()))
        except (KeyError, TypeError) as error:
            raise damaged(self._keeper.places.sources, error) from error

    def _write(self, known: frozenset[str]) -> None:
        if known != self._known:
            data = {"owner": self._keeper.owner, "paths": sorted(known)}
            write_json(self._keeper.places.sources, data)
            self._known = known
