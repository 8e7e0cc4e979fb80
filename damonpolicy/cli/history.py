"""``damonpolicy history``."""

from __future__ import annotations

import time

import click

from damonpolicy.cli.invocation import Invocation, common, pass_invocation
from damonpolicy.cli.output import Result
from damonpolicy.diagnostics import as_text
from damonpolicy.engine.store import Store
from damonpolicy.kernel.host import look


@click.command("history")
@common
@pass_invocation
def command(invocation: Invocation) -> Result:
    """List the generations, the newest last.

    The one marked `now` is in force, the one marked `confirmed` comes back at boot.
    """
    store = Store(invocation.places())
    managed = store.managed(look(invocation.machine()).boot_id)
    confirmed = store.confirmed()
    rows = []
    for number in store.numbers():
        generation = store.generation(number)
        marks = [
            mark
            for mark, holds in (
                ("now", number == managed.generation),
                ("unconfirmed", generation.awaits),
                ("confirmed", number == confirmed),
            )
            if holds
        ]
        rows.append(
            {
                "generation": number,
                "when": generation.when,
                "reason": generation.reason,
                "kernel": generation.release,
                "policies": sorted(generation.policies),
                "marks": marks,
            }
        )
    return Result(_text(rows), {"generations": rows})


def _text(rows: list[dict[str, object]]) -> str:
    lines = []
    for row in rows:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(float(str(row["when"]))))
        policies, marks = row["policies"], row["marks"]
        assert isinstance(policies, list)
        assert isinstance(marks, list)
        names = ", ".join(policies) or "nothing"
        shown = f"  [{', '.join(marks)}]" if marks else ""
        lines.append(f"{row['generation']:>4}  {when}  {names} ({row['reason']}){shown}")
    return as_text(lines or ["no generation yet"])
