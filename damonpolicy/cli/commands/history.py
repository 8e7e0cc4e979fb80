"""``damonpolicy history``."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import click

from damonpolicy.base.diagnostics import as_text
from damonpolicy.cli.context import Invocation, subcommand
from damonpolicy.cli.options import names
from damonpolicy.cli.show.output import Result
from damonpolicy.cli.show.preview import looked_at


@subcommand("history")
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=names.policies)
def command(invocation: Invocation, names: Sequence[str]) -> Result:
    """List the generations, the newest last; those with some policies, if they are named.

    The one marked `now` is in force, the one marked `confirmed` comes back at boot.
    """
    session, store = looked_at(invocation)
    confirmed, in_force = store.confirmed(), session.managed.generation
    rows = []
    for number in sorted({*store.numbers(), in_force, confirmed} - {0}):
        generation = store.generation(number)
        if names and (generation is None or generation.policies.keys().isdisjoint(names)):
            continue
        holds = {
            "now": number == in_force,
            "unconfirmed": generation is not None and generation.awaits,
            "confirmed": number == confirmed,
            "unreadable": generation is None,
        }
        rows.append(
            {
                "generation": number,
                "when": generation and generation.when,
                "reason": generation and generation.reason,
                "kernel": generation and generation.release,
                "policies": sorted(generation.policies) if generation else None,
                "marks": [mark for mark, there in holds.items() if there],
            }
        )
    return Result(_text(rows), {"generations": rows}, diagnostics=store.found)


def _text(rows: list[dict[str, Any]]) -> str:
    lines = []
    for row in rows:
        shown = f"  [{', '.join(row['marks'])}]" if row["marks"] else ""
        if row["when"] is None:
            lines.append(f"{row['generation']:>4}  ?{shown}")
            continue
        when = time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(row["when"]))
        names = ", ".join(row["policies"]) or "nothing"
        lines.append(f"{row['generation']:>4}  {when}  {names} ({row['reason']}){shown}")
    return as_text(lines or ["no generation yet"])
