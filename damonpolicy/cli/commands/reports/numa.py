"""``damonpolicy report numa``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from damonpolicy.base.diagnostics import as_text
from damonpolicy.base.units import approximate_bytes, format_cpulist, format_duration
from damonpolicy.cli.commands.reports.inputs import Inputs, inputs
from damonpolicy.cli.commands.reports.table import rate_text, share_text, table
from damonpolicy.cli.context import Invocation, subcommand
from damonpolicy.cli.options.quantities import duration, percent
from damonpolicy.cli.show.output import Result
from damonpolicy.kernel.system.machine import Machine
from damonpolicy.kernel.system.memory import Range, node_ram
from damonpolicy.kernel.system.numa import cpus_of, nodes
from damonpolicy.kernel.system.numa_maps import process_nodes
from damonpolicy.kernel.system.processes import Selector, find
from damonpolicy.observe.regions import Series
from damonpolicy.observe.reports.numa import (
    Matrix,
    Placement,
    Touch,
    cpus_counted,
    matrices,
    placement,
)

_ONLY_PLACEMENT = (
    "no kdamond of these counts the accesses of one node's CPUs only, so it is not known which"
    " node's CPUs touch what: `accesses: {cpus: {numa_node: 0}}` and so on would tell"
)
_ONLY_MAPS = (
    "of processes no more is known than where their pages lie, hot or cold:"
    " only physical addresses have a node"
)
_NOTHING = "no regions of physical memory were seen: a kdamond with `ops: paddr` would show them"
_OF_THIS_MACHINE = "addresses are those of a record, nodes are this machine's"


@subcommand("numa")
@click.option(
    "--idle-for", metavar="TIME", callback=duration, default="2m", help="what counts as cold"
)
@click.option(
    "--hot",
    metavar="SHARE",
    callback=percent,
    default="50%",
    help="at which access rate memory counts as hot",
)
@inputs
def command(invocation: Invocation, given: Inputs, *, idle_for: int, hot: int) -> Result:
    """Show accesses of each node's CPUs to each node's memory, or where hot and cold memory lies.

    The first needs a policy with a kdamond for the CPUs of each node. Rates are estimates: a
    sample tells whether memory was accessed, not how often.
    """
    series = given.load(invocation)
    machine = invocation.machine()
    ram = {node: node_ram(machine, node) for node in nodes(machine)}
    cpus = {node: cpus_of(machine, node) for node in ram}
    found = matrices(series, ram, cpus)
    rest = [
        each
        for each in series
        if each.source.ops == "paddr" and not cpus_counted(each.source.accesses)
    ]
    placed = {
        counts: placement(
            [each for each in rest if each.source.accesses.kind == counts], ram, idle_for, hot
        )
        for counts in sorted({each.source.accesses.kind for each in rest})
    }
    processes = [] if given.files else _processes(machine, series)
    notes = [_ONLY_PLACEMENT] if placed and not found else []
    notes += [_ONLY_MAPS] if processes else []
    notes += [_OF_THIS_MACHINE] if given.files and (found or placed) else []
    data = {
        "idle_for_us": idle_for,
        "hot_percent": hot,
        "matrices": [_matrix_json(each) for each in found],
        "placements": [
            {"accesses": counts or None, "nodes": [_placement_json(each, ram) for each in rows]}
            for counts, rows in placed.items()
        ],
        "processes": processes,
        "notes": notes,
    }
    lines = [line for each in found for line in [*_matrix_text(each), ""]]
    for counts, rows in placed.items():
        lines += [*_placement_text(counts, rows, ram, idle_for, hot), ""]
    if processes:
        lines += [*_processes_text(processes, sorted(ram)), ""]
    lines += [f"note: {note}" for note in notes]
    text = as_text(lines or [_NOTHING]).rstrip("\n") + "\n"
    return Result(text, data, diagnostics=given.found)


def _counted(kind: str) -> str:
    return kind if kind not in ("all", "") else "accesses"


def _node(node: int | None) -> str:
    return "no node" if node is None else f"node {node}"


def _cpus(row: Touch) -> str:
    """Describe the CPUs, and the node that they belong to."""
    which = f"{'CPU' if len(row.cpus) == 1 else 'CPUs'} {format_cpulist(row.cpus)}"
    return f"{which} of node {row.node}" if row.node is not None else f"{which} of several nodes"


def _matrix_json(matrix: Matrix) -> dict[str, Any]:
    hit, miss = sum(row.hit for row in matrix.rows), sum(row.miss for row in matrix.rows)
    return {
        "accesses": matrix.counts,
        "rows": [
            {
                "cpus": format_cpulist(row.cpus),
                "cpu_node": row.node,
                "kdamonds": list(row.kdamonds),
                "memory": [
                    {
                        "memory_node": node,
                        "bytes_per_second": row.rates.get(node, 0.0),
                        "share": matrix.share(row.rates.get(node, 0.0)),
                    }
                    for node in matrix.nodes
                ],
                "bytes_per_second": row.total,
                "hit_bytes_per_second": None if row.node is None else row.hit,
                "miss_bytes_per_second": None if row.node is None else row.miss,
                "hit_share": row.hit / row.total if row.total and row.node is not None else None,
            }
            for row in matrix.rows
        ],
        "bytes_per_second": matrix.total,
        "hit_share": matrix.share(hit),
        "miss_share": matrix.share(miss),
        "unknown_share": matrix.share(max(matrix.total - hit - miss, 0.0)),
    }


def _matrix_text(matrix: Matrix) -> list[str]:
    lines = [f"{_counted(matrix.counts)} by node of CPUs and node of memory", ""]
    rows = []
    for row in matrix.rows:
        cells = []
        for node in matrix.nodes:
            rate = row.rates.get(node, 0.0)
            mark = " hit" if node is not None and node == row.node else "    "
            cells.append(f"{rate_text(rate)} {share_text(matrix.share(rate)):>6}{mark}")
        rows.append([_cpus(row), *cells, rate_text(row.total)])
    lines += table(["touched by", *map(_node, matrix.nodes), "together"], rows)
    hit, miss = sum(row.hit for row in matrix.rows), sum(row.miss for row in matrix.rows)
    if matrix.total:
        lines.append(
            f"hits {share_text(matrix.share(hit))}, misses {share_text(matrix.share(miss))}"
            f" of {rate_text(matrix.total)}"
        )
    return lines


def _placement_json(each: Placement, ram: Mapping[int, Sequence[Range]]) -> dict[str, Any]:
    return {
        "node": each.node,
        "ram_bytes": None if each.node is None else _size(ram[each.node]),
        "seen_bytes": each.total,
        "hot_bytes": each.hot,
        "warm_bytes": each.warm,
        "cold_bytes": each.cold,
        "bytes_per_second": each.rate,
    }


def _size(ranges: Sequence[Range]) -> int:
    return sum(end - start for start, end in ranges)


def _placement_text(
    counts: str,
    rows: Sequence[Placement],
    ram: Mapping[int, Sequence[Range]],
    idle_for: int,
    hot: int,
) -> list[str]:
    cold = format_duration(idle_for)
    title = f"where memory lies, by {_counted(counts)}: hot from {hot}%, cold after {cold}"
    lines = table(
        ["memory", "System RAM", "seen", "hot", "warm", "cold", "rate"],
        [
            [
                _node(each.node),
                "-" if each.node is None else approximate_bytes(_size(ram[each.node])),
                *map(approximate_bytes, (each.total, each.hot, each.warm, each.cold)),
                rate_text(each.rate),
            ]
            for each in rows
        ],
    )
    return [title, "", *lines]


def _processes(machine: Machine, series: Sequence[Series]) -> list[dict[str, Any]]:
    """Return the data in /proc about processes that are targets."""
    found = []
    pids = {target.pid for each in series for target in each.source.targets}
    for pid in sorted(pids - {0}):
        process = next(iter(find(machine, Selector(pid=pid))), None)
        places = process_nodes(machine, pid)
        if process is not None and places:
            found.append(
                {
                    "pid": pid,
                    "comm": process.comm,
                    "nodes": [{"node": node, "bytes": size} for node, size in places.items()],
                    "bytes": sum(places.values()),
                }
            )
    return found


def _processes_text(processes: Sequence[dict[str, Any]], known: Sequence[int]) -> list[str]:
    seen = {place["node"] for each in processes for place in each["nodes"]}
    columns = sorted({*known, *seen})
    rows = []
    for each in processes:
        held = {place["node"]: place["bytes"] for place in each["nodes"]}
        name = f"pid {each['pid']} ({each['comm']})"
        amounts = [approximate_bytes(held.get(node, 0)) for node in columns]
        rows.append([name, *amounts, approximate_bytes(each["bytes"])])
    head = ["process", *map(_node, columns), "together"]
    return ["where pages of processes lie", "", *table(head, rows)]
