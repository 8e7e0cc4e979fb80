"""Which paths a service's policies came from: `Sources`."""

from __future__ import annotations

from damonpolicy.daemon.keeper import Keeper
from damonpolicy.engine.places import Places, damaged, read_json, write_json
from damonpolicy.source.content import Content

__all__ = ("Sources",)


class Sources:
    """Remembers paths that held policies, also from one service to the next of the same paths.

    A path that is gone as a whole is hardly meant to end its policies: it may be on a file system
    that is not mounted. So it is kept beside the state, and dies with the boot as that does. A
    service that begins with no policies in force has none to lose, and forgets.
    """

    def __init__(self, keeper: Keeper, places: Places) -> None:
        self._keeper = keeper
        self._places = places
        self._known: frozenset[str] | None = None

    def gone(self, content: Content) -> list[str]:
        """Return the paths that held policies and are not there; raises DamonPolicyError."""
        return sorted(self._read().intersection(content.missing))

    def add(self, content: Content) -> None:
        """Remember paths whose policies are about to be applied: a crash may follow at once."""
        self._write(self._read().union(content.there))

    def keep(self, content: Content) -> None:
        """Remember only the paths of what was applied."""
        self._write(frozenset(content.there))

    def _read(self) -> frozenset[str]:
        if self._known is None:
            policies = self._keeper.managed().policies.values()
            there = any(each.owner == self._keeper.owner for each in policies)
            self._known = self._kept() if there else frozenset()
        return self._known

    def _kept(self) -> frozenset[str]:
        found = read_json(self._places.sources) or {"owner": "", "paths": []}
        try:
            ours = found["owner"] == self._keeper.owner
            return frozenset(map(str, found["paths"] if ours else ()))
        except (KeyError, TypeError) as error:
            raise damaged(self._places.sources, error) from error

    def _write(self, known: frozenset[str]) -> None:
        if known != self._known:
            data = {"owner": self._keeper.owner, "paths": sorted(known)}
            write_json(self._places.sources, data)
            self._known = known
