"""``damonpolicy record``."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import click

from damonpolicy.base.diagnostics import Diagnostic, as_text
from damonpolicy.base.errors import Busy, DamonPolicyError, ExitCode, KernelLacks, UsageError
from damonpolicy.base.handlers import handled
from damonpolicy.base.lazy import dataclass
from damonpolicy.base.units import approximate_bytes, read_bytes, read_duration
from damonpolicy.cli.context import Invocation, subcommand
from damonpolicy.cli.options.quantities import quantity
from damonpolicy.cli.show.output import Result

if TYPE_CHECKING:
    from damonpolicy.kernel.system.machine import Machine
    from damonpolicy.observe.collect.running import Kdamond
    from damonpolicy.observe.collect.trace_events import Snapshot
    from damonpolicy.observe.records.files import Tally
    from damonpolicy.observe.records.sink import Sink
    from damonpolicy.observe.status.stored_state import Remembered

__all__ = ("FORMS", "command", "some")

FORMS = ("parquet", "damo", "damo-json", "perf-script")
"""Those of `observe.records.files.FORMS`, which is imported only where needed."""

_OUT = "damon.parquet"
_TOLERATED = 10
"""Looks that are late by more than one part in this many are noted."""

_SLICE = 0.2
"""Seconds between two looks for a signal."""

_LOOK = 1.0
"""Seconds between two looks for kdamonds that have begun or ended."""


@subcommand("record")
@click.option("-o", "--out", default=_OUT, metavar="FILE", help="the file")
@click.option("--kdamond", metavar="NAME", help="only this one")
@click.option(
    "--source",
    type=click.Choice(["auto", "regions", "trace"]),
    default="auto",
    help="trace events, or regions that schemes tried; `auto`: trace events where there are any",
)
@click.option(
    "--interval", default="1s", metavar="TIME", help="time between two readings of regions"
)
@click.option("--for", "duration", metavar="TIME", help="stop after this time")
@click.option("--count", type=click.IntRange(1), metavar="N", help="stop after N snapshots of each")
@click.option("--max-size", default="256MiB", metavar="SIZE", help="begin another file then")
@click.option(
    "--keep",
    type=click.IntRange(1),
    metavar="N",
    show_default="all",
    help="the newest N files only: older snapshots are discarded",
)
@click.option(
    "--form",
    "wanted",
    type=click.Choice(FORMS),
    show_default="as FILE's name says",
    help="what to write",
)
@click.option("--force", is_flag=True, help="overwrite an existing file")
def command(invocation: Invocation, **given: Any) -> Result:
    """Record what running kdamonds see, until Ctrl-C, a signal, `--for` or `--count`.

    Trace events tell all regions of each aggregation and disturb nothing. Looking at regions
    walks them under DAMON's one lock, at each interval, and knows what page filters let pass.
    A FILE that has grown to `--max-size` is renamed to NAME.1.parquet, and so on. All are kept
    unless `--keep` says how many. Only root can read them: they tell what memory processes touch.
    """
    from damonpolicy.base.atomic import Rotation
    from damonpolicy.engine.store import Store
    from damonpolicy.observe.records.files import Tally, form_of, sink_of
    from damonpolicy.observe.status.stored_state import Remembered

    options = SimpleNamespace(**given)
    out, keep, kdamond = options.out, options.keep, options.kdamond or ""
    every = _seconds("--interval", options.interval)
    most = _seconds("--for", options.duration) if options.duration else None
    size = _size(options.max_size)
    if not options.force:
        Rotation(out, keep).refuse_to_overwrite()
    Rotation(out, keep).try_out()
    machine = invocation.machine()
    form = options.wanted or form_of(out)
    sink = sink_of(out, form, limit_bytes=size, keep=keep)
    store = Remembered(Store(invocation.places()))
    half = _unfinished(machine, store)
    notes: list[str] = []
    if invocation.form == "text" and not sys.stderr.isatty():  # a terminal is shown each snapshot
        ends = "" if most or options.count else "; Ctrl-C or SIGTERM ends it"
        sys.stderr.write(as_text([f"recording into {out}{ends}"]))
        sys.stderr.flush()
    with _stopping() as stop, sink:
        until = _Until(machine, stop, most, sink)
        tally = Tally(sink, options.count or 0)
        if _traced(machine, options.source):
            notes += _trace(machine, store, kdamond, tally, until)
        else:
            notes += _look(machine, store, kdamond, every, tally, until)
    lasted = until.lasted()
    if invocation.form == "text" and sink.names:
        sys.stderr.write(_summary(sink, lasted, notes))
    return Result(
        data={
            "files": sink.names,
            "form": form,
            "snapshots": sink.kept.snapshots,
            "regions": sink.kept.regions,
            "discarded": sink.rotation.discarded.snapshots,
            "seconds": round(lasted, 3),
            "notes": notes,
        },
        exit_code=ExitCode.OK if sink.names else ExitCode.FAILED,
        diagnostics=[*store.found, *half, *([] if sink.names else [_unseen(lasted, notes)])],
    )


def _seconds(option: str, text: str) -> float:
    seconds = quantity(read_duration, text, f"{option} {text[:40]}") / 1e6
    if seconds <= 0:
        raise UsageError(f"`{option} {text[:40]}` is no time", hint=f"write `{option} 1s`")
    return seconds


def _size(text: str) -> int:
    size = quantity(read_bytes, text, f"--max-size {text[:40]}")
    if not size:
        raise UsageError("`--max-size 0` holds nothing", hint="write `--max-size 256MiB`")
    return size


def _traced(machine: Machine, source: str) -> bool:
    """Return whether to trace: if not requested, it has to be possible."""
    if source != "auto":
        return source == "trace"
    from damonpolicy.observe.collect.trace_events import possible

    return possible(machine)


@contextmanager
def _stopping() -> Iterator[Callable[[], bool]]:
    """Note signals that end a recording, so that it ends with a complete file."""
    heard: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    with handled(dict.fromkeys(numbers, lambda number, _: heard.append(number))):
        yield lambda: bool(heard)


_INSTANT = 1e-9
"""Seconds: a clock that has run for long is not moved by less, so waiting would never end."""


@dataclass(slots=True)
class _Until:
    """The time limit of a recording, ``most`` seconds after it began, and its line on a terminal."""

    machine: Machine
    stop: Callable[[], bool]
    most: float | None
    sink: Sink
    _begun: float | None = None
    _due: float = 0.0

    def begin(self) -> None:
        """Start the clock: importing and opening are done."""
        self._begun = self.machine.monotonic()

    def lasted(self) -> float:
        """Return the seconds recorded so far."""
        return 0.0 if self._begun is None else self.machine.monotonic() - self._begun

    def left(self) -> float:
        """Return the longest wait before the next look, 0 if the recording is over."""
        if sys.stderr.isatty() and time.monotonic() >= self._due:
            self._due = time.monotonic() + _LOOK
            sys.stderr.write(f"\r\x1b[K{_counted(self.sink)}, Ctrl-C ends it")
            sys.stderr.flush()
        rest = _SLICE if self.most is None else min(self.most - self.lasted(), _SLICE)
        if self.stop() or rest < _INSTANT:
            self.clear()
            return 0.0
        return rest

    def clear(self) -> None:
        """Clear the line on the terminal."""
        if self._due:
            sys.stderr.write("\r\x1b[K")
            self._due = 0.0


def _kdamonds(machine: Machine, store: Remembered, wanted: str) -> list[Kdamond]:
    """Return the running kdamonds, or the named one."""
    from damonpolicy.kernel.system.host import busy_modules, look
    from damonpolicy.observe.collect.modules import kdamonds
    from damonpolicy.observe.collect.running import running
    from damonpolicy.plan.machine_state import retrieve

    found = running(retrieve(machine), store.managed(look(machine).boot_id))
    found = found or kdamonds(machine, busy_modules(machine))
    return [each for each in found if wanted in ("", each.name)]


def _unfinished(machine: Machine, store: Remembered) -> list[Diagnostic]:
    from damonpolicy.kernel.system.host import look
    from damonpolicy.observe.status.stored_state import unfinished

    return unfinished(store, store.managed(look(machine).boot_id), machine.monotonic())


def _nothing(machine: Machine, store: Remembered, wanted: str) -> DamonPolicyError:
    """Return the error that there is nothing to record, with what exists."""
    running = [each.name for each in _kdamonds(machine, store, "")]
    if not running and (half := _unfinished(machine, store)):
        return Busy(half[0].message, hint=half[0].hint)
    if not running:
        hint = "`damonpolicy apply POLICY` starts some, `damonpolicy status` shows them"
        return DamonPolicyError("no kdamond is running", hint=hint)
    known = ", ".join(f"`{each}`" for each in running)
    return UsageError(f"no kdamond `{wanted[:80]}` is running", hint=f"there is {known}")


def _trace(
    machine: Machine, store: Remembered, wanted: str, tally: Tally, until: _Until
) -> list[str]:
    """Record trace events, and return remarks about the recording."""
    from damonpolicy.observe.collect.trace_events import Traced, watched

    kdamonds = watched(machine, _kdamonds(machine, store, wanted))
    if not kdamonds:
        raise _nothing(machine, store, wanted)
    notes = []
    with Traced(machine, kdamonds) as traced:
        until.begin()
        look = machine.monotonic() + _LOOK
        while not tally.enough([each.source for each in traced.kdamonds]):
            left = until.left()
            _add(tally, traced.read(left))
            if not left:  # events from before the end are read, however late we are
                break
            if machine.monotonic() >= look:
                look = machine.monotonic() + _LOOK
                if traced.changed():
                    traced.follow(watched(machine, _kdamonds(machine, store, wanted)))
                if not traced.kdamonds:
                    notes.append("no kdamond runs any more")
                    break
        until.clear()
        _add(tally, traced.finish())
        lost, broken = traced.assembler.lost, traced.assembler.broken
    if lost:
        notes.append(f"the kernel dropped {lost} events, snapshots without them are left out")
    elif broken:
        notes.append(f"{broken} snapshots were not whole, and are left out")
    return notes


def _look(
    machine: Machine, store: Remembered, wanted: str, every: float, tally: Tally, until: _Until
) -> list[str]:
    """Record the regions that schemes tried, at an interval; return remarks about the recording."""
    until.begin()
    due = machine.monotonic()
    looks, late = 0, 0.0
    while True:
        if machine.monotonic() >= due:
            found = _tried(machine, store, wanted)
            _add(tally, found)
            looks += 1
            late += max(machine.monotonic() - due - every, 0.0)
            if tally.enough([each[0] for each in found]):
                until.clear()
                break
            due = max(due + every, machine.monotonic())
        left = until.left()
        if not left:
            break
        machine.sleep(min(max(due - machine.monotonic(), 0.0), left))
    if late <= every * looks / _TOLERATED:
        return []
    apart = f"{every + late / looks:.1f} s apart and not {every:g} s"
    return [f"looks were {apart}: a kdamond answers once each of its schemes had its turn"]


def _add(tally: Tally, found: Iterable[Snapshot]) -> None:
    for each in found:
        tally.add(*each)


def _tried(machine: Machine, store: Remembered, wanted: str) -> list[Snapshot]:
    """Look once at the regions that schemes tried.

    Raises a DamonPolicyError if there is nothing to look at, or asking is not allowed.
    """
    from damonpolicy.engine.session import looking
    from damonpolicy.observe.collect import live

    kdamonds = _kdamonds(machine, store, wanted)
    if not kdamonds:
        raise _nothing(machine, store, wanted)
    reasons = {each.name: live.obstacle(machine, each) for each in kdamonds}
    for each in kdamonds:
        if not (each.ours or wanted or reasons[each.name]):
            reasons[each.name] = "it is someone else's, and was not named"
    if all(reasons.values()):
        name, reason = next(iter(reasons.items()))
        kind = KernelLacks if reason == live.UNTOLD else DamonPolicyError
        raise kind(f"{name} cannot be asked: {reason}", hint="try `--source trace`")
    found = []
    for each in kdamonds:
        if not reasons[each.name]:
            with looking(machine, store.places, wait=True):
                seen = live.look(machine, each)
            for series in seen:
                begin, end = int(series.begin[0]), int(series.end[0])
                found.append((series.source, begin, end, series.intervals(0), series.regions))
    return found


def some(number: int, what: str) -> str:
    """Return a number of things in words."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _counted(sink: Sink) -> str:
    return f"{some(sink.kept.snapshots, 'snapshot')}, {some(sink.kept.regions, 'region')}"


def _summary(sink: Sink, lasted: float, notes: list[str]) -> str:
    lines = [f"{_counted(sink)} in {lasted:.1f} s"]
    if discarded := sink.rotation.discarded.snapshots:
        lines.append(f"{some(discarded, 'snapshot')} discarded: `--keep` left no more files")
    lines += [f"  {name} ({approximate_bytes(os.path.getsize(name))})" for name in sink.names]
    lines += [f"note: {each}" for each in notes]
    return as_text(lines)


def _unseen(lasted: float, notes: list[str]) -> Diagnostic:
    """Return the remark that there is no file, for anyone waiting for one."""
    message = "; ".join([f"no data arrived in {lasted:.1f} s, and no file is written", *notes])
    hint = "a kdamond reports once an aggregation: give `--for` more time, or leave it out"
    return Diagnostic.error("DP0500", None, message, hint=hint)
