"""``damonpolicy report histogram``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click
import numpy as np

from damonpolicy.base.diagnostics import as_text
from damonpolicy.base.errors import UsageError
from damonpolicy.base.units import (
    UnitError,
    approximate_bytes,
    approximate_duration,
    approximate_number,
    read_duration,
    read_temperature,
)
from damonpolicy.cli.commands.reports.inputs import Inputs, choice, inputs
from damonpolicy.cli.commands.reports.snapshot import numbers
from damonpolicy.cli.context import Invocation, subcommand
from damonpolicy.cli.options.quantities import percentages
from damonpolicy.cli.show.output import Result
from damonpolicy.observe.regions import Series
from damonpolicy.observe.reports.histogram import Bin, histogram, percentiles
from damonpolicy.observe.reports.select import columns
from damonpolicy.observe.temperature import idle_us

_TITLES = {"temperature": "temperature", "idle": "time since the last access"}
_BAR = 20
"""The longest bar, in characters."""


@subcommand("histogram")
@inputs
@click.option("--snapshot", "number", metavar="N|all", default="-1", help="which one of a record, or all added up; -1 is the last")  # fmt: skip
@choice("--by", "what", words=tuple(_TITLES), help="temperature, or the time since the last access")
@choice("--scale", words=("linear", "log"), help="bins of equal width, or each twice as wide as the one before")  # fmt: skip
@click.option("--bins", metavar="LOW..HIGH,...", help="explicit bins, such as 0s..1m,1m..1h")
@click.option("--cumulative", is_flag=True, help="count in each bin everything below its upper end")
@click.option("--percentiles", "percents", is_flag=False, flag_value="0,1,25,50,75,99,100", metavar="P,...", help="percentiles of memory to print")  # fmt: skip
def command(invocation: Invocation, given: Inputs, **options: Any) -> Result:
    """Show how much memory is how hot, or has been idle for how long.

    Where a scheme has page filters, each bin also tells how much of it passed them: with filters on
    a cgroup and on anonymous memory, how much of what is idle is file-backed memory of that cgroup.
    """
    what, percents = options["what"], options["percents"]
    wanted = percentages(percents) if percents is not None else ()
    ranges = _ranges(options["bins"], what) if options["bins"] else []
    parts, data = [], []
    for series in given.load(invocation):
        chosen = numbers(series, options["number"])
        values, size, passed = _values(series, chosen, what)
        found = histogram(
            values, size, passed,
            log=options["scale"] == "log", cumulative=options["cumulative"], ranges=ranges,
        )  # fmt: skip
        shares = percentiles(values, size, wanted)
        data.append({
            "kdamond": series.source.kdamond,
            "scheme": series.source.scheme or None,
            "by": what,
            "unit": "us" if what == "idle" else None,
            "snapshots": len(chosen),
            "total_bytes": int(size.sum()),
            "bins": [each.to_json() for each in found],
            "percentiles": [{"percent": each, "value": value} for each, value in shares],
        })  # fmt: skip
        total = approximate_bytes(int(size.sum()))
        several = f" of {len(chosen)} snapshots together" if len(chosen) > 1 else ""
        lines = [f"{series.source.name}: {total}{several} by {_TITLES[what]}"]
        if percents is None:
            lines += _bars(found, _writer(what, [each.high for each in found], given))
        else:
            text_of = _writer(what, [value for _, value in shares], given)
            lines += [f"  {each:>5g}%  {text_of(value)}" for each, value in shares]
        parts.append(as_text(lines))
    text = "\n".join(parts)
    return Result(text, {"histograms": data}, diagnostics=given.found)


def _values(series: Series, chosen: list[int], what: str) -> Any:
    """Return values, sizes and passed bytes of the regions of some snapshots.

    Sizes have no weight in a histogram's temperature: they are what is counted.
    """
    rows = np.isin(series.of_row, chosen)
    kept = series.where(rows)
    _, rate, age = series.source.weights
    found = columns(kept, (0, rate, age))
    values = found.temperature
    if what == "idle":
        values = idle_us(found.percent, kept.regions.age, found.aggregation)
    return values, found.size, kept.regions.passed


def _bars(found: list[Bin], text_of: Callable[[int], str]) -> list[str]:
    most = max((each.size for each in found), default=0)
    unit = max(most // _BAR, 1)
    rows = []
    for each in found:
        bar = "*" * min(-(-each.size // unit), _BAR)
        passed = ""
        if each.passed is not None:
            passed = f"{approximate_bytes(each.passed)} passed"
        high = text_of(each.high)
        if each.low is None:
            span = f"below {high}"
        elif each.high - each.low == 1:  # it holds a single value
            span = text_of(each.low)
        else:
            span = f"{text_of(each.low)} .. {high}"
        rows.append((span, approximate_bytes(each.size), bar, passed))
    widths = [max((len(row[column]) for row in rows), default=0) for column in (0, 1)]
    return [
        f"  {span.rjust(widths[0])}  {size.rjust(widths[1])} |{bar.ljust(_BAR)}| {passed}".rstrip()
        for span, size, bar, passed in rows
    ]


def _writer(what: str, values: list[int], given: Inputs) -> Callable[[int], str]:
    """Return the formatter of values; temperatures in full if three digits cannot separate them."""
    if what == "idle":
        return approximate_duration
    shown = {approximate_number(each) for each in values}
    if given.as_damo or len(shown) < len(set(values)):
        return lambda value: f"{value:,}"
    return approximate_number


def _ranges(text: str, what: str) -> list[tuple[int, int]]:
    found = []
    for part in text.split(","):
        # no time is negative, so that `-` may stand between two, as in all ranges
        separator = "-" if what == "idle" and ".." not in part else ".."
        low, separator, high = part.partition(separator)
        try:
            read = read_duration if what == "idle" else read_temperature
            bounds = (read(low), read(high))
        except UnitError as error:
            message = f"--bins: `{part[:80]}`: {error.message}"
            hint = "write `0s..1m,1m..1h`" if what == "idle" else "write `-1000..0,0..1000`"
            raise UsageError(message, hint=hint) from error
        if not separator or bounds[0] >= bounds[1]:
            message = f"--bins: `{part[:80]}` goes backwards"
            raise UsageError(message, hint="the lower bound is first")
        found.append(bounds)
    return found
