"""Binding of compiled kdamonds to the current machine: processes, cgroups, memory.

Standard library only: the same is done at each apply, rollback and reload.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field

from damonpolicy.base.diagnostics import closest, did_you_mean
from damonpolicy.base.errors import DamonPolicyError, ExitCode, KernelLacks
from damonpolicy.base.lazy import dataclass
from damonpolicy.kernel.damon.directory import Numbered
from damonpolicy.kernel.damon.features import first_kernel
from damonpolicy.kernel.damon.tree import cgroup_paths
from damonpolicy.kernel.damon.view import Filter, Kdamond, Region, Target
from damonpolicy.kernel.system import memory, processes
from damonpolicy.kernel.system.cgroups import exists, identities, is_pattern, matching, subtree
from damonpolicy.kernel.system.machine import Machine
from damonpolicy.plan.ir import CompiledKdamond, FilterLine, Member
from damonpolicy.plan.missing import Lack, cgroups_of_filters, lacks, without

__all__ = ("Absent", "Bound", "Finder", "Waits", "bind", "members", "stated")

Finder = Callable[[Machine, processes.Selector], Sequence[processes.Process]]
"""A function that returns the processes that match a selector."""


class Absent(DamonPolicyError):
    """A process, cgroup, node or memory that the kdamond needs is missing."""

    exit_code = ExitCode.INVALID
    can_retry = True
    code = "DP0305"


@dataclass(frozen=True, slots=True)
class Bound:
    """A kdamond's complete configuration on this machine."""

    kdamond: CompiledKdamond
    files: dict[str, str]
    members: tuple[Member, ...] = ()
    """The monitored processes, in the order of the kernel's targets."""
    cgroups: Mapping[str, int] = field(default_factory=dict)
    """The cgroups that the paths in ``files`` mean now."""
    left_out: tuple[str, ...] = ()
    """Missing cgroups, whose filters are left out until they exist."""


@dataclass(frozen=True, slots=True)
class Waits:
    """A kdamond that cannot run yet, and what it waits for, in words."""

    what: str


def bind(
    kdamond: CompiledKdamond,
    machine: Machine,
    current: Sequence[Member] = (),
    *,
    find: Finder = processes.find,
    waits: bool = False,
) -> Bound | Waits:
    """Look everything up, or return what the kdamond has to wait for.

    ``current`` are the processes that the running kdamond monitors: those that still match keep
    their order, because the kernel matches targets by index. ``find`` looks processes up. With
    ``waits`` every kdamond waits, as somebody will look again; and a filter on a missing cgroup is
    left out, if that means the same for all other memory.

    Raises Absent if something is missing; its ``about`` is the part that names it.
    """
    files = dict(kdamond.files)
    members: tuple[Member, ...] = ()
    gone = cgroups_of_filters(kdamond, machine)
    less = without(kdamond.filters, gone) if gone and waits else None
    filters = kdamond.filters if less is None else less
    missing = list(lacks(kdamond, machine))
    if less is None:
        missing += [Lack.cgroup(path, part) for path, part in gone.items()]
    if kdamond.ops == "paddr" and not missing:
        missing += _physical(kdamond, machine, files)
    if missing:
        return _waits(kdamond, missing[0], waits=waits)
    if kdamond.ops != "paddr":
        found = _processes(kdamond, machine, find)
        if not found:
            if kdamond.wait or waits:
                return Waits(_awaited(kdamond, machine))
            raise _no_process(kdamond, machine)
        members = tuple(
            sorted(found, key=lambda each: current.index(each) if each in current else len(current))
        )
        listed = [_process(kdamond, member[0], found[member]) for member in members]
        files |= Kdamond().targets.listing(listed)
    for directory, lines in filters.items():
        try:
            _filters(directory, lines, machine, files)
        except (Absent, KernelLacks) as error:
            raise _about(error, kdamond, directory) from None
    which = identities(machine, sorted(cgroup_paths(files)))
    return Bound(kdamond, files, members, which, tuple(gone))


def _waits(kdamond: CompiledKdamond, lack: Lack, *, waits: bool) -> Waits:
    if kdamond.wait or waits:
        return Waits(lack.what)
    hint = "`when_absent: wait` lets the kdamond wait for it"
    raise _about(Absent(lack.message, hint=hint, code=lack.code), kdamond, lack.part)


def _about(error: DamonPolicyError, kdamond: CompiledKdamond, part: str) -> DamonPolicyError:
    error.about = ((kdamond.full_name, part),)
    return error


def _physical(kdamond: CompiledKdamond, machine: Machine, files: dict[str, str]) -> list[Lack]:
    """Put the regions of physical memory into ``files``, or return what is missing."""
    ranges: list[memory.Range] = []
    lacking = []
    for index, target in enumerate(kdamond.targets):
        if target.system_ram:
            ranges += memory.system_ram(machine)
        elif target.node >= 0:
            mine = memory.node_ram(machine, target.node)
            if not mine:
                what = f"memory of node {target.node}"
                message = f"there is no {what}"
                lacking.append(Lack(what, message, f"targets/{index}", "DP0310"))
            ranges += mine
        else:
            ranges += target.regions
    if lacking and not ranges:
        return lacking
    if not ranges:
        message = f"`{kdamond.full_name}` would monitor no memory at all"
        raise _about(Absent(message, hint="see /proc/iomem for System RAM"), kdamond, "targets/0")
    _memory(kdamond, ranges, files)
    return []


