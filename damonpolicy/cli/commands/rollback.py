"""``damonpolicy rollback``."""

from __future__ import annotations

import click

from damonpolicy.cli.context import Invocation, subcommand
from damonpolicy.cli.options import names
from damonpolicy.cli.options.confirmation import confirmation, terms
from damonpolicy.cli.options.loading import compiled_before
from damonpolicy.cli.show.output import Result, notes
from damonpolicy.cli.show.preview import back, done, dry_run, known, previewed
from damonpolicy.engine.session import Session, changing


@subcommand("rollback")
@click.argument(
    "generation",
    required=False,
    type=click.IntRange(min=0),
    shell_complete=names.generations,
)
@dry_run
@click.option("--confirm-within", metavar="TIME", help="go on again unless confirmed in time")
@click.option("--wait", is_flag=True, help="wait while another damonpolicy changes the machine")
def command(
    invocation: Invocation,
    generation: int | None,
    confirm_within: str | None,
    *,
    dry_run: bool,
    wait: bool,
) -> Result:
    """Go back to GENERATION, or to the last one before the present one that was kept.

    `damonpolicy history` lists them; generation 0 is nothing at all. One that was to be confirmed
    and never was is gone back to only by its number.
    """
    within = confirmation(confirm_within)

    def chosen(session: Session) -> int:
        return session.previous() if generation is None else known(session, generation)

    if dry_run:
        return previewed(invocation, lambda session: back(session, chosen(session)))
    with changing(invocation.machine(), invocation.places(), wait=wait, settle=True) as session:
        if session.expired and generation is None:
            return Result(notes(session), {"generation": session.managed.generation}, changed=True)
        number = chosen(session)
        if session.awaits(number):
            session.remarks.append(f"generation {number} was never confirmed")
        with compiled_before(invocation, lambda: session.store.generation(number).policies):
            how = terms(invocation, f"rollback to generation {number}", within)
            plan, changed = session.roll_back(number, how)
        what = f"Back to generation {number}, verified,"
        result = done(session, plan, what, changed=changed, within=within, served=True)
        if not changed and session.managed.pending is not None:
            number = session.managed.generation
            result.text += f"\nGeneration {number} still waits to be confirmed.\n"
        return result
