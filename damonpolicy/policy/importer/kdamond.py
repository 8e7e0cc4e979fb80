"""Decompilation of a kdamond's directory to the policy language, for `import`.

The inverse of `compile`, as far as one exists. Anything that a policy cannot or may not say is left
out with a remark; compiling the result again checks that the rest is complete (`imported`).
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from damonpolicy.base.units import (
    UnitError,
    format_cpulist,
    format_duration,
    format_percent,
    read_cpulist,
)
from damonpolicy.kernel.damon.tree import Tree
from damonpolicy.kernel.system import memory, numa
from damonpolicy.kernel.system.machine import Machine
from damonpolicy.policy.compile.plain import in_order, plain_keys
from damonpolicy.policy.importer import filters, schemes
from damonpolicy.policy.importer.result import Decompiled
from damonpolicy.policy.model.kdamond import Kdamond

__all__ = ("kdamond",)

_CONTEXT = "contexts/0"
_ATTRIBUTES = f"{_CONTEXT}/monitoring_attrs"
_SAMPLE, _AGGREGATION = 5_000, 100_000
_ORDER = ("cpumask", "threads", "write")
_SAMPLED = {"cpumask": "cpumask", "threads": "tid_arr"}
"""The file with the argument of a sample filter, by its type."""


def kdamond(tree: Tree, name: str, names: Mapping[str, str], machine: Machine | None) -> Decompiled:
    """Return one slot's kdamond; ``names`` gives schemes and probes their names, by directory."""
    found = Decompiled(tree, names, machine, {"name": name})
    data = found.data
    data["ops"] = found.text(f"{_CONTEXT}/operations", "vaddr")
    data["targets"] = _targets(found)
    _accesses(found)
    plain_keys(data, found.text)
    _intervals(found)
    _probes(found)
    listed = [
        schemes.scheme(found, index)
        for index in range(found.number(f"{_CONTEXT}/schemes/nr_schemes"))
    ]
    _rename(listed)
    if listed:
        data["schemes"] = listed
    found.data = in_order(data, Kdamond)
    return found


def _rename(listed: list[dict[str, Any]]) -> None:
    """Number repeated names."""
    taken = {each["name"] for each in listed}
    seen: set[str] = set()
    for each in listed:
        name, number = each["name"], 1
        while each["name"] in seen or (number > 1 and each["name"] in taken):
            number += 1
            each["name"] = f"{name}-{number}"
        seen.add(each["name"])


def _targets(found: Decompiled) -> list[dict[str, Any]]:
    base = f"{_CONTEXT}/targets"
    result = []
    pids: set[int] = set()
    for index in range(found.number(f"{base}/nr_targets")):
        here = f"{base}/{index}"
        if found.text(f"{here}/obsolete_target") == "Y":
            found.remark(base, "a target that leaves is not part of a policy: later ones move up")
            continue
        if found.data["ops"] == "paddr":
            if found.number(f"{here}/pid_target"):
                found.remark(f"{here}/pid_target", "the kernel ignores it on `paddr`")
            if index:
                found.remark(base, "the kernel takes one target of `paddr`: they are united")
            result += _physical(found, f"{here}/regions")
            continue
        pid = found.number(f"{here}/pid_target")
        if pid in pids:
            found.remark(base, "a policy monitors each process once: later targets move up")
        elif found.machine is not None and not found.machine.exists(f"/proc/{pid}"):
            found.remark(base, "a process that is gone is not monitored: later targets move up")
        pids.add(pid)
        target: dict[str, Any] = {"process": {"pid": pid}}
        regions = _regions(found, f"{here}/regions")
        if regions and found.data["ops"] == "fvaddr":
            target["regions"] = regions
        elif regions:
            found.remark(f"{here}/regions", "on `vaddr` the kernel replaces them")
        result.append(target)
    return result


def _regions(found: Decompiled, base: str) -> list[dict[str, Any]]:
    return [{"start": f"{start:#x}", "end": f"{end:#x}"} for start, end in _ranges(found, base)]


