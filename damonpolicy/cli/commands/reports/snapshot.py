"""``damonpolicy report snapshot``."""

from __future__ import annotations

import csv
import io
import sys
import time
from itertools import islice
from types import SimpleNamespace
from typing import Any

import click

from damonpolicy.base.diagnostics import Diagnostic, as_text, cell
from damonpolicy.base.errors import UsageError
from damonpolicy.base.units import approximate_bytes, approximate_duration, approximate_number
from damonpolicy.cli.commands.reports.inputs import Inputs, choice, inputs
from damonpolicy.cli.commands.reports.table import rate_words, table
from damonpolicy.cli.context import Invocation, subcommand
from damonpolicy.cli.show.output import Result
from damonpolicy.kernel.damon.tree import kdamond_path
from damonpolicy.kernel.system.machine import entries, read_or
from damonpolicy.observe.collect.running import tuning
from damonpolicy.observe.regions import Series
from damonpolicy.observe.reports.snapshot import KEYS, View, grouped, view
from damonpolicy.observe.temperature import observed_bp
from damonpolicy.plan.facts import said

__all__ = ("command", "numbers", "words")

_BOX = 40
"""The longest box, in characters."""


@subcommand("snapshot")
@inputs
@click.option("--snapshot", "number", metavar="N|all", default="-1", help="which one of a record, from 0 or, negative, from the last")  # fmt: skip
@choice("--per", words=("scheme", "target", "kdamond"), help="one table for each scheme, target or kdamond")  # fmt: skip
@choice("--sort", words=KEYS, help="order of the regions")
@click.option("--descending", is_flag=True, help="the largest first")
@click.option("--limit", type=click.IntRange(0, sys.maxsize, clamp=True), metavar="N", help="show this many regions of each table")  # fmt: skip
@click.option("--merge", is_flag=True, help="merge neighbours with similar accesses")
@click.option("--total", is_flag=True, help="only totals, without the regions")
@click.option(
    "--boxes", is_flag=True, help="draw each region: length is size, digit is access rate"
)
@click.option("--line", metavar="TEMPLATE", help='a line a region, as in "{{ start }} {{ size }} {{ temperature }}"')  # fmt: skip
@click.option("--csv", "as_csv", is_flag=True, help="comma-separated values, plain numbers")
def command(invocation: Invocation, given: Inputs, **chosen: Any) -> Result:
    """Show regions: where, how large, how often accessed, for how long, how hot.

    Of FILES, which are records, or of what runs. Temperature is the sum of bytes, percent and
    microseconds by their weights, negative where nobody was seen to access.
    """
    options = SimpleNamespace(**chosen)
    _check(options)
    limit, line = options.limit, options.line
    series = given.load(invocation)
    if options.per == "target" and any((each.regions.target < 0).any() for each in series):
        message = "of some regions the kernel does not say which target they belong to"
        hint = "`--source trace` tells"
        given.found.append(Diagnostic.note("DP0633", None, message, hint=hint))
    views = [
        view(each, index, order=options.sort, descending=options.descending, merge=options.merge)
        for each in grouped(series, options.per)
        for index in numbers(each, options.number)
    ]
    more = [_told(invocation, given, each) for each in views]
    data = {
        "snapshots": [
            {**each.to_json(0 if options.total else limit), **told}
            for each, told in zip(views, more, strict=True)
        ]
    }
    if line is not None or options.as_csv:
        text = _lines(views, line, limit) if line is not None else _csv(views, limit)
        return Result(text, data, diagnostics=given.found, raw=True)
    show = _boxes if options.boxes else _table
    parts = [
        as_text([*_head(each), *([] if options.total else show(each, limit)), *_foot(each, told)])
        for each, told in zip(views, more, strict=True)
    ]
    text = "\n".join(parts) or "no snapshot\n"
    return Result(text, data, diagnostics=given.found)


