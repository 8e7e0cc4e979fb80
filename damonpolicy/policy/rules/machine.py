"""Rules that look at the machine: whatever a policy names has to exist."""

from __future__ import annotations

from dataclasses import replace

from damonpolicy.base.diagnostics import did_you_mean
from damonpolicy.base.units import format_cpulist
from damonpolicy.kernel.system import cgroups, memory, numa
from damonpolicy.kernel.system.machine import Machine
from damonpolicy.kernel.system.processes import Selector, find, inner_id, numbered
from damonpolicy.kernel.system.psi import has_pressure
from damonpolicy.policy.model.filters import Filter, Match, Memcg
from damonpolicy.policy.model.kdamond import Kdamond
from damonpolicy.policy.model.sample import NodeCpus
from damonpolicy.policy.model.schemes import Scheme
from damonpolicy.policy.model.targets import Target
from damonpolicy.policy.reading.read import Cursor
from damonpolicy.policy.rules import bounds
from damonpolicy.policy.rules.filters import inside
from damonpolicy.policy.rules.rule import Findings, readable, rule

__all__ = ("check_kdamond",)


_WAIT = "`when_absent: wait` lets the kdamond wait for one"
_FOR_NOW = ("DP0301", "DP0303", "DP0304", "DP0310")
"""Cgroups and nodes come and go."""


@rule
def check_kdamond(
    kdamond: Kdamond, at: Cursor, machine: Machine, *, served: bool = False
) -> Findings:
    """Yield the names in a kdamond that this machine lacks.

    A name that may appear later is no error if somebody waits for it: a service, if ``served``.
    """
    waits = served or kdamond.known("when_absent") == "wait"
    for each in _needed(kdamond, at, machine):
        if waits and each.code in _FOR_NOW:
            message = f"{each.message}: it is waited for"
            yield replace(each, severity="warning", message=message)
        else:
            yield each
    yield from _threads(kdamond, at("accesses"), machine)
    yield from _cpus(kdamond, at("accesses"), machine)
    if any(target.known("regions") is None for target in kdamond.known("targets", ())):
        yield from bounds.check_sizes(kdamond, at, machine)
    yield from _addresses(kdamond, at("schemes"), machine)


@rule
def _needed(kdamond: Kdamond, at: Cursor, machine: Machine) -> Findings:
    for index, target in enumerate(kdamond.known("targets", ())):
        yield from _target(kdamond, target, at("targets", index), machine)
    yield from _processes(kdamond, at("targets"), machine)
    yield from _numbers(kdamond, at("schemes"), machine)
    for index, probe in readable(kdamond.known("probes", ()), "filters"):
        for number, each in enumerate(probe.filters):
            yield from _memcg(each, at("probes", index, "filters", number), machine)
    for index, scheme in enumerate(kdamond.known("schemes", ())):
        place = at("schemes", index)
        yield from _destinations(scheme, place("to"), machine)
        for number, each in enumerate(scheme.known("filters", ())):
            yield from _memcg(each, place("filters", number), machine)
        yield from _goals(scheme, place("quota", "goals"), machine)


@rule
def _target(kdamond: Kdamond, target: Target, place: Cursor, machine: Machine) -> Findings:
    node, process = target.known("numa_node"), target.known("process")
    if node is not None:
        yield from _node(node, place("numa_node"), machine)
    if process is not None and process.known("cgroup") is not None:
        yield from _cgroup(process.cgroup, place("process", "cgroup"), machine)
    if process is not None and (unit := process.known("unit")) is not None:
        yield from _cgroup(cgroups.in_unit(unit), place("process", "unit"), machine, unit=unit)
    if kdamond.ops == "paddr" and target.regions:
        ram = memory.system_ram(machine)
        for number, region in readable(target.regions, "start", "end"):
            if not any(region.start < end and start < region.end for start, end in ram):
                message = "there is no System RAM in this region"
                yield place("regions", number).value.error("DP0306", message, "see /proc/iomem")


@rule
def _addresses(kdamond: Kdamond, at: Cursor, machine: Machine) -> Findings:
    """Warn of filters on unmonitored addresses, which match nothing; memory may be added."""
    given = [
        (each.inner.addr, inside(each, at(index, "filters", number))("addr").value)
        for index, scheme in readable(kdamond.schemes, "filters")
        for number, each in readable(scheme.filters, "given", "verb")
        if isinstance(each.inner, Match) and each.inner.addr is not None
    ]
    monitored = bounds.ranges(kdamond, machine) if given else None
    for addr, span in given if monitored else ():
        if not any(addr.start < end and start < addr.end for start, end in monitored or ()):
            hint = "see /proc/iomem for System RAM, or change its `targets`"
            yield span.warning("DP0306", "the kdamond monitors nothing in this range", hint)


