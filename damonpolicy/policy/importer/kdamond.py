"""Decompilation of a kdamond's directory to the policy language, for `import`.

The inverse of `compile`, as far as one exists. Anything that a policy cannot or may not say is left
out with a remark; compiling the result again checks that the rest is complete (`imported`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

from damonpolicy.base.units import UnitError, format_cpulist, read_cpulist
from damonpolicy.kernel.damon import view
from damonpolicy.kernel.damon.directory import Directory, Numbered
from damonpolicy.kernel.damon.tree import Tree
from damonpolicy.kernel.system import memory, numa
from damonpolicy.kernel.system.machine import Machine
from damonpolicy.policy.compile.plain import in_order, keys, plain_keys
from damonpolicy.policy.importer import filters, schemes
from damonpolicy.policy.importer.result import Decompiled
from damonpolicy.policy.model.kdamond import Kdamond

__all__ = ("kdamond",)

_SAMPLE, _AGGREGATION = 5_000, 100_000
_ORDER = ("cpus", "threads", "kind")


def kdamond(tree: Tree, name: str, names: Mapping[str, str], machine: Machine | None) -> Decompiled:
    """Return one slot's kdamond; ``names`` gives schemes and probes their names, by directory."""
    slot = view.Kdamond(tree)
    found = Decompiled(slot, names, machine, {"name": name})
    data = found.data
    data["ops"] = slot.ops.text
    data["targets"] = _targets(found)
    _accesses(found)
    plain_keys(data, tree.get)
    _intervals(found)
    _probes(found)
    listed = [schemes.scheme(found, each) for each in slot.schemes]
    _rename(listed)
    if listed:
        data["schemes"] = listed
    found.data = in_order(data, Kdamond)
    return found


def _rename(listed: list[dict[str, Any]]) -> None:
    """Number repeated names."""
    taken = {each["name"] for each in listed}
    for index, each in enumerate(listed):
        if each["name"] in [other["name"] for other in listed[:index]]:
            names = (f"{each['name']}-{number}" for number in count(2))
            each["name"] = next(name for name in names if name not in taken)
            taken.add(each["name"])


def _targets(found: Decompiled) -> list[dict[str, Any]]:
    targets = found.slot.targets
    result = []
    pids: set[int] = set()
    for index, each in enumerate(targets):
        pid = each.pid.number
        if each.obsolete.yes:
            why = "a target that leaves is not part of a policy: later ones move up"
            found.remark(why, targets)
            continue
        if found.data["ops"] == "paddr":
            if pid:
                found.remark("the kernel ignores it on `paddr`", each.pid)
            if index:
                found.remark("the kernel takes one target of `paddr`: they are united", targets)
            result += _physical(found, each.regions)
            continue
        if pid in pids:
            found.remark("a policy monitors each process once: later targets move up", targets)
        elif found.machine is not None and not found.machine.exists(f"/proc/{pid}"):
            why = "a process that is gone is not monitored: later targets move up"
            found.remark(why, targets)
        pids.add(pid)
        target: dict[str, Any] = {"process": {"pid": pid}}
        regions = _regions(_ranges(found, each.regions))
        if regions and found.data["ops"] == "fvaddr":
            target["regions"] = regions
        elif regions:
            found.remark("on `vaddr` the kernel replaces them", each.regions)
        result.append(target)
    return result


def _regions(ranges: list[memory.Range]) -> list[dict[str, Any]]:
    return [{"start": f"{start:#x}", "end": f"{end:#x}"} for start, end in ranges]


def _ranges(found: Decompiled, regions: Numbered[view.Region]) -> list[memory.Range]:
    unit = found.slot.addr_unit.number if found.data["ops"] == "paddr" else 1
    ranges = [(each.start.number * unit, each.end.number * unit) for each in regions]
    if any(bound % max(memory.PAGE, unit) for each in ranges for bound in each):
        why = "the kernel widens them to whole pages; those that share one are united"
        found.remark(why, regions)
    return ranges


def _physical(found: Decompiled, regions: Numbered[view.Region]) -> list[dict[str, Any]]:
    ranges, machine = _ranges(found, regions), found.machine
    if machine is not None and ranges:
        if ranges == _whole(memory.system_ram(machine)):
            return [{"system_ram": True}]
        for node in numa.nodes(machine):
            if ranges == _whole(memory.node_ram(machine, node)):
                return [{"numa_node": node}]
    return [{"regions": _regions(ranges)}] if ranges else []


