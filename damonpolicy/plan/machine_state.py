"""The current state of the machine: DAMON's tree, the owners of slots, modules, settings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field
from typing import Literal

from damonpolicy.base.errors import Foreign, KernelLacks, NoPermission, as_root
from damonpolicy.base.lazy import dataclass
from damonpolicy.kernel.damon.tree import (
    Tree,
    cgroup_paths,
    configuration,
    differing,
    digest,
    empty_slot,
    kdamond_path,
    slot_numbers,
    slot_tree,
)
from damonpolicy.kernel.damon.tree import snapshot as read_tree
from damonpolicy.kernel.damon.view import Kdamond, Kdamonds
from damonpolicy.kernel.system import host
from damonpolicy.kernel.system.cgroups import identities
from damonpolicy.kernel.system.machine import ADMIN, Machine, read_or, read_value
from damonpolicy.plan.state import Managed

__all__ = ("Current", "Owner", "retrieve")

_TRIES = 5

Owner = Literal["ours", "free", "foreign"]


@dataclass(frozen=True, slots=True)
class Current:
    """A snapshot; ``starts`` are the start times of the running kdamonds by slot."""

    machine: str
    host: host.Host
    tree: Tree
    starts: Mapping[int, int]
    modules: tuple[str, ...]
    settings: Mapping[str, str | None]
    cgroups: Mapping[str, int] = field(default_factory=dict)
    """The cgroups that the paths in the tree mean now; paths without a cgroup are left out."""

    @property
    def slots(self) -> list[int]:
        """Numbers of the kdamond directories."""
        return slot_numbers(self.tree)

    def slot(self, number: int) -> dict[str, str]:
        """Return one kdamond directory's tree, state and pid included."""
        return slot_tree(self.tree, number)

    def running(self, number: int) -> bool:
        """Return whether a slot's kdamond is on."""
        return Kdamonds(self.tree)[number].state.text == "on"

    def pid(self, number: int) -> int:
        """Return a slot's kdamond's pid, -1 while it is off."""
        return Kdamonds(self.tree)[number].pid.number

    def owner(self, number: int, managed: Managed) -> Owner:
        """Return the owner of a slot.

        A slot is ours if it runs with the pid and start time that we recorded, or is off with the
        bytes that we last wrote. It is free if it is off and empty. Any other is someone else's.
        """
        record = managed.slots.get(number)
        if record is not None and managed.boot_id == self.host.boot_id:
            thread = (self.pid(number), self.starts.get(number, 0))
            if self.running(number):
                return "ours" if thread == record.thread else "foreign"
            if not differing(self.slot(number), record.files):
                return "ours"
        if not self.running(number) and empty_slot(self.slot(number)):
            return "free"
        return "foreign"

    def fingerprint(self, managed: Managed) -> str:
        """A checksum of everything that a plan relies on."""
        from damonpolicy.kernel.settings import normalise

        slots = {
            str(number): {
                "configuration": configuration(self.slot(number)),
                "running": self.running(number),
                "pid": self.pid(number),
                "start": self.starts.get(number, 0),
            }
            for number in self.slots
        }
        values = {
            path: None if value is None else normalise(value)
            for path, value in self.settings.items()
        }
        return digest(
            {
                "machine": self.machine,
                "boot": self.host.boot_id,
                "release": self.host.release,
                "slots": slots,
                "modules": list(self.modules),
                "settings": values,
                "managed": {
                    key: value
                    for key, value in managed.to_json().items()
                    if key not in ("transaction", "generation")  # how it was made
                },
            }
        )


def retrieve(machine: Machine, settings: Iterable[str] = ()) -> Current:
    """Read the machine.

    Raises KernelLacks without DAMON, NoPermission if its tree may not be read.
    """
    try:
        tree, starts = _settled(machine)
    except FileNotFoundError as error:
        if machine.exists(ADMIN):
            message = "a directory of DAMON vanished while it was read"
            raise Foreign(
                message, hint="someone else is changing DAMON's tree: try again"
            ) from error
        message = "this kernel has no DAMON with a sysfs interface"
        hint = f"it needs CONFIG_DAMON_SYSFS; {_elsewhere()}"
        raise KernelLacks(message, hint=hint) from error
    except PermissionError as error:
        message = "DAMON's files may be read by root only"
        hint = f"{as_root()}; {_elsewhere()}"
        raise NoPermission(message, hint=hint) from error
    return Current(
        machine=machine.name,
        host=host.look(machine),
        tree=tree,
        starts=starts,
        modules=tuple(host.busy_modules(machine)),
        settings={path: _setting(machine, path) for path in sorted(set(settings))},
        cgroups=identities(machine, sorted(cgroup_paths(tree))),
    )


def _elsewhere() -> str:
    from damonpolicy.kernel.damon.features import NEWEST

    return f"`--kernel emulated:{NEWEST}` shows what would happen"


def _settled(machine: Machine) -> tuple[Tree, dict[int, int]]:
    """Read DAMON's tree, and the start times of its running kdamonds' threads, by slot.

    If one ends in between, it would be on with an unknown thread: then all is read again.
    """
    for _ in range(_TRIES):
        tree = read_tree(machine)
        slots = Kdamonds(tree)
        running = [n for n in slot_numbers(tree) if slots[n].state.text == "on"]
        starts = {n: host.starts(machine, slots[n].pid.number) for n in running}
        gone = [n for n in running if not starts[n]]
        if all(read_or(machine, kdamond_path(n, Kdamond().state.path)) == "on" for n in gone):
            break
    return tree, starts


def _setting(machine: Machine, path: str) -> str | None:
    """Return a setting's content; None if this kernel has no such file."""
    try:
        return read_value(machine, path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError as error:
        message = f"`{path}` may not be read"
        raise NoPermission(message, hint=as_root()) from error
