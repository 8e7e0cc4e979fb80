"""The managed set, read only when it has changed."""

from __future__ import annotations

from collections.abc import Iterator

from damonpolicy.engine.state_directory import Places
from damonpolicy.engine.store import Store
from damonpolicy.kernel.system.host import look
from damonpolicy.kernel.system.machine import Machine
from damonpolicy.plan.ir import CompiledKdamond
from damonpolicy.plan.state import Managed

__all__ = ("Keeper",)


class Keeper:
    """The cached content of the state file."""

    def __init__(self, machine: Machine, places: Places, owner: str) -> None:
        self.machine = machine
        self.owner = owner
        self._store = Store(places)
        self._stamp: tuple[int, int] | None = None
        self._managed: Managed | None = None

    def managed(self) -> Managed:
        """Return the managed set of this machine, of all owners."""
        try:
            status = self._store.places.state.stat()
            stamp = (status.st_ino, status.st_mtime_ns)
        except OSError:
            stamp = (0, 0)
        if self._managed is None or stamp != self._stamp:
            self._managed = self._store.managed(look(self.machine).boot_id)
            self._stamp = stamp
        return self._managed

    def kdamonds(self) -> Iterator[CompiledKdamond]:
        """Yield the kdamonds of the service's own policies."""
        for policy in self.managed().policies.values():
            if policy.owner == self.owner:
                yield from policy.kdamonds