def _whole(ranges: list[memory.Range]) -> list[memory.Range]:
    page = memory.PAGE
    return memory.united((start // page * page, -(-end // page) * page) for start, end in ranges)


def _intervals(found: Decompiled) -> None:
    own = found.slot.intervals
    goal, sample = own.auto_tune, own.sample.number
    tuned = goal.aggregations.number
    result: dict[str, Any] = {}
    if sample != _SAMPLE or tuned:
        result |= keys(own.sample)
    if own.aggregation.number != sample * (_AGGREGATION // _SAMPLE) or tuned:
        result |= keys(own.aggregation)
    result |= found.data.pop("intervals", {})
    if tuned:
        result["auto_tune"] = keys(
            goal.observe, goal.aggregations, goal.min_sample, goal.max_sample
        )
    else:
        found.remark("the kernel tunes nothing while `aggrs` is 0", goal)
    if result:
        found.data["intervals"] = result


def _probes(found: Decompiled) -> None:
    result = []
    for index, each in enumerate(found.slot.probes):
        probe: dict[str, Any] = {"name": found.names.get(each.path, f"probe-{index}")}
        if listed := filters.listed(found, list(each.filters)):
            probe["filters"] = listed
        if preps := [prep.action.text for prep in each.preps]:
            probe["preps"] = preps
        if each.weight.number:
            probe |= keys(each.weight)
        result.append(probe)
    if result:
        found.data["probes"] = result


def _accesses(found: Decompiled) -> None:
    early, sample = found.slot.early_accesses, found.slot.sample
    if early.use_reports.yes:
        kind = {"kind": "write"} if early.write_only.yes else {}
        _say(found, {**kind, "cpus": early.cpus.text, "threads": early.threads.text})
        return
    why = "the kernel ignores it while `use_reports` is N"
    found.remark(why, early.write_only, early.cpus, early.threads)
    if sample.page_fault.yes == sample.page_table.yes:
        primitives = Directory(path=sample.page_fault.path.rpartition("/")[0])
        found.remark("the kernel accepts exactly one of the primitives", primitives)
    if not sample.page_fault.yes:
        found.remark("the kernel ignores them without page faults", sample.filters)
        return
    listed = list(sample.filters)
    told = _conditions(found, listed) if listed else {}
    if told is None:
        found.remark(_unsaid(listed), sample.filters)
    _say(found, told or {})


def _counted(listed: Sequence[view.SampleFilter]) -> dict[str, str]:
    """Return what filters count, by the policy's keys."""
    result = {}
    for each in listed:
        kind, counts = each.type.text, each.matching.yes == each.allow.yes
        if kind == "write":
            result["kind"] = "write" if counts else "read"
        elif counts:
            key, file = ("cpus", each.cpus) if kind == "cpumask" else ("threads", each.threads)
            result[key] = file.text
    return result


def _unsaid(listed: Sequence[view.SampleFilter]) -> str:
    """Return why sample filters are not in the policy.

    The kernel drops what a filter rejects, and treats the rest by the last one
    (damon_sample_filter_out() of damon/next): filters that only allow, such as those of damo's
    options, make everything count.
    """
    if not all(each.allow.yes for each in listed):
        return "they are not of the form that a policy has: reject what does not count, then allow"
    forms = {"kind": "kind: {}", "cpus": 'cpus: "{}"', "threads": "threads: [{}]"}
    told = [forms[key].format(each) for key, each in _counted(listed).items()]
    form = ", ".join(told) or "kind: write"
    return f"nothing is rejected, so all accesses count; `accesses: {{{form}}}` counts only those"


def _say(found: Decompiled, told: Mapping[str, str]) -> None:
    accesses: dict[str, Any] = {"kind": told["kind"]} if "kind" in told else {}
    if cpus := told.get("cpus"):
        try:
            accesses["cpus"] = format_cpulist(read_cpulist(cpus))
        except UnitError as error:
            found.remark(str(error), found.slot.sample.filters)
            return
    if threads := told.get("threads"):
        accesses["threads"] = threads.split(",")
    found.data["accesses"] = accesses or {"primitive": "page_fault"}


def _conditions(found: Decompiled, listed: Sequence[view.SampleFilter]) -> dict[str, str] | None:
    """Return what filters of our form count; None for other forms."""
    *rejects, last = listed

    def said(each: view.SampleFilter) -> tuple[str, str, str]:
        return each.type.text, each.cpus.text, each.threads.text

    if not rejects or not last.allow.yes or said(rejects[-1]) != said(last):
        return None
    told = _counted(rejects)
    known = len(told) == len(rejects) and all(told.values())
    opposite = last.matching.yes != rejects[-1].matching.yes
    if not known or not opposite or any(each.allow.yes for each in rejects):
        return None
    if list(told) != [each for each in _ORDER if each in told]:
        why = "a policy writes CPUs first, then threads, then the kind"
        found.remark(why, found.slot.sample.filters)
    for each in listed:
        kind = each.type.text
        for file, own in ((each.cpus, "cpumask"), (each.threads, "threads")):
            if file.text and kind != own:
                found.remark(f"the kernel ignores it for the type `{kind}`", file)
    return told