def _check(options: SimpleNamespace) -> None:
    """Raise UsageError where two do not go together."""
    given = {"--total": options.total, "--boxes": options.boxes, "--line": options.line is not None}
    other = next((name for name, there in given.items() if there), "")
    if options.as_csv and other:
        hint = "leave one out"
        if options.total:
            hint = f"leave one of the two out; `--format json {other}` is for programs, too"
        raise UsageError(f"`--csv` and `{other}` do not go together", hint=hint)


def numbers(series: Series, text: str) -> list[int]:
    """Return the requested snapshots."""
    if text == "all":
        return list(range(len(series)))
    digits = text.removeprefix("-")
    if not digits.isdecimal() or len(digits) > 18:
        raise UsageError(f"--snapshot: `{text}` is not a number", hint="write `-1`, or `all`")
    if not len(series):
        return []
    index = int(text)
    if not -len(series) <= index < len(series):
        message = f"--snapshot: there is no snapshot {index}, there are {len(series)}"
        raise UsageError(message, hint=f"the last one is {len(series) - 1}, or -1")
    return [index % len(series)]


def _head(each: View) -> list[str]:
    name = each.source.name
    when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(each.end / 1e9))
    regions = f"{len(each)} region{'' if len(each) == 1 else 's'}"
    sampled = approximate_duration(each.intervals.sample)
    summed = approximate_duration(each.intervals.aggregation)
    how = ["tuned"] * each.source.tuned + ["guessed: not recorded"] * each.source.guessed
    lines = [
        f"{name} at {when}: {regions}, {approximate_bytes(each.regions.total)}",
        f"  sampled each {sampled}, summed up over {summed}" + f" ({', '.join(how)})" * bool(how),
    ]
    if (accesses := each.source.accesses.text) != "all":
        lines.append(f"  accesses: {accesses}")
    if each.source.filters:
        lines.append(f"  filters: {said(each.source.filters)}")
    return lines


def _told(invocation: Invocation, given: Inputs, each: View) -> dict[str, Any]:
    """Return further data on what runs: the scheme's statistics, the tuning of intervals."""
    kdamond = given.asked.get(each.source.kdamond)
    if kdamond is None:
        return {"statistics": None, "tuning": None}
    machine, counts = invocation.machine(), None
    if each.source.scheme:
        stats = kdamond.files.schemes[each.source.scheme_index].stats
        directory = kdamond_path(kdamond.slot, stats.path)
        counts = {
            name: int(read_or(machine, f"{directory}/{name}", "0"))
            for name in entries(machine, directory)
            if stats.below(name) != stats.max_snapshots.path
        }
    toward = tuning(kdamond, observed_bp(each.regions, each.intervals.samples))
    return {"statistics": counts, "tuning": toward}


def _foot(each: View, told: dict[str, Any]) -> list[str]:
    totals = each.totals()
    working = f"{approximate_bytes(totals['working_set_bytes'])} working set"
    moved = f"about {approximate_bytes(totals['bandwidth_bytes_per_second'])} a second"
    lines = [f"  {working}, {moved}"] if len(each) else []
    if each.passed is not None and len(each):
        share = 100 * each.passed / max(each.regions.total, 1)
        lines.append(f"  {approximate_bytes(each.passed)} ({share:.0f}%) passed the filters")
    if told["statistics"]:
        lines.append(f"  so far {_did(told['statistics'])}")
    if told["tuning"]:
        toward = told["tuning"]
        bounds = [approximate_duration(toward[each]) for each in ("min_sample_us", "max_sample_us")]
        lines.append(
            f"  intervals are tuned toward {toward['wanted_bp'] / 100:g}% of all accesses that could"
            f" be seen, here are {toward['observed_bp'] / 100:g}%; sampling within {' to '.join(bounds)}"
        )
    return lines


def _did(found: dict[str, int]) -> str:
    """Describe what a scheme has done since it began."""
    tried, applied = (approximate_bytes(found.get(each, 0)) for each in ("sz_tried", "sz_applied"))
    return (
        f"tried {tried} in {found.get('nr_tried', 0):,} regions, applied to {applied},"
        f" quota exceeded {found.get('qt_exceeds', 0):,} times"
    )


