"""The paths that a service's policies came from: `Sources`."""

from __future__ import annotations

import os
from collections.abc import Sequence

from damonpolicy.daemon.keeper import Keeper
from damonpolicy.engine.state_directory import Places, damaged, read_json, write_json
from damonpolicy.policy.source.content import Content

__all__ = ("Sources", "unknown")


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

    def __init__(self, keeper: Keeper, places: Places) -> None:
        self._keeper = keeper
        self._places = places
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
