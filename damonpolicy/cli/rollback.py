"""``damonpolicy rollback``."""

from __future__ import annotations

import click

from damonpolicy.cli.invocation import Invocation, common, pass_invocation
from damonpolicy.cli.output import Result
from damonpolicy.engine.session import Session, changing
from damonpolicy.errors import UsageError
from damonpolicy.plan import render


@click.command("rollback")
@click.argument("generation", required=False, type=click.IntRange(min=0))
@click.option("--wait", is_flag=True, help="wait while another damonpolicy changes the machine")
@common
@pass_invocation
def command(invocation: Invocation, generation: int | None, *, wait: bool) -> Result:
    """Go back to GENERATION, or to the one before the present one.

    `damonpolicy history` lists them; generation 0 is nothing at all.
    """
    with changing(invocation.machine(), invocation.places(), wait=wait, settle=True) as session:
        notes = "".join(f"note: {remark}\n" for remark in session.remarks)
        if session.expired and generation is None:
            return Result(notes, {"generation": session.managed.generation}, changed=True)
        number = _previous(session) if generation is None else generation
        plan, changed = session.roll_back(number, f"rollback to generation {number}")
        text = notes + render.render(plan, changes=changed)
        if changed:
            now = session.managed.generation
            text += f"\nBack to generation {number}, verified, as generation {now}.\n"
        data = {**render.to_json(plan), "generation": session.managed.generation}
        return Result(text, data, changed=changed)


def _previous(session: Session) -> int:
    managed = session.managed
    if managed.pending is not None:
        return managed.pending.previous
    if managed.generation == 0:
        raise UsageError("nothing was applied on this boot", hint="name a generation")
    earlier = [number for number in session.store.numbers() if number < managed.generation]
    return earlier[-1] if earlier else 0