def words(row: dict[str, Any]) -> dict[str, Any]:
    """Return the names of a template: texts for people, and plain numbers with units in names."""
    passed = row["passed_bytes"]
    return {
        **row,
        "start": f"{row['start']:#x}",
        "end": f"{row['end']:#x}",
        "start_bytes": row["start"],
        "end_bytes": row["end"],
        "size": approximate_bytes(row["size_bytes"]),
        "access_rate": rate_words(row["access_percent"]),
        "age": "-" if row["age_us"] is None else approximate_duration(row["age_us"]),
        "idle": "-" if row["idle_us"] is None else approximate_duration(row["idle_us"]),
        "passed": "" if passed is None else approximate_bytes(passed),
        "target": "" if row["target"] is None else row["target"],
        "probe_hits": " ".join(f"{k}={v}" for k, v in (row["probe_hits"] or {}).items()),
    }


def _table(each: View, limit: int | None) -> list[str]:
    names = ["start", "size", "access_rate", "age", "temperature"]
    names += ["target"] if each.source.target == -1 and (each.regions.target >= 0).any() else []
    names += ["passed"] if each.passed is not None else []
    names += ["probe_hits"] if each.regions.hits is not None else []
    titles = {"start": "from", "access_rate": "accessed", "probe_hits": "probes"}
    if not len(each):
        return []
    rows = []
    for row in islice(each.rows(), limit):
        found = words(row)
        heat = row["temperature"]
        text_of = "{:,}".format if each.as_damo else approximate_number
        found["temperature"] = "-" if heat is None else text_of(heat)
        rows.append([str(found[name]) for name in names])
    lines = table([titles.get(name, name) for name in names], rows, left=0)
    return [*(f"  {line}" for line in lines), *_more(each, limit)]


def _more(each: View, limit: int | None) -> list[str]:
    left = len(each) - limit if limit is not None else 0
    return [f"  and {left} more"] if left > 0 else []


def _boxes(each: View, limit: int | None) -> list[str]:
    """Draw regions: length is logarithmic in size, the digit is a tenth of the access rate."""
    sizes = [max(int(size), 1).bit_length() for size in each.columns.size]
    if not sizes:
        return []
    least, most = min(sizes), max(sizes)
    lines = []
    for row, bits in zip(islice(each.rows(), limit), sizes, strict=False):
        length = 1 + (bits - least) * (_BOX - 1) // max(most - least, 1)
        digit = str(min(int(row["access_percent"]) // 10, 9))
        found = words(row)
        box = f"|{digit * length}|".ljust(_BOX + 2)
        lines.append(
            f"  {box} {found['size']} at {found['start']}, {found['access_rate']} for {found['age']}"
        )
    return lines + _more(each, limit)


def _lines(views: list[View], template: str, limit: int | None) -> str:
    from damonpolicy.policy.source.template import TemplateError, line

    try:
        render = line(template)
        lines = [
            render({"index": index, "kdamond": each.source.kdamond, "scheme": each.source.scheme,
                    **words(row)})
            for each in views
            for index, row in enumerate(islice(each.rows(), limit))
        ]  # fmt: skip
    except TemplateError as error:
        raise UsageError(f"--line: {error.message}", hint=error.hint) from error
    return as_text(lines)


def _csv(views: list[View], limit: int | None) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    names = ("start", "end", "size_bytes", "accesses", "access_percent", "age_us", "idle_us",
             "temperature", "target", "passed_bytes")  # fmt: skip
    writer.writerow(("kdamond", "scheme", "begin_ns", "end_ns", *names))
    for each in views:
        head = (cell(each.source.kdamond), cell(each.source.scheme), each.begin, each.end)
        for row in islice(each.rows(), limit):
            writer.writerow((*head, *(row[name] for name in names)))
    return out.getvalue()
