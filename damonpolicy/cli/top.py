"""``damonpolicy top``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import click

from damonpolicy import log
from damonpolicy.cli.goals import known
from damonpolicy.cli.invocation import Invocation, common, pass_invocation
from damonpolicy.cli.output import Result
from damonpolicy.cli.quantities import duration
from damonpolicy.cli.service import served
from damonpolicy.engine.places import Places
from damonpolicy.engine.session import changing
from damonpolicy.engine.store import Store
from damonpolicy.errors import UsageError
from damonpolicy.kernel.host import look
from damonpolicy.kernel.sysfs import Machine
from damonpolicy.observe import live, status
from damonpolicy.observe.live_view import Scene
from damonpolicy.observe.regions import Series
from damonpolicy.plan.current import retrieve

__all__ = ("Reader", "command")

_LEAST = 100_000
"""Microseconds; looking more often would keep DAMON's lock busy."""
_MOMENT = 1.0
"""Seconds for which others can do without DAMON's files, again and again."""


@click.command("top")
@click.option(
    "--interval", metavar="TIME", default="2s", callback=duration, help="time between two looks"
)
@click.option("--kdamond", metavar="NAME", help="begin with this one")
@common
@pass_invocation
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
        from damonpolicy.cli.top_screen import Top
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("textual", "rich"):
            raise
        hint = "`pip install 'damonpolicy[top]'`"
        raise UsageError("`top` needs textual", hint=hint) from error
    reader = Reader(invocation.machine(), invocation.places())
    reader.named = reader.find(kdamond) if kdamond else None
    log.set_sink(_unheard)  # progress and logs would be drawn over the screen
    Top(reader.look, interval / 1e6, reader.named).run()
    return Result(raw=True)


def _unheard(level: log.Level, event: str, values: dict[str, Any]) -> None:
    """Drop what is logged."""
    del level, event, values


class Reader:
    """Reads scenes of a machine; changes nothing that runs.

    Schemes are asked for their regions as reports ask them: only our own, or the one of slot
    ``named``, only where they answer, and unless ``willing`` only where DAMON's lock is held
    for no longer than a moment. What was told before is shown until then, and how old it is.
    """

    def __init__(self, machine: Machine, places: Places) -> None:
        self._machine = machine
        self._places = places
        self._told: dict[tuple[int, int], Sequence[Series]] = {}
        self.named: int | None = None

    def look(self, slot: int | None, *, willing: bool = False) -> Scene:
        """Read all kdamonds, and what the one in a slot saw; the first that runs for None."""
        managed = Store(self._places).managed(look(self._machine).boot_id)
        current = retrieve(self._machine, managed.settings)
        there = {each.slot: each for each in live.running(current, managed)}
        service = served(self._machine, self._places)
        found = [
            known(each.to_json(), service)
            for each in status.kdamonds(current, managed)
            if each.slot in there
        ]
        if slot not in there:
            slot = next(iter(there), None)
        if slot is None:
            return Scene()
        kdamond = there[slot]
        why = self._why_not(kdamond, willing=willing)
        key = (slot, kdamond.pid)
        if not why:
            self._told[key] = self._ask(kdamond)
        return Scene(found, slot, self._told.get(key, ()), why)

    def find(self, name: str) -> int:
        """Return the slot of a kdamond by its full name; raises UsageError without one."""
        managed = Store(self._places).managed(look(self._machine).boot_id)
        there = live.running(retrieve(self._machine), managed)
        for each in there:
            if name in (each.name, f"slot {each.slot}"):
                return each.slot
        running = ", ".join(f"`{each.name}`" for each in there)
        hint = f"these run: {running}" if running else "`damonpolicy apply` starts some"
        raise UsageError(f"no kdamond `{name[:60]}` runs", hint=hint)

    def _why_not(self, kdamond: live.Kdamond, *, willing: bool) -> str:
        """Say why its schemes are not asked for regions; empty if they are."""
        if not self._machine.writable:
            return ""
        if not kdamond.ours and kdamond.slot != self.named:
            return f"someone else's: `--kdamond '{kdamond.name}'` would ask it for regions"
        why = live.obstacle(kdamond)
        seconds = live.held_for(kdamond)
        if not why and seconds > _MOMENT and not willing:
            why = f"asking would hold DAMON's lock for up to {seconds:.1f}s: key l asks once"
        return why

    def _ask(self, kdamond: live.Kdamond) -> Sequence[Series]:
        machine = self._machine
        if not machine.writable:
            return live.read(machine, kdamond)
        with changing(machine, self._places, settle=True):
            before = live.told(machine, kdamond)
            live.ask(machine, kdamond)
            found = live.read(machine, kdamond)
            if not before:
                live.clear(machine, kdamond)
        return found