def _memory(
    kdamond: CompiledKdamond, ranges: Sequence[memory.Range], files: dict[str, str]
) -> None:
    unit = Kdamond(files).addr_unit.number
    # named regions stay as they are; touching regions of RAM and nodes are united
    apart = all(target.regions for target in kdamond.targets)
    aligned = _aligned(ranges, max(unit, memory.PAGE), unit, apart=apart)
    files |= Kdamond().targets.listing([_target(kdamond, 0, aligned)])


def _process(kdamond: CompiledKdamond, pid: int, regions: Sequence[memory.Range]) -> dict[str, str]:
    return _target(kdamond, pid, _aligned(regions, memory.PAGE, apart=True))


def _target(kdamond: CompiledKdamond, pid: int, regions: Sequence[memory.Range]) -> dict[str, str]:
    """Return the files of a target's directory."""
    target, region = Target(), Region()
    bounds = (region.start.path, region.end.path)
    listed = [dict(zip(bounds, map(str, each), strict=True)) for each in regions]
    files = {target.pid.path: str(pid), **kdamond.target_files}
    return files | target.regions.listing(listed)


def stated(kdamond: CompiledKdamond) -> dict[str, str]:
    """Return the files of targets that the policy alone determines: regions, or pids."""
    unit = Kdamond(kdamond.files).addr_unit
    files = {unit.path: unit.text}
    ranges = [each for target in kdamond.targets for each in target.regions]
    if kdamond.ops == "paddr":
        if all(target.regions for target in kdamond.targets):
            _memory(kdamond, ranges, files)
        return files
    pids = [target.selector.pid if target.selector else 0 for target in kdamond.targets]
    known = zip(pids, kdamond.targets, strict=True)
    named = [_process(kdamond, pid, target.regions) if pid else {} for pid, target in known]
    return files | Kdamond().targets.listing(named)


def _aligned(
    ranges: Sequence[memory.Range], grain: int, unit: int = 1, *, apart: bool
) -> tuple[memory.Range, ...]:
    """Return the ranges in units, widened to whole grains as the kernel does.

    The kernel refuses regions that share a page, and 6.18 divides by the size of an empty one
    (mm/damon/core.c: damon_set_regions()); it takes regions that only touch, and ``apart`` keeps
    them.
    """
    whole = [(start // grain * grain, -(-end // grain) * grain) for start, end in ranges]
    return tuple((start // unit, end // unit) for start, end in memory.united(whole, apart=apart))


def members(
    kdamond: CompiledKdamond, machine: Machine, find: Finder = processes.find
) -> frozenset[Member]:
    """Return the processes for a kdamond to monitor."""
    return frozenset(_processes(kdamond, machine, find))


def _processes(
    kdamond: CompiledKdamond, machine: Machine, find: Finder
) -> dict[Member, tuple[memory.Range, ...]]:
    """Return the matching processes in the policy's order, each once, with its regions."""
    found: dict[Member, tuple[memory.Range, ...]] = {}
    for target in kdamond.targets:
        if target.selector is not None:
            for process in find(machine, target.selector):
                found.setdefault((process.pid, process.start), target.regions)
    return found


def _awaited(kdamond: CompiledKdamond, machine: Machine) -> str:
    """Describe what a kdamond without any process waits for."""
    selectors = [each.selector for each in kdamond.targets if each.selector]
    missing = [
        each.cgroup for each in selectors if each.cgroup and not exists(machine, each.cgroup)
    ]
    return f"the cgroup `{missing[0]}`" if len(missing) == len(selectors) else "a process"


def _no_process(kdamond: CompiledKdamond, machine: Machine) -> DamonPolicyError:
    selectors = " or ".join(f"`{each.selector}`" for each in kdamond.targets if each.selector)
    wanted = [each.selector.name for each in kdamond.targets if each.selector]
    names = processes.known_names(machine)
    near = [name for name in names if any(part and part[:4] in name for part in wanted)]
    hint = "`when_absent: wait` lets the kdamond wait for one"
    if near and near[0] in wanted:
        hint = f"`{near[0]}` is there, but not with all of this; {hint}"
    elif near:
        hint = f"there is `{near[0]}`; {hint}"
    else:
        meant = (did_you_mean(name, names) for name in wanted if closest(name, names))
        hint = next(meant, hint)
    exe = any(each.selector and each.selector.exe for each in kdamond.targets)
    if exe and (unknown := processes.unknown(machine)):
        who = "1 process runs" if unknown == 1 else f"{unknown} processes run"
        hint = f"what {who} may not be read: run as root of the machine itself"
    message = f"no process matches {selectors} of `{kdamond.full_name}`"
    first = next(index for index, each in enumerate(kdamond.targets) if each.selector)
    return _about(Absent(message, hint=hint), kdamond, f"targets/{first}")


def _filters(
    directory: str, lines: Sequence[FilterLine], machine: Machine, files: dict[str, str]
) -> None:
    each = [
        {**line.files, line.path_file: path} if path else line.files
        for line in lines
        for path in _paths(line, machine)
    ]
    files |= Numbered({}, directory, Filter).listing(each)


def _paths(line: FilterLine, machine: Machine) -> list[str]:
    path = line.path
    if not line.subtree and not is_pattern(path):
        return [path]
    found = subtree(machine, path) if line.subtree else matching(machine, path)
    if not found:  # it vanished just now: a list without it could allow everything
        raise Absent(Lack.cgroup(path, "").message, code="DP0303")
    if len(found) > 1 and not line.filter.matching.yes:
        message = f"this kernel cannot filter on `{path}` and the cgroups below it"
        hint = f"{first_kernel('filter.allow')}; `subtree: false` takes one cgroup only"
        raise KernelLacks(message, hint=hint)
    return found