def _ranges(found: Decompiled, base: str) -> list[memory.Range]:
    unit = 1
    if found.data["ops"] == "paddr":
        unit = int(found.text(f"{_CONTEXT}/addr_unit", "1"))
    ranges = [
        (found.number(f"{base}/{index}/start") * unit, found.number(f"{base}/{index}/end") * unit)
        for index in range(found.number(f"{base}/nr_regions"))
    ]
    if any(bound % max(memory.PAGE, unit) for each in ranges for bound in each):
        why = "the kernel widens them to whole pages; those that share one are united"
        found.remark(base, why)
    return ranges


def _physical(found: Decompiled, base: str) -> list[dict[str, Any]]:
    ranges, machine = _ranges(found, base), found.machine
    if machine is not None and ranges:
        if ranges == _whole(memory.system_ram(machine)):
            return [{"system_ram": True}]
        for node in numa.nodes(machine):
            if ranges == _whole(memory.node_ram(machine, node)):
                return [{"numa_node": node}]
    regions = _regions(found, base)
    return [{"regions": regions}] if regions else []


def _whole(ranges: list[memory.Range]) -> list[memory.Range]:
    page = memory.PAGE
    return memory.united((start // page * page, -(-end // page) * page) for start, end in ranges)


def _intervals(found: Decompiled) -> None:
    base = f"{_ATTRIBUTES}/intervals"
    sample, aggregation = (found.number(f"{base}/{name}_us") for name in ("sample", "aggr"))
    goal = f"{base}/intervals_goal"
    result: dict[str, Any] = {}
    tuned = found.number(f"{goal}/aggrs")
    if sample != _SAMPLE or tuned:
        result["sample"] = format_duration(sample)
    if aggregation != sample * (_AGGREGATION // _SAMPLE) or tuned:
        result["aggregation"] = format_duration(aggregation)
    result |= found.data.pop("intervals", {})
    if tuned:
        result["auto_tune"] = {
            "observe": format_percent(Fraction(found.number(f"{goal}/access_bp"), 10_000)),
            "aggregations": tuned,
            "min_sample": format_duration(found.number(f"{goal}/min_sample_us")),
            "max_sample": format_duration(found.number(f"{goal}/max_sample_us")),
        }
    else:
        found.remark(goal, "the kernel tunes nothing while `aggrs` is 0")
    if result:
        found.data["intervals"] = result


def _probes(found: Decompiled) -> None:
    base = f"{_ATTRIBUTES}/probes"
    result = []
    for index in range(found.number(f"{base}/nr_probes")):
        here = f"{base}/{index}"
        probe: dict[str, Any] = {"name": found.names.get(here, f"probe-{index}")}
        listed = filters.listed(found, filters.places(found, f"{here}/filters"), probe=True)
        if listed:
            probe["filters"] = listed
        preps = found.number(f"{here}/preps/nr_preps")
        if preps:
            probe["preps"] = [
                found.text(f"{here}/preps/{each}/prep_action") for each in range(preps)
            ]
        if weight := found.number(f"{here}/weight"):
            probe["weight"] = weight
        result.append(probe)
    if result:
        found.data["probes"] = result


def _accesses(found: Decompiled) -> None:
    early = f"{_CONTEXT}/operations_attrs"
    if found.text(f"{early}/use_reports") == "Y":
        kind = "write" if found.text(f"{early}/write_only") == "Y" else "any"
        _say(found, kind, found.text(f"{early}/cpus"), found.text(f"{early}/tids"))
        return
    for name in ("write_only", "cpus", "tids"):
        found.remark(f"{early}/{name}", "the kernel ignores it while `use_reports` is N")
    base = f"{_ATTRIBUTES}/sample"
    fault, table = (
        found.text(f"{base}/primitives/{name}", default) == "Y"
        for name, default in (("page_fault", "N"), ("page_table", "Y"))
    )
    count = found.number(f"{base}/filters/nr_filters")
    if fault == table:
        found.remark(f"{base}/primitives", "the kernel accepts exactly one of the primitives")
    if not fault:
        found.remark(f"{base}/filters", "the kernel ignores them without page faults")
        return
    told = _conditions(found, f"{base}/filters", count)
    if told is None:
        found.remark(f"{base}/filters", _unsaid(found, f"{base}/filters", count))
        told = ("any", "", "")
    _say(found, *told)


def _unsaid(found: Decompiled, base: str, count: int) -> str:
    """Return why sample filters are not in the policy.

    The kernel drops what a filter rejects, and treats the rest by the last one
    (damon_sample_filter_out() of damon/next): filters that only allow, such as those of damo's
    options, make everything count.
    """
    meant: dict[str, str] = {}
    for index in range(count):
        here = f"{base}/{index}"
        kind, matching = (found.text(f"{here}/{name}") for name in ("type", "matching"))
        if found.text(f"{here}/allow") != "Y":
            return (
                "they are not of the form that a policy has: reject what does not count, then allow"
            )
        if kind == "write":
            meant["kind"] = "write" if matching == "Y" else "read"
        elif matching == "Y":
            name = {"cpumask": "cpus"}.get(kind, "threads")
            value = found.text(f"{here}/{_SAMPLED[kind]}")
            meant[name] = f'"{value}"' if name == "cpus" else f"[{value}]"
    form = ", ".join(f"{name}: {value}" for name, value in meant.items()) or "kind: write"
    return f"nothing is rejected, so all accesses count; `accesses: {{{form}}}` counts only those"


def _say(found: Decompiled, kind: str, cpus: str, threads: str) -> None:
    accesses: dict[str, Any] = {} if kind == "any" else {"kind": kind}
    if cpus:
        try:
            accesses["cpus"] = format_cpulist(read_cpulist(cpus))
        except UnitError as error:
            found.remark(f"{_ATTRIBUTES}/sample/filters", str(error))
            return
    if threads:
        accesses["threads"] = threads.split(",")
    found.data["accesses"] = accesses or {"primitive": "page_fault"}


def _conditions(found: Decompiled, base: str, count: int) -> tuple[str, str, str] | None:
    """Return the kind, CPUs and threads that filters of our form count; None for other forms."""
    kind, cpus, threads = "any", "", ""
    rows = [
        {
            name: found.text(f"{base}/{index}/{name}")
            for name in ("type", "matching", "allow", "cpumask", "tid_arr")
        }
        for index in range(count)
    ]
    if not rows:
        return kind, cpus, threads
    *rejects, last = rows
    if not rejects or last["allow"] != "Y" or {**rejects[-1], "allow": "", "matching": ""} != {
        **last, "allow": "", "matching": "",
    } or last["matching"] == rejects[-1]["matching"]:  # fmt: skip
        return None
    for row in rejects:
        if row["allow"] == "Y" or (row["type"] != "write" and row["matching"] == "Y"):
            return None
        if row["type"] == "write":
            kind = "read" if row["matching"] == "Y" else "write"
        elif row["type"] == "cpumask":
            cpus = row["cpumask"]
        else:
            threads = row["tid_arr"]
    types = [row["type"] for row in rejects]
    given = all(row[_SAMPLED[row["type"]]] for row in rejects if row["type"] in _SAMPLED)
    if not given or len(set(types)) < len(types):
        return None
    if types != [each for each in _ORDER if each in types]:
        found.remark(base, "a policy writes CPUs first, then threads, then the kind")
    for index, row in enumerate(rows):
        for name in ("cpumask", "tid_arr"):
            if row[name] and name != _SAMPLED.get(row["type"]):
                why = f"the kernel ignores it for the type `{row['type']}`"
                found.remark(f"{base}/{index}/{name}", why)
    return kind, cpus, threads
