"""The description of an emulated machine: the TOML format, and the default machine.

root = true                       # false: an ordinary user, who may not open DAMON's files
swap = "1GiB"                     # "0B": none, so that only pages of files can be paged out
without = []                      # settings that its kernel has not, such as
                                  # "/proc/sys/kernel/numa_balancing"

[[nodes]]                         # NUMA nodes, in their order
memory = "1GiB"
cpus = "0-1"                      # "" for a node of memory alone

[[processes]]
name = "qemu-system-x86_64"       # the kernel cuts it at 15 characters
pid = 811                         # optional, as all others: exe, cmdline, uid, cgroup
cgroup = "/machine.slice/vm-1.scope"
cpus = "0-1"                      # where it runs; default: everywhere
self = false                      # true: /proc/self leads here
inner_pid = 7                     # its id in a pid namespace of its own; default: it has none

[[processes.areas]]               # its memory, and how it is accessed
size = "256MiB"
rate = "80%"                      # of the 5 ms samples that find it accessed; default 0%
written = "50%"                   # of these accesses that write; default 0%
age = "30s"                       # for how long this has been so; default: for ever
node = 0                          # where it lies; default 0
anon = true                       # false: page cache
huge = false                      # true: in huge pages of 2 MiB
start = "0x7f0000000000"          # its first virtual address; default: after the last area

[[processes.areas.phases]]        # instead of `rate` and `age`: these in turn, again and again
for = "10m"
rate = "80%"
written = "50%"

[[cgroups]]                       # beside those of the processes
path = "/idle.slice"
memory = true                     # false: without the memory controller

[settings]                        # what files held before anyone changed them
"/sys/kernel/mm/ksm/run" = "1"

[modules]                         # kernel modules whose own kdamond runs at boot
damon_stat = true

[modules.damon_reclaim]           # or parameters, as on a kernel command line
enabled = "Y"
min_age = "30000000"

[users]
alice = 1000
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Any

from damonpolicy.base import bounded_io
from damonpolicy.base.errors import UsageError, reason_of
from damonpolicy.base.lazy import dataclass
from damonpolicy.base.recursion import deep
from damonpolicy.base.units import read_address, read_bytes, read_duration, read_percent
from damonpolicy.emulated.description import Table, between, cpus, exactly, real, whole

__all__ = ("DEFAULT", "Area", "Node", "Process", "Spec", "load", "read")


@dataclass(frozen=True, slots=True)
class Area:
    """A piece of a process' memory; sizes in bytes, ages in seconds, shares from 0 to 1."""

    size: int = 4096
    rate: float = 0.0
    written: float = 0.0
    age: float = float("inf")
    node: int = 0
    anon: bool = True
    huge: bool = False
    start: int = 0
    phases: tuple[tuple[float, float, float], ...] = ()
    """Seconds, and the shares then accessed and written; instead of one rate and age."""


@dataclass(frozen=True, slots=True)
class Process:
    """A process with memory."""

    name: str = "process"
    pid: int = 0
    exe: str = ""
    cmdline: str = ""
    uid: int = 0
    cgroup: str = "/"
    is_self: bool = False
    inner_pid: int = 0
    """Its id in a pid namespace of its own; 0 if it is in the machine's."""
    cpus: tuple[int, ...] = ()
    """The CPUs that it runs on; all if empty."""
    areas: tuple[Area, ...] = ()


@dataclass(frozen=True, slots=True)
class Node:
    """A NUMA node; ``memory`` in bytes."""

    memory: int = 1 << 30
    cpus: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Spec:
    """A whole machine."""

    nodes: tuple[Node, ...]
    processes: tuple[Process, ...] = ()
    cgroups: Mapping[str, bool] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    modules: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Each module's parameters at boot, such as ``enabled``."""
    users: Mapping[str, int] = field(default_factory=dict)
    root: bool = True
    swap: int = 1 << 30
    """Bytes of swap."""
    without: frozenset[str] = frozenset()
    """Settings that the kernel was built without."""


def _vm(number: int, pid: int, *areas: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": "qemu-system-x86_64",
        "exe": "/usr/bin/qemu-system-x86_64",
        "cmdline": f"/usr/bin/qemu-system-x86_64 -name guest=vm-{number} -m 512",
        "pid": pid,
        "uid": 64055,
        "cgroup": f"/machine.slice/vm-{number}.scope",
        "areas": list(areas),
    }


