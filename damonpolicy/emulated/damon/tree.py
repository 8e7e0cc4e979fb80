"""DAMON's tree below /sys/kernel/mm/damon: the staged files, and writes to them."""

from __future__ import annotations

import errno
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from damonpolicy.base.units import format_cpulist
from damonpolicy.emulated import values
from damonpolicy.emulated.damon.kdamond import Kdamonds
from damonpolicy.emulated.damon.table import BUILD, Files, counted, entry, parts
from damonpolicy.emulated.files import Content, above
from damonpolicy.emulated.values import Refusal
from damonpolicy.emulated.world import World
from damonpolicy.kernel.damon.schema import Row, pattern
from damonpolicy.kernel.damon.view import Kdamond
from damonpolicy.kernel.system.machine import KDAMONDS

__all__ = ("Damon",)

_ROOT = "/sys/kernel/mm/damon"
_BELOW = KDAMONDS + "/"
_ABOVE = above([KDAMONDS])
_pattern = lru_cache(4096)(pattern)
_WIPING = {pattern(f"0/{each.path}") for each in (Kdamond().contexts, Kdamond().schemes.count)}
"""The counts whose write wipes tried regions."""


class Damon:
    """The files of all kdamonds of one machine."""

    roots = (_ROOT,)

    def __init__(self, world: World, kdamonds: Kdamonds) -> None:
        self.world = world
        self.kdamonds = kdamonds

    def _entry(self, below: str) -> Any:
        """Return a file's content or a directory, None if missing."""
        tree = self.world.state["tree"]
        return entry(tree, below) if below else tree

    def file(self, path: str) -> Content | None:
        below = path[len(_BELOW) :]
        if not path.startswith(_BELOW) or not isinstance(self._entry(below), str):
            return None
        known = self.world.layout.files[_pattern(below)]
        return Content(
            known.mode,
            lambda: self._read(known, below),
            (lambda text: self._write(known, below, text)) if known.mode & 0o200 else None,
        )

    def names(self, path: str) -> dict[str, bool] | None:
        if not path.startswith(KDAMONDS):
            return _ABOVE.get(path)
        if path != KDAMONDS and not path.startswith(_BELOW):
            return None
        found = self._entry(path[len(_BELOW) :])
        if not isinstance(found, dict):
            return None
        return {name: isinstance(value, dict) for name, value in found.items()}

    def _read(self, known: Row, below: str) -> str:
        slot = parts(below)[0]
        if slot.isdecimal():
            self.kdamonds.refresh(slot)
            running = self.kdamonds.running(slot)
            if known.kind == "state":
                return "on\n" if running else "off\n"
            if known.kind == "pid":
                return f"{running['pid'] if running else -1}\n"
        return values.shown(self._entry(below))

    def _write(self, known: Row, below: str, text: str) -> None:
        slot = parts(below)[0]
        if slot.isdecimal():
            self.kdamonds.refresh(slot)
        if known.kind == "count":
            self._make(known, below, text)
        elif known.kind == "state":
            self.kdamonds.command(slot, values.word(text, known.words))
        else:
            Files(self.world.state["tree"])[below] = self._value(known, text)

    def _value(self, known: Row, text: str) -> str:
        """Return what a file holds after a write; raises Refusal."""
        if known.kind == "bool":
            return "Y" if values.boolean(text, able=self.world.profile.quirk("bool.able")) else "N"
        if known.kind == "word":
            return values.word(text, known.words)
        if known.kind == "cpus":
            most = max((cpu for node in self.world.spec.nodes for cpu in node.cpus), default=0)
            return format_cpulist(values.cpulist(text, most + 1))
        return _READERS[known.kind](text)

    def _make(self, known: Row, below: str, text: str) -> None:
        """Write a count: all numbered directories are made anew, even for the same number."""
        count = values.signed(text)
        if not 0 <= count <= known.most:
            raise Refusal(errno.EINVAL)
        above, _, name = below.rpartition("/")
        if not above and self.kdamonds.any_running():
            raise Refusal(errno.EBUSY)
        directory, slots = self._entry(above), self.world.state["slots"]
        for each in [each for each in directory if each.isdecimal()]:
            del directory[each]
        directory[name] = "0"
        if not above:
            slots.clear()
        elif known.path in _WIPING and (slot := parts(below)[0]) in slots:
            slots[slot]["tried"] = {}
        if count > BUILD:
            raise Refusal(errno.ENOMEM)
        fresh = counted(known.path)
        for number in range(count):
            directory[str(number)] = self.world.layout.fresh(fresh)
        directory[name] = str(count)


def _unit(text: str) -> str:
    """Read an address unit (mm/damon/sysfs.c: addr_unit_store()): zero is none."""
    value = values.unsigned(text)
    if not value:
        raise Refusal(errno.EINVAL)
    return str(value)


def _threads(text: str) -> str:
    return ",".join(map(str, values.threads(text)))


_READERS: dict[str, Callable[[str], str]] = {
    "ulong": lambda text: str(values.unsigned(text)),
    "quota": lambda text: str(values.unsigned(text, overflow=errno.EINVAL)),
    "uint": lambda text: str(values.unsigned(text, 32)),
    "charge": lambda text: str(values.unsigned(text, 32, overflow=errno.EINVAL)),
    "int": lambda text: str(values.signed(text)),
    "pid_t": lambda text: str(values.signed(text, overflow=errno.EINVAL)),
    "unit": _unit,
    "threads": _threads,
    "path": str,
}
"""The store function per kind of file; kinds differ in size, sign and the errno of overflow."""
