"""Input of every report: records, or running kdamonds, and the selection of regions."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import field, replace
from typing import TYPE_CHECKING, Any

import click

from damonpolicy.base.diagnostics import Diagnostic, did_you_mean, visible
from damonpolicy.base.errors import Busy, KernelLacks, UsageError
from damonpolicy.base.lazy import dataclass
from damonpolicy.base.units import UnitError
from damonpolicy.cli.context import Invocation, with_options
from damonpolicy.cli.options import names
from damonpolicy.kernel.system.machine import Machine
from damonpolicy.observe.regions import Series
from damonpolicy.observe.reports.select import READERS, Bounds, read_range, selected

if TYPE_CHECKING:
    from damonpolicy.observe.collect.running import Kdamond

__all__ = ("Inputs", "choice", "inputs")

LONG = 1.0
"""Seconds from which a report mentions that DAMON's lock is held."""


@dataclass
class Inputs:
    """The options of a report; `load` reads what they name.

    ``found`` collects remarks beside the report.
    """

    files: tuple[str, ...] = ()
    kdamond: str | None = None
    scheme: str | None = None
    source: str = "auto"
    ranges: dict[str, str | None] = field(default_factory=dict)
    weights: tuple[int, int, int] | None = None
    as_damo: bool = False
    """Whether numbers are computed and shown as damo does."""
    found: list[Diagnostic] = field(default_factory=list)
    asked: dict[str, Kdamond] = field(default_factory=dict)
    """The running kdamonds that were looked at, by name."""
    _unknown: bool = False
    """Whether it is unknown which kdamonds are ours: watching disturbs none, asking might."""
    whole: bool = False
    """Whether a part of the regions is useless, so that trace events are better if available."""

    apart: bool = False
    """Whether the process of a region matters: then trace events are better, too."""

    def load(self, invocation: Invocation) -> list[Series]:
        """Return all requested series, with the requested regions.

        Raises UsageError where nothing of that name is there, KernelLacks where no kdamond runs, and
        Busy where none does while a change has to be ended.
        """
        asked = {name: text for name, text in self.ranges.items() if text is not None}
        wanted = {name: _bounds(name, text) for name, text in asked.items()}
        series = self._records() if self.files else self._live(invocation)
        return [selected(self._weighed(each), wanted) for each in self._named(series)]

    def _weighed(self, series: Series) -> Series:
        """Return a series with the options for numbers applied, so that no report forgets them."""
        series = replace(series, as_damo=self.as_damo)
        if self.weights is None:
            return series
        return replace(series, source=replace(series.source, weights=self.weights))

    def _records(self) -> list[Series]:
        from damonpolicy.observe.records.files import joined, load

        found = joined(each for path in self.files for each in load(path))
        self.found += _unrecorded(found)
        return found

    def _named(self, series: list[Series]) -> list[Series]:
        """Return the series of the named kdamond and scheme."""
        for name, given in (("kdamond", self.kdamond), ("scheme", self.scheme)):
            if given is None:
                continue
            names = [getattr(each.source, name) for each in series]
            if given not in names:
                there = sorted({each for each in names if each})
                raise _unknown(f"--{name}", given, there, most=8)
            series = [each for each, its in zip(series, names, strict=True) if its == given]
        return series

    def _live(self, invocation: Invocation) -> list[Series]:
        from damonpolicy.cli.show.preview import looked_at
        from damonpolicy.kernel.system.host import busy_modules
        from damonpolicy.observe.collect.modules import kdamonds
        from damonpolicy.observe.collect.running import running
        from damonpolicy.observe.status.stored_state import unfinished
        from damonpolicy.plan.machine_state import retrieve

        session, store = looked_at(invocation)
        machine, managed = session.machine, session.managed
        half = unfinished(store, managed, machine.monotonic())
        self.found += [*store.found, *half]
        self._unknown = store.unknown
        there = running(retrieve(machine), managed)
        # someone else's is asked only if named: that is a write to its files
        of_modules = kdamonds(machine, busy_modules(machine)) if not there else []
        unsure = store.unknown and self.source != "regions"
        chosen = [
            each
            for each in (*there, *of_modules)
            if each.name == self.kdamond
            or (self.kdamond is None and (each.ours or unsure or each in of_modules))
        ]
        if not chosen:
            if half:
                raise Busy(half[0].message, hint=half[0].hint)
            raise self._nothing([*there, *of_modules])
        self.asked = {each.name: each for each in chosen}
        regions = [each for each in chosen if self._tells_regions(machine, each)]
        traced = [each for each in chosen if each not in regions]
        found = [*self._asked(invocation, regions), *self._traced(invocation, traced)]
        if not found:
            message = self.found[-1].message if self.found else "no kdamond reports its regions"
            raise KernelLacks(message, hint="a scheme with `action: stat` reports them: add one")
        return found

    def _nothing(self, there: Sequence[Kdamond]) -> Exception:
        names = [each.name for each in there]
        if self.kdamond is not None and there:
            return _unknown("--kdamond", self.kdamond, names)
        if there:
            hint = f"`--kdamond '{names[0]}'` looks at what someone else runs"
            return KernelLacks("no kdamond of ours runs", hint=hint, diagnostics=self.found)
        hint = "`damonpolicy apply` starts a policy, and a record can be named instead"
        return KernelLacks("no kdamond runs, so there is nothing to see", hint=hint)

    def _tells_regions(self, machine: Machine, kdamond: Kdamond) -> bool:
        """Decide for a kdamond whether to ask its schemes, and report the cost."""
        from damonpolicy.observe.collect import live, trace_events

        if self.source == "trace" or (self._unknown and self.source == "auto"):
            return False
        writable = machine.writable
        untold = kdamond.schemes and not live.tells(machine, kdamond)
        if untold and not (writable and self.source == "auto"):
            message = f"{kdamond.name} cannot be asked for its regions: {live.UNTOLD}"
            copied = "`damonpolicy record` on that machine does"
            hint = "`--source trace` reads trace events" if writable else copied
            raise KernelLacks(message, hint=hint)
        why = live.obstacle(machine, kdamond) if writable else ""
        if why and self.source == "auto":
            return False
        if why:
            message = f"{kdamond.name} cannot be asked for its regions: {why}"
            raise UsageError(message, hint="`--source trace` needs no answer")
        missing = self.scheme is None and writable and live.partial(kdamond)
        processes = [each for each in kdamond.files.targets if each.pid.number]
        mixed = self.apart and self.scheme is None and writable and len(processes) > 1
        better = self.source == "auto" and ((missing and self.whole) or mixed)
        if better and trace_events.possible(machine):
            return False
        seconds = live.held_for(kdamond)
        if seconds > LONG and writable:
            message = (
                f"asking {kdamond.name} holds DAMON's lock for up to {seconds:.1f} s:"
                " no one else can use its files meanwhile"
            )
            hint = "`--source trace` holds no lock"
            self.found.append(Diagnostic.note("DP0630", None, message, hint=hint))
        if missing:
            message = f"of {kdamond.name} only the regions that its schemes select are seen"
            hint = "`--source trace` sees all, and so does the scheme that `apply --monitor` adds"
            self.found.append(Diagnostic.note("DP0632", None, message, hint=hint))
        return True

    def _asked(self, invocation: Invocation, kdamonds: Sequence[Kdamond]) -> list[Series]:
        from damonpolicy.engine.session import looking
        from damonpolicy.observe.collect import live

        machine, found = invocation.machine(), []
        for each in kdamonds:
            if not machine.writable:
                found += live.read(machine, each)
                continue
            with looking(machine, invocation.places(), wait=True):
                found += live.look(machine, each)
        return found

    def _traced(self, invocation: Invocation, kdamonds: Sequence[Kdamond]) -> list[Series]:
        if not kdamonds:
            return []
        from damonpolicy.observe.collect.trace_events import look

        found = look(invocation.machine(), kdamonds)
        seen = {each.source.kdamond for each in found}
        for each in kdamonds:
            if each.name not in seen:
                message = f"{each.name} reported nothing while it was traced"
                hint = "it may be paused, asleep by watermarks, or have no process left"
                self.found.append(Diagnostic.warning("DP0631", None, message, hint=hint))
        return found