DEFAULT: Mapping[str, Any] = {
    "nodes": [{"memory": "1GiB", "cpus": "0-1"}, {"memory": "1GiB", "cpus": "2-3"}],
    "users": {"root": 0, "www-data": 33, "alice": 1000, "libvirt-qemu": 64055},
    "processes": [
        {
            "name": "systemd", "exe": "/usr/lib/systemd/systemd", "cmdline": "/sbin/init",
            "pid": 1, "cgroup": "/init.scope", "areas": [{"size": "12MiB"}],
        },
        {
            "name": "sshd", "exe": "/usr/sbin/sshd", "cmdline": "sshd: /usr/sbin/sshd -D",
            "pid": 412, "cgroup": "/system.slice/ssh.service", "areas": [{"size": "8MiB"}],
        },
        {
            "name": "nginx", "exe": "/usr/sbin/nginx", "cmdline": "nginx: worker process",
            "pid": 530, "uid": 33, "cgroup": "/system.slice/nginx.service",
            "areas": [
                {"size": "32MiB", "rate": "30%", "written": "10%"},
                {"size": "32MiB", "rate": "5%", "anon": False, "node": 1},
            ],
        },
        _vm(
            1, 811,
            {"size": "64MiB", "rate": "90%", "written": "60%"},
            {"size": "64MiB", "rate": "70%", "written": "30%", "node": 1},
            {"size": "128MiB", "rate": "20%"},
            {"size": "256MiB"},
        ),
        _vm(
            2, 815,
            {"size": "32MiB", "rate": "60%", "written": "50%", "node": 1},
            {"size": "480MiB", "node": 1},
        ),
        {
            "name": "bash", "exe": "/usr/bin/bash", "cmdline": "-bash", "pid": 902,
            "cgroup": "/user.slice", "self": True, "areas": [{"size": "4MiB"}],
        },
    ],
}  # fmt: skip
"""Two nodes, four CPUs, two virtual machines and a few other processes."""


def load(path: Path) -> Mapping[str, Any]:
    """Read a machine file; raises UsageError if it is missing or not TOML."""
    import tomllib  # a machine file is rare

    try:
        with deep():
            return tomllib.loads(bounded_io.text(path))
    except OSError as error:
        raise UsageError(f"cannot read the machine file `{path}`: {reason_of(error)}") from error
    except RecursionError as error:
        raise UsageError(f"the machine file `{path}` is nested too deeply") from error
    except ValueError as error:  # no TOML, no UTF-8, or a number of thousands of digits
        raise UsageError(f"the machine file `{path}` is not TOML: {error}") from error


_share = between(0, 1, real(read_percent), "a share lies between 0 and 1")
_seconds = between(0, float("inf"), real(read_duration, 1e6), "nothing is younger than 0 s")
_phase_seconds = between(
    0.001, float("inf"), real(read_duration, 1e6), "a phase has a millisecond or more"
)
_size = between(0, 1 << 40, whole(read_bytes), "an area has at most 1TiB")
_memory = between(128 << 20, 1 << 40, whole(read_bytes), "a node has 128MiB to 1TiB")
_swap = between(0, 1 << 40, whole(read_bytes), "there is at most 1TiB of swap")
_address = between(0, 1 << 47, whole(read_address), "addresses end at 128TiB")
_pid = between(0, 1 << 22, exactly(int), "a process' id is at most 4194304")
_id = between(0, (1 << 31) - 1, exactly(int), "a number is not negative, and has 31 bits")


_text, _truth = exactly(str), exactly(bool)


def _cgroup(value: object) -> str:
    path = "/" + str(exactly(str)(value)).strip("/")
    if ".." in path.split("/"):
        message = "a cgroup is named from the root of their tree"
        raise ValueError(message)
    return path


