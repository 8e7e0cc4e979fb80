"""``damonpolicy remove``."""

from __future__ import annotations

from collections.abc import Sequence

import click

from damonpolicy.cli.context import Invocation, subcommand
from damonpolicy.cli.options import names
from damonpolicy.cli.show.output import Result
from damonpolicy.cli.show.preview import done, dry_run, previewed, without
from damonpolicy.engine.prepare import prepare
from damonpolicy.engine.session import changing
from damonpolicy.engine.transaction import Terms


@subcommand("remove")
@click.argument("names", nargs=-1, required=True, metavar="NAME...", shell_complete=names.policies)
@dry_run
@click.option("--wait", is_flag=True, help="wait while another damonpolicy changes the machine")
def command(invocation: Invocation, names: Sequence[str], *, dry_run: bool, wait: bool) -> Result:
    """End policies: stop their kdamonds, and put settings back that nobody else uses.

    What is not applied is not there already: that is no error.
    """
    if dry_run:
        return previewed(invocation, lambda session: without(session, names))
    machine = invocation.machine()
    with changing(machine, invocation.places(), wait=wait) as session:
        left, affected, found = without(session, names)
        current, plan = prepare(machine, session.managed, left, affected)
        changed = session.carry_out(current, plan, Terms("remove " + " ".join(names), rescue=True))
        result = done(session, plan, "Removed and verified", changed=changed)
        result.diagnostics = found
        return result