def _bounds(name: str, text: str) -> Bounds:
    try:
        return read_range(text, READERS[name])
    except UnitError as error:
        option = "--" + name.replace("_", "-")
        raise UsageError(f"{option}: {error.message}", hint=error.hint) from error


def _unknown(option: str, given: str, there: Sequence[str], most: int | None = None) -> UsageError:
    """Return the error for a name that nothing has."""
    hint = "trace events are of no scheme: `--source regions` asks schemes"
    if there:
        hint = did_you_mean(given, there) or f"there is {_quoted(there[:most])}"
    return UsageError(f"{option}: nothing is called `{given}`", hint=hint)


def _unrecorded(found: Sequence[Series]) -> Iterator[Diagnostic]:
    """Return remarks on what records lack, such as those of other programs."""
    hint = "`damonpolicy record` records both"
    if names := sorted({each.source.name for each in found if each.source.ageless}):
        message = f"no ages were recorded for {_listed(names)}: what depends on them is not known"
        yield Diagnostic.note("DP0691", None, message, hint=hint)
    if names := sorted({each.source.name for each in found if each.source.guessed}):
        message = (
            f"no intervals were recorded for {_listed(names)}: they are guessed by the times of"
            " snapshots, and access rates and ages with them"
        )
        yield Diagnostic.note("DP0692", None, message, hint=hint)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if names[3:] else ""
    return _quoted([visible(each) for each in names[:3]]) + more


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f"`{each}`" for each in names)


