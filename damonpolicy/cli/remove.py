"""``damonpolicy remove``."""

from __future__ import annotations

from collections.abc import Sequence

import click

from damonpolicy.cli import names
from damonpolicy.cli.invocation import Invocation, common, pass_invocation
from damonpolicy.cli.output import Result
from damonpolicy.diagnostics import as_text, did_you_mean
from damonpolicy.engine.prepare import prepare
from damonpolicy.engine.session import changing
from damonpolicy.errors import UsageError
from damonpolicy.plan import render


@click.command("remove")
@click.argument("names", nargs=-1, required=True, metavar="NAME...", shell_complete=names.policies)
@click.option("--wait", is_flag=True, help="wait while another damonpolicy changes the machine")
@common
@pass_invocation
def command(invocation: Invocation, names: Sequence[str], *, wait: bool) -> Result:
    """End policies: stop their kdamonds, and put settings back that nobody else uses."""
    machine = invocation.machine()
    with changing(machine, invocation.places(), wait=wait) as session:
        managed = session.managed.policies
        for name in names:
            if name not in managed:
                hint = did_you_mean(name, managed) or "`damonpolicy status` lists what is applied"
                raise UsageError(f"no policy `{name[:63]}` is applied", hint=hint)
            if managed[name].owner != "hand":
                message = f"the policy `{name}` belongs to {managed[name].owner}"
                hint = "take its file away there; if that service is no more, `damonpolicy apply FILE` makes it yours"
                raise UsageError(message, hint=hint)
        rest = {name: policy for name, policy in managed.items() if name not in names}
        current, plan = prepare(machine, session.managed, rest, ())
        notes = as_text(f"note: {remark}" for remark in session.remarks)
        changed = session.carry_out(current, plan, "remove " + " ".join(names))
        text = notes + render.render(plan, changes=changed)
        text += f"\nRemoved and verified as generation {session.managed.generation}.\n"
        data = {**render.to_json(plan), "generation": session.managed.generation}
        return Result(text, data, changed=changed)