def read(description: Mapping[str, Any]) -> Spec:
    """Check a description; raises UsageError, with the place, for an invalid one."""
    table = Table(description, "")
    spec = Spec(
        nodes=tuple(_node(each) for each in table.each("nodes"))
        or tuple(_node(Table(each, "")) for each in DEFAULT["nodes"]),
        processes=tuple(_process(each) for each in table.each("processes")),
        cgroups=dict(_cgroup_table(each) for each in table.each("cgroups")),
        settings={
            path: str(value) for path, value in table.take("settings", exactly(dict), {}).items()
        },
        modules=_all(table, "modules", _parameters),
        users=_all(table, "users", _id) or dict(DEFAULT["users"]),
        root=table.take("root", _truth, True),
        swap=table.take("swap", _swap, 1 << 30),
        without=frozenset(map(_text, table.take("without", exactly(list), []))),
    )
    table.take("description", _text)
    table.end()
    _check(spec)
    return spec


def _check(spec: Spec) -> None:
    """Raise UsageError for an impossible machine."""
    cpus = [cpu for node in spec.nodes for cpu in node.cpus]
    if len(cpus) != len(set(cpus)):
        raise UsageError("a CPU of the machine belongs to two of its nodes")
    for process in spec.processes:
        missing = sorted(set(process.cpus).difference(cpus))
        if missing:
            raise UsageError(f"`{process.name}` runs on CPU {missing[0]}, which is not there")
        for area in process.areas:
            if not 0 <= area.node < len(spec.nodes):
                raise UsageError(f"`{process.name}` lies on node {area.node}, which is not there")
            if area.start + area.size > 1 << 47:
                raise UsageError(f"an area of `{process.name}` ends beyond 128TiB")


def _all(table: Table, key: str, reader: Any) -> dict[str, Any]:
    inner = Table(table.take(key, exactly(dict), {}), key)
    return {name: inner.take(name, reader) for name in inner.value}


def _parameters(value: object) -> dict[str, str]:
    """Return a module's parameters; a boolean sets `enabled`."""
    if isinstance(value, bool):
        return {"enabled": "Y" if value else "N"}
    words = {True: "Y", False: "N"}
    return {
        name: words[each] if isinstance(each, bool) else str(each)
        for name, each in exactly(dict)(value).items()
    }


_NODE = {"memory": _memory, "cpus": cpus}
_PROCESS = {
    "name": _text, "pid": _pid, "exe": _text, "cmdline": _text, "uid": _id, "cgroup": _cgroup,
    "self": _truth, "inner_pid": _pid, "cpus": cpus,
}  # fmt: skip
_AREA = {
    "size": _size, "rate": _share, "written": _share, "age": _seconds, "node": exactly(int),
    "anon": _truth, "huge": _truth, "start": _address,
}  # fmt: skip
"""Readers of the keys of tables."""


def _given(table: Table, readers: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a table says of some keys; others have the defaults of their class."""
    found = {key: table.take(key, reader) for key, reader in readers.items()}
    return {key: value for key, value in found.items() if key in table.value}


def _node(table: Table) -> Node:
    node = Node(**_given(table, _NODE))
    table.end()
    return node


def _cgroup_table(table: Table) -> tuple[str, bool]:
    found = table.take("path", _cgroup, "/"), table.take("memory", _truth, True)
    table.end()
    return found


def _process(table: Table) -> Process:
    given = _given(table, _PROCESS)
    areas = tuple(area(each.value, each.where) for each in table.each("areas"))
    table.end()
    return Process(is_self=given.pop("self", False), areas=areas, **given)


def _phase(table: Table) -> tuple[float, float, float]:
    readers = (("for", _phase_seconds, 1.0), ("rate", _share, 0.0), ("written", _share, 0.0))
    seconds, rate, written = (table.take(*each) for each in readers)
    table.end()
    return seconds, rate, written


def area(description: Mapping[str, Any], where: str = "area") -> Area:
    """Check the description of one area; raises UsageError."""
    table = Table(description, where)
    given = _given(table, _AREA)
    found = Area(**given, phases=tuple(_phase(each) for each in table.each("phases")))
    table.end()
    for key in ("rate", "written", "age") if found.phases else ():
        if key in table.value:
            raise UsageError(
                f"the machine's `{where}` has phases and `{key}`", hint="say it in each phase"
            )
    if found.size <= 0 or found.size % 4096:
        raise UsageError(f"the machine's `{where}.size` is not a whole number of pages")
    return found
