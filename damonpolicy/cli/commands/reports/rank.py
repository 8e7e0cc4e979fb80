"""``damonpolicy report rank``."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, get_args

import click

from damonpolicy.base.diagnostics import as_text
from damonpolicy.base.units import approximate_bytes, approximate_number, format_duration
from damonpolicy.cli.commands.reports.inputs import Inputs, choice, inputs
from damonpolicy.cli.commands.reports.table import rate_text, table
from damonpolicy.cli.context import Invocation, subcommand
from damonpolicy.cli.options.quantities import duration
from damonpolicy.cli.show.output import Result
from damonpolicy.kernel.system.processes import Process, Selector, find
from damonpolicy.observe.reports.rank import By, Of, Row, ordered, rank

_FIRST = {
    ("temperature", False): "hottest first",
    ("temperature", True): "coldest first",
    ("writes", False): "least first",
    ("writes", True): "most first",
    ("idle", False): "most idle bytes first",
    ("idle", True): "least idle bytes first",
}

_MIXED = "some of these kdamonds do not count writes only: their rates are of all that they count"


@subcommand("rank")
@choice(
    "--by",
    words=get_args(By),
    help="hottest first, least written first, or most idle bytes first",
)
@choice("--of", words=get_args(Of), help="what is ranked")
@click.option(
    "--idle-for", metavar="TIME", callback=duration, default="2m", help="what counts as idle"
)
@click.option("--reverse", is_flag=True, help="reverse the order")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="the first N only")
@inputs
def command(
    invocation: Invocation,
    given: Inputs,
    *,
    by: By,
    of: Of,
    idle_for: int,
    reverse: bool,
    limit: int | None,
) -> Result:
    """Order targets, kdamonds or cgroups by temperature, write rate, or idle bytes.

    To choose a virtual machine for live migration: `--by writes`, who dirties least comes first.
    For KSM: `--by idle`, who has most memory that nobody writes to comes first. Bytes,
    temperature and idle bytes are of the last snapshot, rates the mean of all. Rates are
    estimates: a sample tells whether memory was accessed, not how often.
    """
    series = given.load(invocation)
    # pids of a record may be reused by now, or come from another machine
    machine = None if given.files else invocation.machine()

    @functools.cache
    def lookup(pid: int) -> Process | None:
        return next(iter(find(machine, Selector(pid=pid))), None) if machine else None

    rows = ordered(rank(series, of, idle_for, lookup), by, reverse=reverse)
    shown = rows[:limit]
    notes = _notes(rows, by, of)
    data = {
        "by": by,
        "of": of,
        "order": _FIRST[by, reverse],
        "idle_for_us": idle_for,
        "ranks": [_json(number, row) for number, row in enumerate(shown, 1)],
        "left_out": len(rows) - len(shown),
        "bytes": sum(row.bytes for row in rows),
        "notes": notes,
    }
    text = _text(data, shown, as_damo=given.as_damo)
    return Result(text, data, diagnostics=given.found)


def _notes(rows: Sequence[Row], by: By, of: Of) -> list[str]:
    counts = {row.holder.counts for row in rows}
    notes = []
    if by == "writes" and rows and "writes" not in counts:
        notes.append("no kdamond counts writes only: rates are of all accesses")
    elif by == "writes" and len(counts) > 1:
        notes.append(_MIXED)
    if any(row.holder.unknown for row in rows):
        whose = "whose memory" if of == "cgroups" else "of which target"
        notes.append(
            f"of some regions it is not known {whose} they are: trace events, or one `stat`"
            " scheme a target or cgroup with a filter for it, would tell"
        )
    return notes


def _json(number: int, row: Row) -> dict[str, Any]:
    holder = row.holder
    return {
        "rank": number,
        "name": holder.name,
        "known": not holder.unknown,
        "kdamond": holder.kdamond or None,
        "target": holder.target,
        "pid": holder.pid,
        "comm": holder.comm or None,
        "cgroup": holder.cgroup or None,
        "accesses": holder.counts or None,
        "bytes": row.bytes,
        "idle_bytes": row.idle,
        "bytes_per_second": row.rate,
        "temperature": row.temperature,
        "snapshots": row.snapshots,
    }


def _text(data: dict[str, Any], rows: Sequence[Row], *, as_damo: bool) -> str:
    if not rows:
        return "no regions were seen\n"
    targets = data["of"] == "targets"
    heat: Callable[[float], str] = "{:,.0f}".format if as_damo else approximate_number
    head = [data["of"].removesuffix("s"), *["kdamond"] * targets, "bytes", "rate", "accesses"]
    idle = f"idle {format_duration(data['idle_for_us'])}"
    lines = [f"by {data['by']}, {data['order']}", ""]
    lines += table(
        [*head, idle, "temperature"],
        [
            [
                row.holder.name,
                *[row.holder.kdamond] * targets,
                approximate_bytes(row.bytes),
                rate_text(row.rate),
                row.holder.counts or "accesses",
                approximate_bytes(row.idle),
                "-" if row.temperature is None else heat(row.temperature),
            ]
            for row in rows
        ],
        left=1 + targets,
    )
    if data["left_out"]:
        lines.append(f"and {data['left_out']} more")
    lines += [f"note: {note}" for note in data["notes"]]
    return as_text(lines)