_RANGES = {
    "size": "regions of this size, such as 1MiB-1GiB",
    "access_rate": "regions of this access rate, such as 5%-",
    "age": "regions of this age, such as 2m-",
    "address": "addresses in this range, such as 4GiB-6GiB",
    "temperature": "regions of this temperature, such as -1000..0",
}
"""Options that select regions, and what they select."""


def choice(*names: str, words: Sequence[str], **more: Any) -> Callable[..., Any]:
    """Add an option of some words, the first by default."""
    return click.option(*names, type=click.Choice(words), default=words[0], **more)


_OPTIONS = (
    click.argument("files", nargs=-1, type=click.Path()),
    click.option("--kdamond", metavar="NAME", help="only this one, by its name in `status`"),
    click.option(
        "--scheme", metavar="NAME", shell_complete=names.schemes, help="only what this scheme tried"
    ),
    choice(
        "--source",
        words=("auto", "regions", "trace"),
        help="ask schemes for the regions they try, or watch trace events for an aggregation",
    ),
    *(
        click.option(f"--{name.replace('_', '-')}", metavar="RANGE", help=f"only {what}")
        for name, what in _RANGES.items()
    ),
    click.option(
        "--temperature-weights",
        metavar="SIZE,RATE,AGE",
        show_default="the policy's, else 0,100,100",
        help="weights of temperature",
    ),
    click.option(
        "--as-damo",
        is_flag=True,
        help="access rates below 1% count as idle, and temperatures have all digits, as in damo",
    ),
)


def inputs(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that select a report's input; the report takes them as ``given``."""

    @functools.wraps(function)
    def called(*arguments: Any, **options: Any) -> Any:
        own = ("files", "kdamond", "scheme", "source", "as_damo")
        given = Inputs(**{name: options.pop(name) for name in own})
        given.ranges = {name: options.pop(name) for name in _RANGES}
        weights = options.pop("temperature_weights")
        given.weights = _weights(weights) if weights else None
        return function(*arguments, given, **options)

    return with_options(called, _OPTIONS)


def _weights(text: str) -> tuple[int, int, int]:
    parts = text.split(",")
    if len(parts) != 3 or not all(each.strip().isdecimal() and len(each) < 10 for each in parts):
        message = f"--temperature-weights: `{text[:60]}` is not three whole numbers of 9 digits"
        raise UsageError(message, hint="write for example `0,100,100`: size, access rate, age")
    size, rate, age = (int(each) for each in parts)
    return size, rate, age
