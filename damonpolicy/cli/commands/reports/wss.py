"""``damonpolicy report wss``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import click

from damonpolicy.base.diagnostics import as_text
from damonpolicy.base.units import approximate_bytes
from damonpolicy.cli.commands.reports.inputs import Inputs, choice, inputs
from damonpolicy.cli.context import Invocation, subcommand
from damonpolicy.cli.options.quantities import percentages
from damonpolicy.cli.show.output import Result
from damonpolicy.observe.collect.merge import moments
from damonpolicy.observe.regions import Array, Series
from damonpolicy.observe.reports.snapshot import grouped
from damonpolicy.observe.temperature import spread, trend, working_sets


@subcommand("wss")
@inputs
@click.option("--least", type=click.IntRange(min=1), default=1, metavar="N", help="samples that have to find memory accessed")  # fmt: skip
@click.option("--skip", type=click.IntRange(min=0), default=0, metavar="N", help="skip this many snapshots at the beginning, while regions settle")  # fmt: skip
@click.option("--percentiles", "percents", default="0,25,50,75,100", metavar="P,...", help="percentiles of the working set over the snapshots")  # fmt: skip
@choice("--sort", "order", words=("size", "time"), help="or those when so many percent of the snapshots had passed")  # fmt: skip
def command(
    invocation: Invocation, given: Inputs, *, least: int, skip: int, percents: str, order: str
) -> Result:
    """Show how much memory is in use: the bytes of regions that were seen accessed.

    What the schemes of a kdamond saw at the same time is put together, no byte twice. Where they
    leave regions out, trace events are watched instead if there are any. Of a record, for how
    large a share of its snapshots the working set is no larger than that, and whether it grows:
    its mean in the first and in the last quarter of them.
    """
    wanted = percentages(percents)
    given.whole = True
    parts, data = [], []
    loaded = given.load(invocation)
    for name, series, whole in _working_sets(
        grouped(loaded, "scheme" if given.scheme else "kdamond"), least
    ):
        sizes = whole[skip:]
        found = spread(sizes, wanted, by_time=order == "time")
        shares = list(zip(wanted, found, strict=False))
        mean = int(sizes.mean()) if len(sizes) else None
        ends = trend(sizes)
        source = series.source if series else None
        schemes = {each.source.scheme for each in loaded if each.source.kdamond == name[0]}
        data.append({
            "kdamond": name[0],
            "scheme": (source.scheme if source else "") or None,
            "schemes": sorted(schemes - {""}),
            "target": source.target if source and source.target >= 0 else None,
            "snapshots": len(sizes),
            "mean_bytes": mean,
            "first_quarter_bytes": ends[0] if ends else None,
            "last_quarter_bytes": ends[1] if ends else None,
            "percentiles": [{"percent": each, "bytes": size} for each, size in shares],
        })  # fmt: skip
        if len(sizes) == 1:
            parts.append(f"{name[1]}: {approximate_bytes(int(sizes[0]))} working set")
            continue
        by_time = ", by time" if order == "time" else ""
        parts.append(f"{name[1]}: working set of {len(sizes)} snapshots{by_time}")
        parts += [f"  {each:>3g}%  {approximate_bytes(size)}" for each, size in shares]
        if mean is not None:
            parts.append(f"  mean  {approximate_bytes(mean)}")
        if ends:
            first, last = map(approximate_bytes, ends)
            parts.append(f"  first quarter of the time {first}, last quarter {last}")
    return Result(as_text(parts), {"working_sets": data}, diagnostics=given.found)


def _working_sets(
    found: Sequence[Series], least: int
) -> Iterator[tuple[tuple[str, str], Series | None, Array]]:
    """Yield names, series and working sets; several targets of one kdamond also give a sum.

    Names are the kdamond's, and what a person calls it.
    """
    sizes = [working_sets(each, least) for each in found]
    by_kdamond: dict[str, list[int]] = {}
    for place, each in enumerate(found):
        name = each.source.kdamond
        by_kdamond.setdefault(name, []).append(place)
        yield (name, each.source.name), each, sizes[place]
    for name, places in by_kdamond.items():
        held = [place for place in places if len(found[place])]
        sources = [found[place].source for place in held]
        if len(held) < 2 or len({(each.target, each.targets) for each in sources}) < len(held):
            continue  # separate schemes, which may have seen the same memory
        times = max((found[place] for place in held), key=len)
        total: Any = 0
        for place in held:
            at = moments(times, found[place])
            total = total + (sizes[place][at] * (at >= 0)).astype(sizes[place].dtype)
        yield (name, f"{name}, all targets"), None, total
