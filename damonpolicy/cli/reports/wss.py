"""``damonpolicy report wss``."""

from __future__ import annotations

import click

from damonpolicy.cli.invocation import Invocation, common, pass_invocation
from damonpolicy.cli.output import Result
from damonpolicy.cli.reports.inputs import Inputs, inputs
from damonpolicy.diagnostics import as_text
from damonpolicy.units import approximate_bytes

_PERCENTILES = (0, 25, 50, 75, 100)


@click.command("wss")
@inputs
@click.option("--least", type=click.IntRange(min=1), default=1, metavar="N", help="samples that have to find memory accessed")  # fmt: skip
@click.option("--skip", type=click.IntRange(min=0), default=0, metavar="N", help="leave out so many snapshots at the beginning, in which regions settle")  # fmt: skip
@common
@pass_invocation
def command(invocation: Invocation, given: Inputs, *, least: int, skip: int) -> Result:
    """Show how much memory is in use: the bytes of regions that were seen accessed.

    Where no scheme of a kdamond tries all regions, trace events are watched if there are any, and
    else the scheme counts that tried most. Of a record, for how large a share of its snapshots the
    working set is no larger than that, and whether it grows: its mean in the first and in the last
    quarter of them.
    """
    from damonpolicy.observe.snapshot import grouped
    from damonpolicy.observe.temperature import spread, trend, working_sets

    given.whole = True
    parts, data = [], []
    for series in grouped(given.load(invocation), "scheme" if given.scheme else "kdamond"):
        sizes = working_sets(series, least)[skip:]
        found = spread(sizes, _PERCENTILES)
        mean = int(sizes.mean()) if len(sizes) else None
        ends = trend(sizes)
        data.append({
            "kdamond": series.source.kdamond,
            "scheme": series.source.scheme or None,
            "snapshots": len(sizes),
            "mean_bytes": mean,
            "first_quarter_bytes": ends[0] if ends else None,
            "last_quarter_bytes": ends[1] if ends else None,
            "percentiles": [
                {"percent": each, "bytes": size} for each, size in zip(_PERCENTILES, found, strict=False)
            ],
        })  # fmt: skip
        name = series.source.name
        if len(sizes) == 1:
            parts.append(f"{name}: {approximate_bytes(int(sizes[0]))} working set")
            continue
        parts.append(f"{name}: working set of {len(sizes)} snapshots")
        parts += [
            f"  {each:>3}%  {approximate_bytes(size)}"
            for each, size in zip(_PERCENTILES, found, strict=False)
        ]
        if mean is not None:
            parts.append(f"  mean  {approximate_bytes(mean)}")
        if ends:
            first, last = map(approximate_bytes, ends)
            parts.append(f"  first quarter of the time {first}, last quarter {last}")
    return Result(as_text(parts), {"working_sets": data}, diagnostics=given.found)
