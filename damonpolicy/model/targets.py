"""``targets/``: what is monitored."""

from __future__ import annotations

import re
from typing import Annotated, TypeAlias

from damonpolicy.model.scalars import Address, Flag, Model, Node, Pid, Text, scalar
from damonpolicy.units import UnitError

__all__ = ("AddressRange", "ProcessSelector", "Target")


def _regular_expression(text: str) -> str:
    if len(text) > 200:
        raise UnitError("DP0119", "this regular expression is longer than 200 characters")
    try:
        re.compile(text)
    except re.error as error:
        raise UnitError(
            "DP0124",
            f"`{text[:40]}` is not a regular expression: {error}",
            "the syntax is Python's",
        ) from error
    return text


def _cgroup(text: str) -> str:
    if not text.startswith("/") or ".." in text.split("/") or "\n" in text:
        raise UnitError(
            "DP0123",
            f"`{text[:40]}` is not the path of a cgroup",
            "write it from the root of the cgroup tree, such as `/machine.slice`",
        )
    return "/" + text.strip("/")


_read_expression, _expression_schema = scalar(_regular_expression, r"[\s\S]+")
_read_cgroup, _cgroup_schema = scalar(_cgroup, r"/.*", example="/machine.slice")

Expression: TypeAlias = Annotated[str, _read_expression, _expression_schema]
Cgroup: TypeAlias = Annotated[str, _read_cgroup, _cgroup_schema]


class AddressRange(Model):
    """Addresses in bytes, the end is exclusive."""

    start: Address
    end: Address


class ProcessSelector(Model):
    """Which processes; all given conditions must hold, and all matching processes count."""

    name: Text | None = None
    cmdline: Expression | None = None
    exe: Text | None = None
    user: Text | None = None
    cgroup: Cgroup | None = None
    pid: Pid | None = None


class Target(Model):
    """Physical memory (``system_ram``, ``numa_node`` or ``regions``), or processes."""

    system_ram: Flag | None = None
    numa_node: Node | None = None
    regions: tuple[AddressRange, ...] | None = None
    process: ProcessSelector | None = None
