"""``damonpolicy report heatmap``."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import click

from damonpolicy.base.atomic import PUBLIC, whole_file
from damonpolicy.base.diagnostics import Diagnostic, as_text, did_you_mean, visible
from damonpolicy.base.errors import DamonPolicyError, UsageError, reason_of
from damonpolicy.base.units import approximate_bytes, approximate_duration, format_duration
from damonpolicy.cli.commands.reports import heatmap_options as read
from damonpolicy.cli.commands.reports.inputs import Inputs, choice, inputs
from damonpolicy.cli.context import Invocation, subcommand
from damonpolicy.cli.show.output import Result
from damonpolicy.observe.heatmap import matrix, tables
from damonpolicy.observe.heatmap.axes import number
from damonpolicy.observe.heatmap.html import page
from damonpolicy.observe.heatmap.image import save
from damonpolicy.observe.heatmap.matrix import Area, Heatmap, Value
from damonpolicy.observe.heatmap.terminal import drawn, has_colour
from damonpolicy.observe.regions import Series

_MOST_MAPS = 20


@subcommand("heatmap")
@inputs
@click.option(
    "--range",
    "ranges",
    multiple=True,
    metavar="hottest|all|START-END",
    show_default="the hottest area",
    help="addresses to show; repeat it for more maps",
)
@click.option(
    "--time",
    "times",
    metavar="START-END|all",
    help="from the first snapshot, as in `10s-1m`; `all` adds what ages tell of before",
)
@click.option("--resolution", metavar="TxA", help="pixels of time and of addresses")
@choice(
    "--value",
    "kind",
    words=("accesses", "percent", "temperature", "passed"),
    help="what to show: accesses a second; the share of samples that found one, for intervals that"
    " are tuned; temperature; accesses to what passed the scheme's filters",
)
@click.option("--probe", metavar="NAME", help="show how often this probe hit")
@choice(
    "--sort",
    "order",
    words=("address", "temperature"),
    help="the vertical axis: addresses, or bytes from cold to hot",
)
@click.option("--hottest-first", is_flag=True, help="with `--sort temperature`: from hot to cold")
@click.option(
    "--scale", metavar="MAX", help="the value that is hottest; else the highest of all these maps"
)
@click.option("--absolute", is_flag=True, help="show times of the day and addresses")
@choice("--colours", words=("heat", "flame", "grey"), help="of terminals, images and pages")
@click.option(
    "--out",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="write a .png, .svg, .pdf, .html or .csv",
)
@click.option("--guide", "guided", is_flag=True, help="list the times and areas there are")
def command(invocation: Invocation, given: Inputs, **chosen: Any) -> Result:
    """Show when which addresses were accessed how often.

    Time goes to the right and addresses go up. A region's age tells of the time before its
    snapshot; what nothing tells of stays blank. All maps of a command have one scale.
    """
    options = SimpleNamespace(**chosen)
    most = read.most_of(options.scale)
    given.apart = options.probe is None and options.kind != "passed"
    form = read.form_of(options.out)
    asked = _Asked(given, options)
    wanted = read.resolution_of(options.resolution)
    found = [part for each in given.load(invocation) for part in matrix.by_target(each)]
    found = [each for each in found if (each.regions.end > each.regions.start).any()]
    if not found:
        hint = "no scheme selects any now: `--source trace` sees all regions"
        if given.files:
            hint = "leave out what selects regions, or record for longer"
        raise DamonPolicyError("there is no region to show", hint=hint)
    if options.guided:
        result = _guide(found)
    else:
        count = sum(len(asked.areas(each)) for each in found)
        if count > _MOST_MAPS:
            hint = "`--guide` lists the areas: name some with `--range START-END`"
            raise UsageError(f"that makes too many maps, {_MOST_MAPS} at most", hint=hint)
        size = wanted or read.room(invocation, form, count, absolute=options.absolute)
        read.bounded(size, count, form)
        made = [each for series in found for each in asked.maps(series, size)]
        heatmaps = matrix.on_one_scale(made, most)
        given.found += _remarks(found, options.kind if options.probe is None else "hits")
        if options.out is not None:
            result = _written(heatmaps, options.out, form, options)
        else:
            result = _shown(invocation, heatmaps, options)
    result.diagnostics = given.found
    return result


def _remarks(found: Sequence[Series], kind: str) -> Iterator[Diagnostic]:
    """Return remarks on what may mislead in such maps."""
    apart = [
        each for each in found if each.source.ops != "paddr" and (each.regions.target < 0).any()
    ]
    for name in sorted({each.source.kdamond for each in apart if len(each.source.targets) > 1}):
        message = (
            f"of {name} the kernel does not say which process regions belong to:"
            " where several lie at the same addresses, their mean is shown"
        )
        hint = "`--source trace` shows it, also in a record made with it"
        yield Diagnostic.note("DP0633", None, message, hint=hint)
    if kind in ("accesses", "passed"):
        for name in sorted({each.source.kdamond for each in found if each.source.tuned}):
            message = f"the intervals of {name} are tuned: accesses a second depend on how often it samples"
            hint = "`--value percent` does not"
            yield Diagnostic.note("DP0690", None, message, hint=hint)


def _shown(invocation: Invocation, heatmaps: Sequence[Heatmap], options: SimpleNamespace) -> Result:
    if invocation.form == "json":
        return Result(data={"maps": [tables.to_json(each) for each in heatmaps]})
    colours, colour = options.colours, has_colour(sys.stdout)
    pictures = [
        drawn(each, colours=colours, colour=colour, absolute=options.absolute) for each in heatmaps
    ]
    return Result("\n".join(pictures), raw=True)  # names in it are escaped already


class _Asked:
    """The options' wishes, for any series."""

    def __init__(self, given: Inputs, options: SimpleNamespace) -> None:
        self.given, self.options, times = given, options, options.times
        words, ranges = ("hottest", "all"), options.ranges or ("hottest",)
        self.ranges = [each if each in words else read.range_of(each) for each in ranges]
        self.span = None if times in (None, "all") else read.span_of(times)
        if options.hottest_first and options.order != "temperature":
            raise UsageError("`--hottest-first` is about `--sort temperature`: give both")
        self.sorted = ""
        if options.order == "temperature":
            self.sorted = "hottest first" if options.hottest_first else "hottest last"

    def maps(self, series: Series, size: tuple[int, int]) -> Iterator[Heatmap]:
        """Make one map for each area."""
        begin, end = self._time(series)
        value = self._value(series)
        for area in self.areas(series):
            part, start, stop = series, area.start, area.end
            if self.sorted:
                part = matrix.sorted_by_temperature(
                    matrix.within(series, area),
                    hottest_first=self.sorted == "hottest first",
                    weights=self.given.weights,
                )
                start, stop = 0, int(part.regions.end.max(initial=1))
            window = matrix.Window(begin, end, start, stop)
            try:
                made = matrix.heatmap(part, window, size, value, sorted_as=self.sorted)
            except ValueError as error:
                hint = "only schemes with page filters tell it, in tried regions"
                raise UsageError(str(error), hint=hint) from error
            yield made

    def areas(self, series: Series) -> list[Area]:
        """Return what each map of a series shows."""
        found: list[Area] = []
        words = {"hottest", "all"}.intersection(map(str, self.ranges))
        known = matrix.areas(series) if words else []
        for each in self.ranges:
            if isinstance(each, tuple):
                found.append(Area(*each))
            elif each == "all":
                found += known[: _MOST_MAPS + 1]
            else:
                found.append(matrix.hottest(known))
        return found

    def _time(self, series: Series) -> tuple[int, int]:
        begin, end = matrix.recorded(series)
        if self.span is None:
            # one snapshot is about its past, a record about what was recorded
            past = self.options.times == "all" or len(series) == 1
            return matrix.with_past(series) if past else (begin, end)
        first, last = self.span
        origin = begin
        begin = begin if first is None else max(origin + first, -read.FURTHEST)
        end = end if last is None else min(origin + last, read.FURTHEST)
        if begin >= end:
            lasted = format_duration((matrix.recorded(series)[1] - origin) // 1000)
            message = f"`--time {self.options.times}` has no length"
            raise UsageError(message, hint=f"{lasted} were recorded")
        return begin, end

    def _value(self, series: Series) -> Value:
        probe = self.options.probe
        if probe is None:
            return Value(self.options.kind)
        probes = series.source.probes
        if probe not in probes:
            known = ", ".join(f"`{visible(each)}`" for each in probes) or "there are none"
            message = f"{visible(series.source.name)} has no probe `{visible(probe[:40])}`"
            hint = did_you_mean(probe, probes) or f"probes: {known}"
            raise UsageError(message, hint=hint)
        return Value("hits", probe=probes.index(probe))


def _written(heatmaps: Sequence[Heatmap], out: str, form: str, options: SimpleNamespace) -> Result:
    """Write maps into a file, and tell what is in it."""
    colours, absolute = options.colours, options.absolute
    try:
        if form in ("html", "csv"):
            html = form == "html"
            made = page(heatmaps, colours=colours, absolute=absolute) if html else ""
            with whole_file(out, PUBLIC) as file:
                for part in [made] if html else tables.to_csv(heatmaps):
                    file.write(part.encode("utf-8", "replace"))
        else:
            save(heatmaps, out, colours=colours, absolute=absolute)
    except OSError as error:
        message = f"`{visible(out)}` cannot be written: {reason_of(error)}"
        raise DamonPolicyError(message) from error
    count = f"{len(heatmaps)} maps" if len(heatmaps) > 1 else "1 map"
    heads = [tables.head(each) for each in heatmaps]
    return Result(as_text([f"wrote {count} to {out}"]), {"file": out, "maps": heads})


def _guide(found: Sequence[Series]) -> Result:
    told = [tables.guide(each) for each in found]
    lines: list[str] = []
    for each in told:
        time = each["time_ns"]
        begun = datetime.fromtimestamp(time["begin"] // 1_000_000_000, UTC)
        count = f"{each['snapshots']} snapshot" + "s" * (each["snapshots"] > 1)
        past = (time["begin"] - time["known_from"]) // 1_000
        lines += [
            each["name"],
            f"  time: {approximate_duration((time['end'] - time['begin']) // 1000)}"
            f" from {begun:%Y-%m-%d %H:%M:%S} UTC, {count}"
            + (f"; ages tell of {approximate_duration(past)} before" if past else ""),
        ]
        shown = sorted(each["areas"], key=lambda area: -area["hotness"])[:_MOST_MAPS]
        for area in sorted(shown, key=lambda area: area["start"]):
            lines.append(
                f"  area {area['start']:#x}-{area['end']:#x}: {approximate_bytes(area['size'])},"
                f" {number(area['accesses_per_second'])} accesses/s"
                + (", the hottest" if area["hottest"] else "")
            )
        if len(each["areas"]) > len(shown):
            lines.append(f"  {len(each['areas']) - len(shown)} colder areas")
    return Result(as_text(lines), {"sources": told})
