"""``damonpolicy top``."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence

import click

from damonpolicy.base import log
from damonpolicy.base.errors import DamonPolicyError, UsageError
from damonpolicy.cli.context import Invocation, subcommand
from damonpolicy.cli.options.quantities import duration
from damonpolicy.cli.service import served
from damonpolicy.cli.show.goals import known, measure, unfed
from damonpolicy.cli.show.output import Result
from damonpolicy.engine.session import looking, refresh
from damonpolicy.engine.state_directory import Places
from damonpolicy.engine.store import Store
from damonpolicy.kernel.system.host import look
from damonpolicy.kernel.system.machine import Machine
from damonpolicy.observe.collect import live, trace_events
from damonpolicy.observe.collect.modules import kdamonds
from damonpolicy.observe.collect.modules import look as look_at_modules
from damonpolicy.observe.collect.running import Kdamond, running
from damonpolicy.observe.regions import Series
from damonpolicy.observe.status import document as status
from damonpolicy.observe.status.live_view import Scene
from damonpolicy.observe.status.stored_state import Remembered
from damonpolicy.observe.watermarks import free_memory
from damonpolicy.plan.machine_state import Current, retrieve
from damonpolicy.plan.state import Managed

__all__ = ("Reader", "command")

_LEAST = 100_000
"""Microseconds; looking more often would keep DAMON's lock busy."""
_MOMENT = 1.0
"""Seconds for which others can repeatedly do without DAMON's files."""
_SHORT = 2.0
"""The longest aggregation, in seconds, to wait for."""


@subcommand("top")
@click.option(
    "--interval", metavar="TIME", default="2s", callback=duration, help="time between two readings"
)
@click.option("--kdamond", metavar="NAME", help="begin with this one")
def command(invocation: Invocation, *, interval: int, kdamond: str | None) -> Result:
    """Watch kdamonds, their schemes and goals, and regions by temperature, on the terminal.

    Keys are shown at the bottom; nothing is changed. `damonpolicy status` and
    `damonpolicy report snapshot` print the same once.
    """
    if invocation.form != "text" or not all(
        stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr)
    ):
        hint = "`damonpolicy status` and `damonpolicy report snapshot` print the same"
        raise UsageError("`top` needs a terminal", hint=hint)
    if interval < _LEAST:
        raise UsageError("`--interval` is too short", hint="give at least `100ms`")
    try:
        from damonpolicy.cli.show.top_screen import Top
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("textual", "rich"):
            raise
        hint = "`pip install 'damonpolicy[top]'`"
        raise UsageError("`top` needs textual", hint=hint) from error
    machine, places = invocation.machine(), invocation.places()
    if machine.writable:
        with looking(machine, places, wait=True):
            pass  # a change that has to be ended first is reported before the screen is taken
    reader = Reader(machine, places)
    reader.named = reader.find(kdamond) if kdamond else None
    log.set_sink(lambda *_: None)  # progress and logs would be drawn over the screen
    screen = Top(reader.look, interval / 1e6, reader.named)
    try:
        screen.run()
    finally:
        signal.signal(signal.SIGCONT, signal.SIG_DFL)  # textual's handler needs a screen
    if screen.interrupted:
        raise KeyboardInterrupt
    return Result(raw=True)


