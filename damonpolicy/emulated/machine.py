"""A whole emulated machine behind the protocol of ``kernel/system/machine.py``."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from damonpolicy.base.errors import UsageError
from damonpolicy.emulated import spec as specs
from damonpolicy.emulated import values
from damonpolicy.emulated.damon.kdamond import WRECKED, Kdamonds
from damonpolicy.emulated.damon.modules import Modules
from damonpolicy.emulated.damon.monitor import hits
from damonpolicy.emulated.damon.quotas import watches
from damonpolicy.emulated.damon.regions import Region, regions
from damonpolicy.emulated.damon.table import Directory as Tree
from damonpolicy.emulated.damon.table import copy
from damonpolicy.emulated.damon.tree import Damon
from damonpolicy.emulated.files import Content, Filesystem
from damonpolicy.emulated.profiles import Profile, find, versions
from damonpolicy.emulated.store import Directory, Memory, Write, check, identity_of
from damonpolicy.emulated.system.cgroups import Cgroups
from damonpolicy.emulated.system.hardware import Hardware
from damonpolicy.emulated.system.processes import Processes
from damonpolicy.emulated.system.settings import Settings
from damonpolicy.emulated.values import Refusal
from damonpolicy.emulated.world import State, World, boot
from damonpolicy.kernel.system.host import MODULES
from damonpolicy.kernel.system.machine import Entry, natural_order

__all__ = ("EmulatedMachine", "Write", "open_emulated", "versions")

Hook = Callable[[int, str, str], None]
"""A hook, called with the number of a write (from 1), its path and its text."""

_BOOT = 1000.0
"""The clock of a machine in memory at boot, in seconds."""


def open_emulated(version: str, store: Path, spec_file: Path | None) -> EmulatedMachine:
    """Open the machine in the directory ``store``, or make it.

    Raises UsageError for an unknown version, for a machine file that cannot be read, and
    for a directory that holds a machine of another version or description.
    """
    description = specs.load(spec_file) if spec_file else None
    return EmulatedMachine.create(version, spec=description, store=store)


class EmulatedMachine:
    """An emulated machine, made by `create` or `open_emulated`.

    Beside its files, it has levers for external events: programs start and end, time passes, it
    reboots. Tests use them, and so does `damonpolicy emulate`.

    For tests: ``before_write`` is called before a write happens, and may raise OSError or
    end the process; ``after_write`` is called when the write is durable.
    """

    here = False
    writable = True

    def __init__(
        self, profile: Profile, description: specs.Spec, state: State, store: Memory | Directory
    ) -> None:
        self.profile = profile
        self.before_write: Hook | None = None
        self.after_write: Hook | None = None
        self._store = store
        self._timeless = isinstance(store, Memory)
        self._slept = 0.0
        self._count = 0
        self._mutex = threading.RLock()
        self._world = World(profile, description, state, self.monotonic)
        self._modules = Modules(self._world)
        self._kdamonds = Kdamonds(self._world, self._modules)
        self._settings = Settings(self._world)
        self._cgroups = Cgroups(self._world)
        self._files = Filesystem(
            (
                Damon(self._world, self._kdamonds),
                self._settings,
                self._modules,
                Hardware(self._world),
                self._cgroups,
                Processes(self._world),
            )
        )

    @classmethod
    def create(
        cls, version: str, *, spec: Mapping[str, Any] | None = None, store: Path | None = None
    ) -> EmulatedMachine:
        """Make a machine of a kernel version, described by ``spec`` (see `emulated.spec`).

        Without ``store`` it lives in memory; with one, a machine that is already there is
        opened. Raises UsageError as `open_emulated` does.
        """
        profile = find(version)
        if spec is None:
            spec = specs.DEFAULT
        description = specs.read(spec)
        if store is None:
            machine = cls(profile, description, {}, Memory())
            machine._boot(f"memory/{version}")
            return machine
        kept = Directory(store)
        with kept.locked():
            state = kept.reload()
            identity = identity_of(version, spec)
            if state is not None:
                check(identity, state, store)
            machine = cls(profile, description, state or {}, kept)
            if state is None:
                machine._boot(os.urandom(16).hex())
                machine._world.state["identity"] = identity
                machine._save()
            machine._catch_up()
            return machine

    def _boot(self, name: str, boots: int = 1) -> None:
        self._world.state.clear()
        try:
            state = boot(self.profile, self._world.spec, self.monotonic(), name, boots)
        except Refusal as refusal:
            raise UsageError(f"this machine cannot be: {refusal.text}") from refusal
        self._world.state.update(state, name=name)
        self._settings.boot()
        self._modules.boot()

    @property
    def name(self) -> str:
        return f"emulated:{self.profile.version}"

    @property
    def poisoned(self) -> str:
        """The reason why all operations fail since some operation, or an empty text."""
        with self._mutex:
            self._refresh()
            found: str = self._world.state["poison"]
            return found

    @property
    def log(self) -> list[Write]:
        """All attempted writes; of a machine in a directory, those of all processes."""
        with self._mutex:
            return self._store.log

    def monotonic(self) -> float:
        forwarded: float = self._world.state.get("forwarded", 0.0)
        if self._timeless:
            return _BOOT + self._slept + forwarded
        return time.clock_gettime(time.CLOCK_BOOTTIME) + forwarded

    def sleep(self, seconds: float) -> None:
        if self._timeless:
            self._slept += max(seconds, 0.0)
        else:
            time.sleep(seconds)

    def _refresh(self) -> None:
        """Take over the changes of another process."""
        changed = self._store.reload()
        if changed is not None:
            self._world.state.clear()
            self._world.state.update(changed)
            self._catch_up()

    def _catch_up(self) -> None:
        """Continue the kernel's time if the clock was reset, as the host was rebooted."""
        state = self._world.state
        late = state["clock"] - self.monotonic()
        if late > 0:
            state["lead"] += late
            state["clock"] -= late

    def _save(self, write: Write | None = None) -> None:
        self._world.state["clock"] = self.monotonic()
        self._store.save(self._world.state, write)

    @contextmanager
    def _looking(self, path: str) -> Iterator[None]:
        """Give one operation an up-to-date state; turn refusals into OSError."""
        with self._mutex:
            self._refresh()
            try:
                if self._world.state["poison"]:
                    raise Refusal(errno.EIO, WRECKED + self._world.state["poison"])
                yield
            except Refusal as refusal:
                raise refusal.error(path) from None

    @contextmanager
    def _changing(self, path: str | None = None) -> Iterator[None]:
        """Let a lever change the state, and store it."""
        with self._mutex, self._store.locked():
            self._refresh()
            try:
                yield
            except Refusal as refusal:
                raise refusal.error(path) from None
            self._save()

    def _allow(self, content: Content, wanted: int) -> None:
        """Refuse operations that permission bits forbid to root, or to an ordinary user."""
        shift = 6 if self._world.spec.root else 0
        if not content.mode >> shift & wanted:
            raise Refusal(errno.EACCES)

    def read(self, path: str) -> str:
        data = self._read(path)
        return data if isinstance(data, str) else data.decode("utf-8", "surrogateescape")

    def read_bytes(self, path: str) -> bytes:
        data = self._read(path)
        return data if isinstance(data, bytes) else data.encode("utf-8", "surrogateescape")

    def _read(self, path: str) -> str | bytes:
        with self._looking(path):
            content = self._files.content(path)
            self._allow(content, 4)
            return content.read()

    def write(self, path: str, text: str) -> None:
        with self._mutex:
            self._count += 1
            number = self._count
        failure = None
        try:
            if self.before_write:
                self.before_write(number, path, text)
        except OSError as error:
            failure = error
        with self._mutex, self._store.locked():
            self._refresh()
            if failure is None:
                try:
                    with self._looking(path):
                        self._write(path, text)
                except OSError as error:
                    failure = error
            error_number = (failure.errno or errno.EIO) if failure else 0
            self._save(Write(path, text, error_number))
        if self.after_write:
            self.after_write(number, path, text)
        if failure is not None:
            raise failure

    def _write(self, path: str, text: str) -> None:
        content = self._files.content(path)
        if content.write is None and self._world.spec.root:
            raise Refusal(content.refused)
        self._allow(content, 2)
        if content.write is None:
            raise Refusal(errno.EACCES)
        taken, complete = values.received(text)
        if text:
            content.write(taken)
        if not complete:
            raise Refusal(errno.EIO, "short write: the kernel took the first page only")

    def scan(self, path: str) -> list[Entry]:
        with self._looking(path):
            found = self._files.directory(path)
            return sorted((Entry(*each) for each in found.items()), key=natural_order)

    def exists(self, path: str) -> bool:
        with self._looking(path):
            return self._files.exists(path)

    def mode(self, path: str) -> int:
        with self._looking(path):
            return self._files.mode(path)

    def resolve(self, path: str) -> str:
        with self._looking(path):
            return self._files.resolve(path)

    def identity(self, path: str) -> int:
        with self._looking(path):
            if not self._files.exists(path):
                raise Refusal(errno.ENOENT)
            return self._cgroups.identity(path)

    def running(self, slot: int) -> Tree | None:
        """Return a copy of the running files of a slot's context.

        None while it is off. The files are those of its start or last commit.
        """
        with self._mutex:
            self._refresh()
            found = self._kdamonds.running(str(slot))
            return copy(found["tree"]) if found else None

    def aggregated(self) -> Iterator[tuple[int, int, list[tuple[Region, list[int]]]]]:
        """Yield pid, aggregation interval in µs and regions of every kdamond that monitors.

        Each region comes with the hits of the probes.
        """
        with self._mutex:
            self._refresh()
            slots = map(self._kdamonds.running, self._world.state["slots"])
            of_slots = [each for each in slots if each and watches(self._world, each)]
            of_modules = filter(None, map(self._modules.monitored, MODULES))
            for found in (*of_slots, *of_modules):
                seen = regions(self._world, found)
                counted = zip(seen, hits(self._world, found, seen), strict=True)
                yield int(found["pid"]), int(found["aggr"]), list(counted)

    def start_process(
        self, name: str, *, areas: Sequence[Mapping[str, Any]] = (), **more: Any
    ) -> int:
        """Start a process and return its pid.

        ``areas`` are as in a machine file; ``more`` may hold ``pid``, ``exe``, ``cmdline``,
        ``uid`` and ``cgroup``. Raises OSError if the pid is taken or memory is full.
        """
        process = specs.Process(name, areas=tuple(specs.area(each) for each in areas), **more)
        with self._changing():
            return self._world.start_process(process)

    def exit_process(self, pid: int) -> None:
        """End a process, and kdamonds that monitored nothing else.

        Raises ProcessLookupError if there is no such process; kernel threads cannot be ended.
        """
        with self._changing():
            if self._world.processes.get(str(pid), {"thread": True})["thread"]:
                raise Refusal(errno.ESRCH).error(str(pid))
            del self._world.processes[str(pid)]
            self._kdamonds.end_all_without_targets()

    def move_process(self, pid: int, cgroup: str) -> None:
        """Move a process to an existing cgroup, which makes no event."""
        with self._changing():
            if cgroup not in self._world.state["cgroups"]:
                raise Refusal(errno.ENOENT).error(cgroup)
            self._world.processes[str(pid)]["cgroup"] = cgroup

    def make_cgroup(self, path: str, *, memory: bool = True) -> None:
        """Make a cgroup, with or without the memory controller."""
        with self._changing():
            self._world.make_cgroup(path, memory=memory)

    def remove_cgroup(self, path: str) -> None:
        """Remove a cgroup.

        Raises FileNotFoundError if it is missing, OSError with EBUSY if cgroups or processes are
        left in it.
        """
        with self._changing(path):
            self._world.remove_cgroup(path)

    def reboot(self) -> None:
        """Reboot: a new boot id, DAMON's tree and all settings as at boot, no poison."""
        with self._changing():
            state = self._world.state
            kept = {key: state[key] for key in ("identity", "log") if state.get(key)}
            self._boot(state["name"], state["boots"] + 1)
            state.update(kept)

    def forward(self, seconds: float) -> None:
        """Advance the time at once, for the kernel and for all readers of the clock."""
        with self._changing():
            self._world.state["forwarded"] = self._world.state.get("forwarded", 0.0) + seconds