@rule
def _processes(kdamond: Kdamond, at: Cursor, machine: Machine) -> Findings:
    """Warn of missing targets beside existing ones, as they would be left out silently."""
    given = [
        (index, Selector(**each.process.conditions))
        for index, each in enumerate(kdamond.targets)
        if each.process is not None
    ]
    # where all are absent, binding reports it, unless the kdamond is to wait for one
    absent = [(index, each) for index, each in given if len(given) > 1 and not find(machine, each)]
    for index, each in absent if len(absent) < len(given) else ():
        message = f"no process matches `{each}` now: it is not monitored"
        yield at(index).value.warning("DP0305", message, "others of this kdamond are")


@rule
def _numbers(kdamond: Kdamond, at: Cursor, machine: Machine) -> Findings:
    """Warn of filters on targets without a process, which would silently match nothing."""
    wanted = [
        (each.inner.known("target"), inside(each, at(index, "filters", number))("target").value)
        for index, scheme in readable(kdamond.schemes, "filters")
        for number, each in readable(scheme.filters, "inner")
        if isinstance(each.inner, Match) and each.inner.known("target") is not None
    ]
    if kdamond.ops == "paddr" or not wanted:
        return
    found = {
        (process.pid, process.start)
        for each in kdamond.targets
        if each.process is not None
        for process in find(machine, Selector(**each.process.conditions))
    }
    for number, span in wanted if found else ():
        if number >= len(found):
            several = "es match" if len(found) > 1 else " matches"
            message = f"there is no target {number} now: {len(found)} process{several}"
            hint = "targets are numbered from 0, in the order of `targets`"
            yield span.warning("DP0235", message, hint)


@rule
def _destinations(scheme: Scheme, at: Cursor, machine: Machine) -> Findings:
    if isinstance(scheme.to, tuple):
        for index, each in readable(scheme.to, "node"):
            yield from _node(each.node, at(index, "node"), machine)
    elif scheme.to is not None:
        yield from _node(scheme.to, at, machine)


@rule
def _goals(scheme: Scheme, at: Cursor, machine: Machine) -> Findings:
    for index, goal in enumerate(scheme.limits.goals):
        place, node, cgroup = at(index), goal.known("node"), goal.known("cgroup")
        if node is not None:
            # a goal on a missing node is a NULL dereference on 6.16 to 6.19 (si_meminfo_node())
            yield from _node(node, place("node"), machine)
        if cgroup is not None:
            yield from _cgroup(cgroup, place("cgroup"), machine, counted=True)
        if goal.known("metric") == "some_mem_psi_us" and not has_pressure(machine):
            message = "the kernel does not measure memory pressure, so this goal reads 0 for ever"
            yield place("metric").value.error("DP0308", message, "boot with `psi=1`")


@rule
def _node(node: int, at: Cursor, machine: Machine, *, memory_needed: bool = True) -> Findings:
    online = numa.nodes(machine)
    if node not in online:
        message = f"there is no node {node}"
        yield at.value.error("DP0301", message, f"this machine has {_plural('node', online)}")
    elif memory_needed and not memory.node_ram(machine, node):
        useful = tuple(each for each in online if memory.node_ram(machine, each))
        hint = f"memory is on {_plural('node', useful)}" if useful else ""
        yield at.value.error("DP0310", f"node {node} has no memory", hint)


def _plural(what: str, numbers: tuple[int, ...]) -> str:
    return f"{what}{'s' if len(numbers) > 1 else ''} {format_cpulist(numbers)}"


def _units(name: str, machine: Machine) -> str:
    """Return the hint with an existing unit of a similar name."""
    every = (each.rpartition("/")[2] for each in cgroups.matching(machine, cgroups.in_unit("*")))
    units = [each for each in every if each.endswith((".service", ".scope", ".slice"))]
    return did_you_mean(name, units) or _WAIT


