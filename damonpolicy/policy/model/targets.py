"""``targets/``: the memory to monitor."""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

from damonpolicy.base import limits
from damonpolicy.base.expressions import ExpressionError, compiled
from damonpolicy.base.units import UnitError
from damonpolicy.kernel.system.cgroups import in_unit, is_pattern
from damonpolicy.policy.model.scalars import Address, Flag, Model, Node, Pid, SomeText, scalar

__all__ = ("AddressRange", "ProcessSelector", "Target")

_UNITS = (".service", ".scope", ".slice")


def _regular_expression(text: str) -> str:
    if not text:
        raise UnitError("DP0105", "this is empty", "write a value, or leave the key out")
    most = limits.EXPRESSION.most
    if len(text) > most:
        hint = "it is searched for: a part that tells processes apart is enough"
        raise UnitError("DP0119", f"this regular expression is longer than {most} characters", hint)
    try:
        compiled(text)
    except ExpressionError as error:
        lacks = error.code != "DP0124"
        message = f"`{text[:40]}` is not {'taken' if lacks else 'a regular expression'}: {error}"
        hint = "search for a part that tells processes apart" if lacks else "the syntax is Python's"
        raise UnitError(error.code, message, hint) from error
    return text


def _executable(text: str) -> str:
    if not text.startswith(("/", "*", "?", "[")) or "\0" in text:
        name = text.rpartition("/")[2]
        meant = f"`*/{name[:60]}`" if name else "`/usr/bin/NAME`"
        message = f"`{text[:40]}` is never the path of an executable"
        raise UnitError("DP0119", message, f"write {meant}, or the whole path")
    return text


def _one_cgroup(text: str) -> str:
    if text.startswith("/") and is_pattern(text):
        message = f"`{text[:60]}` may match several cgroups, and one is needed here"
        hint = "filters and processes take patterns; here, name one cgroup"
        raise UnitError("DP0128", message, hint)
    return _cgroup(text)


def _cgroup(text: str) -> str:
    if not text.startswith("/") or ".." in text.split("/") or not {"\n", "\0"}.isdisjoint(text):
        hint = f"write it from the root of the cgroup tree, such as `{_likely(text)}`"
        raise UnitError("DP0123", f"`{text[:40]}` is not the path of a cgroup", hint)
    return "/" + text.strip("/")


def _unit(text: str) -> str:
    if not text.endswith(_UNITS) or "/" in text or not {"\n", "\0"}.isdisjoint(text):
        plain = "." not in text and "/" not in text
        message = f"`{text[:40]}` is not the name of a unit that has processes"
        hint = f"write it with its kind, such as `{text[:50] if plain else 'postgresql'}.service`"
        raise UnitError("DP0129", message, hint)
    return text


def _likely(text: str) -> str:
    """Return systemd's path for a name that may be a unit."""
    name = text.strip("/").removeprefix("sys/fs/cgroup/").strip("/")
    if not name or ".." in name.split("/") or "\n" in text or len(name) > 100:
        return "/machine.slice"
    unit = name.rpartition("/")[2]
    if unit != name or "." not in unit:
        return f"/{name}" if unit != name else f"/system.slice/{name}.service"
    if unit.endswith((".service", ".scope", ".socket", ".mount")):
        return f"/system.slice/{unit}"
    parts = unit.removesuffix(".slice").split("-")
    if unit.endswith(".slice") and len(parts) > 1 and all(parts):
        return "".join(f"/{'-'.join(parts[:end])}.slice" for end in range(1, len(parts) + 1))
    return f"/{unit}"


def _path(without: str) -> str:
    """Return a pattern of absolute paths without `..`, with some characters excluded from names."""
    return rf"(?:/(?!\.\.(?:/|(?![\s\S])))[^{without}]*)+"


Expression: TypeAlias = Annotated[str, *scalar(_regular_expression, r"[\s\S]+")]
Executable: TypeAlias = Annotated[
    str, *scalar(_executable, r"[/*?\[][^\u0000]*", example="/usr/bin/qemu-*")
]
Cgroup: TypeAlias = Annotated[
    str, *scalar(_one_cgroup, _path(r"/\n\u0000*?\["), example="/machine.slice")
]
Cgroups: TypeAlias = Annotated[str, *scalar(_cgroup, _path(r"/\n\u0000"), example="/machine.slice")]
"""A cgroup, or a pattern for several."""
UnitName: TypeAlias = Annotated[
    str,
    *scalar(_unit, r"[^/\n\u0000]+\.(?:service|scope|slice)", example="postgresql.service"),
]
"""A unit of systemd that has a cgroup, or a pattern for several."""


class AddressRange(Model):
    """Addresses in bytes; the end is exclusive."""

    start: Address
    """The first address."""
    end: Address
    """The first address after the range."""


class ProcessSelector(Model):
    """A selector of processes: all given conditions must hold, and all matching processes count."""

    name: SomeText | None = None
    """Its name as `ps -o comm` shows it, or the base name of its executable."""
    cmdline: Expression | None = None
    """A regular expression to search for in its command line."""
    exe: Executable | None = None
    """The path of its executable, or a pattern with `*`."""
    user: SomeText | None = None
    """Its user, by name or number."""
    cgroup: Cgroups | None = None
    """The cgroup that it is in, or below, or a pattern such as `/system.slice/docker-*.scope`."""
    unit: UnitName | None = None
    """The systemd unit that it belongs to, such as `postgresql.service`, in whatever slice."""
    pid: Pid | None = None
    """Its process id."""

    @property
    def conditions(self) -> dict[str, Any]:
        """The conditions, by the fields of `kernel.system.processes.Selector`."""
        given = {name: getattr(self, name) for name in type(self).model_fields}
        if unit := given.pop("unit"):
            given["cgroup"] = in_unit(unit)
        return {name: value for name, value in given.items() if value is not None}


class Target(Model):
    """Physical memory (``system_ram``, ``numa_node`` or ``regions``), or processes."""

    system_ram: Flag | None = None
    """All System RAM of /proc/iomem."""
    numa_node: Node | None = None
    """The memory of one node."""
    regions: tuple[AddressRange, ...] | None = None
    """Address ranges, physical or of a process, in ascending order."""
    process: ProcessSelector | None = None
    """The processes that match."""
