"""``damonpolicy remove``."""

from __future__ import annotations

from collections.abc import Sequence

import click

from damonpolicy.base.diagnostics import Diagnostic
from damonpolicy.cli.context import Invocation, subcommand
from damonpolicy.cli.options import names
from damonpolicy.cli.show.output import Result, notes
from damonpolicy.cli.show.preview import dry_run, previewed, without
from damonpolicy.engine.prepare import prepare
from damonpolicy.engine.session import Session, changing
from damonpolicy.engine.transaction import Terms
from damonpolicy.plan.ir import CompiledPolicy
from damonpolicy.plan.show import render


@subcommand("remove")
@click.argument("names", nargs=-1, required=True, metavar="NAME...", shell_complete=names.policies)
@dry_run
@click.option("--wait", is_flag=True, help="wait while another damonpolicy changes the machine")
def command(invocation: Invocation, names: Sequence[str], *, dry_run: bool, wait: bool) -> Result:
    """End policies: stop their kdamonds, and put settings back that nobody else uses.

    What is not applied is not there already: that is no error.
    """
    found: list[Diagnostic] = []

    def rest(session: Session) -> tuple[dict[str, CompiledPolicy], Sequence[str]]:
        left, absent = without(session, names)
        found.extend(absent)
        return left, ()

    if dry_run:
        result = previewed(invocation, rest)
        result.diagnostics = [*result.diagnostics, *found]
        return result
    machine = invocation.machine()
    with changing(machine, invocation.places(), wait=wait) as session:
        left, affected = rest(session)
        current, plan = prepare(machine, session.managed, left, affected)
        changed = session.carry_out(current, plan, Terms("remove " + " ".join(names), rescue=True))
        text = notes(session) + render.render(plan, changes=changed)
        if changed:
            text += f"\nRemoved and verified as generation {session.managed.generation}.\n"
        data = {**render.to_json(plan), "generation": session.managed.generation}
        return Result(text, data, changed=changed, diagnostics=found)