def _near(pattern: str, machine: Machine) -> str:
    """Return the hint with the existing cgroups near a pattern."""
    parent = pattern.rpartition("/")[0]
    names = cgroups.children(machine, parent) if not cgroups.is_pattern(parent) else []
    listed = ", ".join(f"`{parent}/{each}`" for each in sorted(names)[:8])
    return f"there are {listed}" if listed else _WAIT


def _similar(path: str, machine: Machine) -> str:
    """Return the hint with the cgroup that a missing one may stand for."""
    short = path
    if f"{path}/".startswith(f"{cgroups.MOUNT}/"):
        short = path.removeprefix(cgroups.MOUNT) or "/"
    if short != path and cgroups.exists(machine, short):
        return f"write `{short}`"
    parent, _, name = short.rpartition("/")
    beside = cgroups.children(machine, parent or "/")
    if name in beside:  # a directory of that name exists, but is not a cgroup
        return "cgroups of version 2 are needed: see `damonpolicy doctor`"
    return did_you_mean(name, beside, before=f"{parent}/")


@rule
def _cgroup(
    path: str, at: Cursor, machine: Machine, *, unit: str = "", counted: bool = False
) -> Findings:
    if not cgroups.exists(machine, path):
        if unit:
            message, hint = f"no unit `{unit}` runs", _units(unit, machine)
        elif cgroups.is_pattern(path):
            message, hint = f"no cgroup matches `{path}`", _near(path, machine)
        else:
            message, hint = f"there is no cgroup `{path}`", _similar(path, machine)
        yield at.value.error("DP0303", message, hint)
    elif counted and not cgroups.subtree(machine, path):
        message = f"the memory controller does not count for the cgroup `{path}`"
        hint = "add `+memory` to cgroup.subtree_control of its parent"
        yield at.value.error("DP0304", message, hint)


@rule
def _memcg(each: Filter, at: Cursor, machine: Machine) -> Findings:
    inner = each.inner
    if isinstance(inner, Match) and inner.memcg is not None:
        place = inside(each, at)("memcg")
        memcg, unit = inner.memcg, ""
        if isinstance(memcg, Memcg):
            unit = "" if memcg.path else memcg.unit or ""
            place = place("path" if memcg.path else "unit")
        path = memcg.where if isinstance(memcg, Memcg) else memcg
        yield from _cgroup(path, place, machine, unit=unit, counted=True)


@rule
def _threads(kdamond: Kdamond, at: Cursor, machine: Machine) -> Findings:
    """Check threads, which the kernel compares by the number in their own pid namespace.

    Of the development tree: mm/memory.c reports task_pid_vnr() of who faults; seen in a guest.
    """
    accesses = kdamond.accesses
    threads = (accesses and accesses.threads) or ()
    found = numbered(machine, threads)
    for index, thread in enumerate(threads):
        span, inner = at("threads", index).value, inner_id(machine, thread)
        if len(found[thread]) > 1:
            listed = ", ".join(map(str, found[thread]))
            message = (
                f"{len(found[thread])} threads have the number {thread} in their pid namespaces"
            )
            yield span.warning("DP0346", message, f"accesses of all of them count: {listed}")
        elif found[thread] or inner == thread:
            continue
        elif inner:
            message = f"the kernel knows thread {thread} as {inner}, its number in a container"
            hint = f"write `{inner}`: the last number of `NSpid` in /proc/{thread}/status"
            yield span.error("DP0345", message, hint)
        else:
            message = f"there is no thread {thread} now: none of its accesses counts"
            hint = "a program that was started again has other threads"
            yield span.warning("DP0305", message, hint)


@rule
def _cpus(kdamond: Kdamond, at: Cursor, machine: Machine) -> Findings:
    accesses = kdamond.accesses
    if accesses is None or accesses.cpus is None:
        return
    if isinstance(accesses.cpus, NodeCpus):
        node, place = accesses.cpus.numa_node, at("cpus", "numa_node")
        yield from _node(node, place, machine, memory_needed=False)
        if node in numa.nodes(machine) and not numa.cpus_of(machine, node):
            message = f"node {node} has no CPU"
            yield place.value.error("DP0302", message, "name a node whose CPUs could access memory")
        return
    possible = numa.possible_cpus(machine)
    missing = [cpu for cpu in accesses.cpus if cpu not in possible]
    if missing:
        verb = "are" if len(missing) > 1 else "is"
        message = f"there {verb} no {_plural('CPU', tuple(missing))}"
        hint = f"this machine has {_plural('CPU', possible)}"
        yield at("cpus").value.error("DP0302", message, hint)
