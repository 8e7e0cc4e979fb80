"""``targets/``: what is monitored."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from damonpolicy import limits
from damonpolicy.kernel.expressions import ExpressionError, compiled
from damonpolicy.model.scalars import Address, Flag, Model, Node, Pid, Text, scalar
from damonpolicy.units import UnitError

__all__ = ("AddressRange", "ProcessSelector", "Target")


def _regular_expression(text: str) -> str:
    most = limits.EXPRESSION.most
    if len(text) > most:
        raise UnitError(
            "DP0119",
            f"this regular expression is longer than {most} characters",
            "it is searched for: a part that tells processes apart is enough",
        )
    try:
        compiled(text)
    except ExpressionError as error:
        lacks = error.code != "DP0124"
        raise UnitError(
            error.code,
            f"`{text[:40]}` is not {'taken' if lacks else 'a regular expression'}: {error}",
            "search for a part that tells processes apart" if lacks else "the syntax is Python's",
        ) from error
    return text


def _cgroup(text: str) -> str:
    if not text.startswith("/") or ".." in text.split("/") or not {"\n", "\0"}.isdisjoint(text):
        raise UnitError(
            "DP0123",
            f"`{text[:40]}` is not the path of a cgroup",
            "write it from the root of the cgroup tree, such as `/machine.slice`",
        )
    return "/" + text.strip("/")


_read_expression, _expression_schema = scalar(_regular_expression, r"[\s\S]+")
_read_cgroup, _cgroup_schema = scalar(
    _cgroup, r"(?:/(?!\.\.(?:/|(?![\s\S])))[^/\n\u0000]*)+", example="/machine.slice"
)

Expression: TypeAlias = Annotated[str, _read_expression, _expression_schema]
Cgroup: TypeAlias = Annotated[str, _read_cgroup, _cgroup_schema]


class AddressRange(Model):
    """Addresses in bytes, the end is exclusive."""

    start: Address
    """The first address."""
    end: Address
    """The first address that no longer belongs to it."""


class ProcessSelector(Model):
    """Which processes; all given conditions must hold, and all matching processes count."""

    name: Text | None = None
    """Its name as `ps -o comm` shows it, or the base name of its executable."""
    cmdline: Expression | None = None
    """A regular expression that is found in its command line."""
    exe: Text | None = None
    """The path of its executable, or a pattern with `*`."""
    user: Text | None = None
    """Its user, by name or number."""
    cgroup: Cgroup | None = None
    """The cgroup that it is in, or below."""
    pid: Pid | None = None
    """Its process id."""


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
