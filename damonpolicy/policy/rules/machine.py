"""Rules that look at the machine: whatever a policy names has to exist."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from damonpolicy.base.diagnostics import Diagnostic, did_you_mean
from damonpolicy.base.units import format_cpulist
from damonpolicy.kernel.system import cgroups, memory, numa
from damonpolicy.kernel.system.machine import Machine
from damonpolicy.kernel.system.processes import Selector, find, inner_id, numbered
from damonpolicy.kernel.system.psi import has_pressure
from damonpolicy.policy.model.filters import Filter, Match, Memcg
from damonpolicy.policy.model.kdamond import Kdamond
from damonpolicy.policy.model.sample import NodeCpus
from damonpolicy.policy.model.schemes import Scheme
from damonpolicy.policy.model.targets import ProcessSelector, Target
from damonpolicy.policy.reading.read import Cursor
from damonpolicy.policy.rules import never
from damonpolicy.policy.rules.speaking import readable, rule

__all__ = ("check_kdamond",)


_WAIT = "`when_absent: wait` lets the kdamond wait for one"
_FOR_NOW = ("DP0301", "DP0303", "DP0304", "DP0310")
"""Cgroups and nodes come and go."""


@rule
def check_kdamond(
    kdamond: Kdamond, at: Cursor, machine: Machine, *, served: bool = False
) -> Iterator[Diagnostic]:
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
        yield from never.check_sizes(kdamond, at, machine)
    yield from _outside(kdamond, at("schemes"), machine)


@rule
def _needed(kdamond: Kdamond, at: Cursor, machine: Machine) -> Iterator[Diagnostic]:
    yield from _targets(kdamond, at("targets"), machine)
    yield from _absent(kdamond, at("targets"), machine)
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
def _targets(kdamond: Kdamond, at: Cursor, machine: Machine) -> Iterator[Diagnostic]:
    for index, target in enumerate(kdamond.targets):
        yield from _target(kdamond, target, at(index), machine)


@rule
def _target(
    kdamond: Kdamond, target: Target, place: Cursor, machine: Machine
) -> Iterator[Diagnostic]:
    node, process = target.known("numa_node"), target.known("process")
    if node is not None:
        yield from _node(node, place("numa_node"), machine, memory_needed=True)
    if process is not None and process.known("cgroup") is not None:
        yield from _cgroup(process.cgroup, place("process", "cgroup"), machine)
    if process is not None and process.known("unit") is not None:
        yield from _cgroup(cgroups.in_unit(process.unit), place("process", "unit"), machine)
    if kdamond.ops == "paddr" and target.regions:
        ram = memory.system_ram(machine)
        for number, region in readable(target.regions, "start", "end"):
            if not any(region.start < end and start < region.end for start, end in ram):
                message = "there is no System RAM in this region"
                hint = "see /proc/iomem"
                yield Diagnostic.error("DP0306", place("regions", number).value, message, hint=hint)


@rule
def _outside(kdamond: Kdamond, at: Cursor, machine: Machine) -> Iterator[Diagnostic]:
    """Warn of filters on unmonitored addresses, which match nothing; memory may be added."""
    given = [
        (index, number, each, each.inner.addr)
        for index, scheme in readable(kdamond.schemes, "filters")
        for number, each in readable(scheme.filters, "given", "verb")
        if isinstance(each.inner, Match) and each.inner.addr is not None
    ]
    monitored = never.ranges(kdamond, machine) if given else None
    for index, number, each, addr in given if monitored else ():
        if not any(addr.start < end and start < addr.end for start, end in monitored or ()):
            place = at(index, "filters", number, each.verb)
            message = "the kdamond monitors nothing in this range"
            hint = "see /proc/iomem for System RAM, or change its `targets`"
            span = (place("not", "addr") if each.negated else place("addr")).value
            yield Diagnostic.warning("DP0306", span, message, hint=hint)


@rule
def _absent(kdamond: Kdamond, at: Cursor, machine: Machine) -> Iterator[Diagnostic]:
    """Warn of missing targets beside existing ones, as they would be left out silently."""
    given = [
        (index, _selector(each.process))
        for index, each in enumerate(kdamond.targets)
        if each.process is not None
    ]
    # where all are absent, binding reports it, unless the kdamond is to wait for one
    absent = [(index, each) for index, each in given if len(given) > 1 and not find(machine, each)]
    if len(absent) == len(given):
        return
    for index, each in absent:
        message = f"no process matches `{each}` now: it is not monitored"
        hint = "others of this kdamond are"
        yield Diagnostic.warning("DP0305", at(index).value, message, hint=hint)


def _selector(process: ProcessSelector) -> Selector:
    return Selector(**process.conditions)


@rule
def _numbers(kdamond: Kdamond, at: Cursor, machine: Machine) -> Iterator[Diagnostic]:
    """Warn of filters on targets without a process, which would silently match nothing."""
    selectors = [each.process for each in kdamond.targets if each.process is not None]
    if kdamond.ops == "paddr" or not any(
        each.inner.target is not None
        for _, scheme in readable(kdamond.schemes, "filters")
        for _, each in readable(scheme.filters, "inner")
        if isinstance(each.inner, Match) and each.inner.known("target") is not None
    ):  # fmt: skip
        return
    found = {
        (process.pid, process.start)
        for each in selectors
        for process in find(machine, _selector(each))
    }
    for index, scheme in readable(kdamond.schemes, "filters"):
        for number, each in readable(scheme.filters, "inner"):
            wanted = each.inner.known("target") if isinstance(each.inner, Match) else None
            if wanted is not None and found and wanted >= len(found):
                place = at(index, "filters", number)
                inside = place(each.verb, "not") if each.negated else place(each.verb)
                several = "es match" if len(found) > 1 else " matches"
                message = f"there is no target {wanted} now: {len(found)} process{several}"
                hint = "targets are numbered from 0, in the order of `targets`"
                span = inside("target").value
                yield Diagnostic.warning("DP0235", span, message, hint=hint)


@rule
def _destinations(scheme: Scheme, at: Cursor, machine: Machine) -> Iterator[Diagnostic]:
    if isinstance(scheme.to, tuple):
        for index, each in readable(scheme.to, "node"):
            yield from _node(each.node, at(index, "node"), machine, memory_needed=True)
    elif scheme.to is not None:
        yield from _node(scheme.to, at, machine, memory_needed=True)


@rule
def _goals(scheme: Scheme, at: Cursor, machine: Machine) -> Iterator[Diagnostic]:
    for index, goal in enumerate(scheme.limits.goals):
        place, node, cgroup = at(index), goal.known("node"), goal.known("cgroup")
        if node is not None:
            # a goal on a missing node is a NULL dereference on 6.16 to 6.19 (si_meminfo_node())
            yield from _node(node, place("node"), machine, memory_needed=True)
        if cgroup is not None:
            yield from _cgroup(cgroup, place("cgroup"), machine, counted=True)
        if goal.known("metric") == "some_mem_psi_us" and not has_pressure(machine):
            message = "the kernel does not measure memory pressure, so this goal reads 0 for ever"
            hint = "boot with `psi=1`"
            yield Diagnostic.error("DP0308", place("metric").value, message, hint=hint)


@rule
def _node(
    node: int, at: Cursor, machine: Machine, *, memory_needed: bool = False
) -> Iterator[Diagnostic]:
    online = numa.nodes(machine)
    if node not in online:
        message = f"there is no node {node}"
        hint = f"this machine has {_plural('node', online)}"
        yield Diagnostic.error("DP0301", at.value, message, hint=hint)
    elif memory_needed and not memory.node_ram(machine, node):
        useful = tuple(each for each in online if memory.node_ram(machine, each))
        hint = f"memory is on {_plural('node', useful)}" if useful else ""
        yield Diagnostic.error("DP0310", at.value, f"node {node} has no memory", hint=hint)


def _plural(what: str, numbers: tuple[int, ...]) -> str:
    return f"{what}{'s' if len(numbers) > 1 else ''} {format_cpulist(numbers)}"


def _beside(pattern: str, machine: Machine) -> str:
    """Return the hint with the existing cgroups near a pattern."""
    parent = pattern.rpartition("/")[0]
    if parent == cgroups.in_unit("").rstrip("/"):
        every = (each.rpartition("/")[2] for each in cgroups.matching(machine, parent))
        units = [each for each in every if each.endswith((".service", ".scope", ".slice"))]
        return did_you_mean(pattern.rpartition("/")[2], units) or _WAIT
    names = cgroups.children(machine, parent) if not cgroups.is_pattern(parent) else []
    listed = ", ".join(f"`{parent}/{each}`" for each in sorted(names)[:8])
    return f"there are {listed}" if listed else _WAIT


@rule
def _cgroup(
    path: str, at: Cursor, machine: Machine, *, counted: bool = False
) -> Iterator[Diagnostic]:
    if not cgroups.exists(machine, path):
        inside = path
        if f"{path}/".startswith(f"{cgroups.MOUNT}/"):
            inside = path.removeprefix(cgroups.MOUNT) or "/"
        parent, _, name = inside.rpartition("/")
        near = did_you_mean(name, cgroups.children(machine, parent or "/"))
        hint = re.sub(r"`(.+?)`", lambda found: f"`{parent}/{found[1]}`", near)
        if f"`{inside}`" in hint:  # a directory of that name exists, but is not a cgroup
            hint = "cgroups of version 2 are needed: see `damonpolicy doctor`"
        if inside != path and cgroups.exists(machine, inside):
            hint = f"write `{inside}`"
        message = f"there is no cgroup `{path}`"
        if cgroups.is_pattern(path):
            unit = path.removeprefix(cgroups.in_unit(""))
            message = f"no cgroup matches `{path}`" if unit == path else f"no unit `{unit}` runs"
            hint = _beside(path, machine)
        yield Diagnostic.error("DP0303", at.value, message, hint=hint)
    elif counted and not cgroups.subtree(machine, path):
        message = f"the memory controller does not count for the cgroup `{path}`"
        hint = "add `+memory` to cgroup.subtree_control of its parent"
        yield Diagnostic.error("DP0304", at.value, message, hint=hint)


@rule
def _memcg(each: Filter, at: Cursor, machine: Machine) -> Iterator[Diagnostic]:
    inner = each.inner
    if isinstance(inner, Match) and inner.memcg is not None:
        place = at(each.verb, "not", "memcg") if each.negated else at(each.verb, "memcg")
        if isinstance(inner.memcg, Memcg):
            path, place = inner.memcg.where, place("path" if inner.memcg.path else "unit")
        else:
            path = inner.memcg
        yield from _cgroup(path, place, machine, counted=True)


@rule
def _threads(kdamond: Kdamond, at: Cursor, machine: Machine) -> Iterator[Diagnostic]:
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
            hint = f"accesses of all of them count: {listed}"
            yield Diagnostic.warning("DP0346", span, message, hint=hint)
        elif found[thread] or inner == thread:
            continue
        elif inner:
            message = f"the kernel knows thread {thread} as {inner}, its number in a container"
            hint = f"write `{inner}`: the last number of `NSpid` in /proc/{thread}/status"
            yield Diagnostic.error("DP0345", span, message, hint=hint)
        else:
            message = f"there is no thread {thread} now: none of its accesses counts"
            hint = "a program that was started again has other threads"
            yield Diagnostic.warning("DP0305", span, message, hint=hint)


@rule
def _cpus(kdamond: Kdamond, at: Cursor, machine: Machine) -> Iterator[Diagnostic]:
    accesses = kdamond.accesses
    if accesses is None or accesses.cpus is None:
        return
    if isinstance(accesses.cpus, NodeCpus):
        node, place = accesses.cpus.numa_node, at("cpus", "numa_node")
        yield from _node(node, place, machine)
        if node in numa.nodes(machine) and not numa.cpus_of(machine, node):
            hint = "name a node whose CPUs could access memory"
            yield Diagnostic.error("DP0302", place.value, f"node {node} has no CPU", hint=hint)
        return
    possible = numa.possible_cpus(machine)
    missing = [cpu for cpu in accesses.cpus if cpu not in possible]
    if missing:
        verb = "are" if len(missing) > 1 else "is"
        message = f"there {verb} no {_plural('CPU', tuple(missing))}"
        hint = f"this machine has {_plural('CPU', possible)}"
        yield Diagnostic.error("DP0302", at("cpus").value, message, hint=hint)