class Reader:
    """A reader of scenes of a machine; it changes nothing that runs.

    Schemes are asked for their regions as reports ask them: only our own, or the one of slot
    ``named``, only where they answer, and unless ``willing`` only where DAMON's lock is held for no
    longer than a moment. Otherwise the trace events of an aggregation are watched, if it is short.
    Until then the earlier regions are shown, with their age.
    """

    def __init__(self, machine: Machine, places: Places) -> None:
        self._machine = machine
        self._places = places
        self._told: dict[tuple[int, int], Sequence[Series]] = {}
        self.named: int | None = None

    def look(self, slot: int | None, *, willing: bool = False) -> Scene:
        """Read all kdamonds, and the regions of one slot; None means the first that runs."""
        current, managed = self._read()
        there = running(current, managed)
        kdamond = next((each for each in there if each.slot == slot), there[0] if there else None)
        if kdamond is None:
            return self._modules(current.modules)
        why = self._why_not(kdamond, willing=willing)
        key = (kdamond.slot, kdamond.pid)
        asked: set[str] = set()
        quick = kdamond.intervals.sample / 1e6 <= _MOMENT  # it answers once per sampling interval
        if not self._machine.writable:
            self._told[key] = live.read(self._machine, kdamond)
        elif self._may_be_asked(kdamond) and (not why or quick or willing):
            with looking(self._machine, self._places) as session:
                if not why:
                    self._told[key] = live.look(self._machine, kdamond)
                refresh(session, only=kdamond.slot)
                asked = {kdamond.name} if kdamond.ours else set()
            current, managed = self._read()
        if why and self._watch(kdamond):
            why = f"seen by trace events: {why}"
            current, managed = self._read()
        store = Remembered(Store(self._places))
        service = store.service(lambda: served(self._machine, self._places))
        slots, why_not = {each.slot for each in there}, unfed(managed, service)
        free = free_memory(self._machine)
        found = [
            known(each.to_json(), service, why_not)
            for each in status.kdamonds(current, managed, asked=asked, free=free)
            if each.slot in slots
        ]
        if self._machine.writable:
            measure(self._machine, [each for each in found if each["slot"] == kdamond.slot])
        return Scene(found, kdamond.slot, self._told.get(key, ()), why)

    def _modules(self, names: Sequence[str]) -> Scene:
        """Read the figures of the kernel's modules, and the regions of the running one."""
        found = look_at_modules(self._machine, names, free_memory(self._machine))
        theirs = kdamonds(self._machine, names)
        if not theirs:
            return Scene(modules=found)
        kdamond = theirs[0]  # no other can run beside it
        why = "seen by trace events"
        if not self._watch(kdamond):
            why = f"`{kdamond.name}` reports its regions by trace events only: none arrived"
        return Scene(modules=found, series=self._told.get((kdamond.slot, kdamond.pid), ()), why=why)

    def _watch(self, kdamond: Kdamond) -> bool:
        """Take a kdamond's regions from its trace events; return whether there were any."""
        paused = kdamond.files.paused.yes  # and so emits none
        short = kdamond.intervals.aggregation / 1e6 <= _SHORT
        if paused or not short or not trace_events.possible(self._machine):
            return False
        try:
            found = trace_events.look(self._machine, [kdamond], patience=1.5)
        except (DamonPolicyError, OSError):  # top continues, and shows why there is nothing newer
            return False
        if found:
            self._told[kdamond.slot, kdamond.pid] = found
        return bool(found)

    def _read(self) -> tuple[Current, Managed]:
        managed = Store(self._places).managed(look(self._machine).boot_id)
        return retrieve(self._machine, managed.settings), managed

    def find(self, name: str) -> int:
        """Return the slot of a kdamond by its full name; raises UsageError without one."""
        there = running(*self._read())
        for each in there:
            if name in (each.name, f"slot {each.slot}"):
                return each.slot
        names = ", ".join(f"`{each.name}`" for each in there)
        hint = f"these run: {names}" if names else "`damonpolicy apply` starts some"
        raise UsageError(f"no kdamond `{name[:60]}` runs", hint=hint)

    def _may_be_asked(self, kdamond: Kdamond) -> bool:
        """Return whether a command may be written to it: someone else's has to be named."""
        return kdamond.ours or kdamond.slot == self.named

    def _why_not(self, kdamond: Kdamond, *, willing: bool) -> str:
        """Return why its schemes are not asked for regions; empty if they are."""
        if not self._machine.writable:
            return ""
        if not self._may_be_asked(kdamond):
            return f"someone else's: `--kdamond '{kdamond.name}'` would ask it for regions"
        why = live.obstacle(self._machine, kdamond)
        seconds = live.held_for(kdamond)
        if not why and seconds > _MOMENT and not willing:
            why = f"asking would hold DAMON's lock for up to {seconds:.1f}s: key l asks once"
        return why
