"""``damonpolicy confirm``."""

from __future__ import annotations

import click

from damonpolicy.cli.context import Invocation, subcommand
from damonpolicy.cli.show.output import Result, notes
from damonpolicy.engine.session import changing


@subcommand("confirm")
@click.option("--wait", is_flag=True, help="wait while another damonpolicy changes the machine")
def command(invocation: Invocation, *, wait: bool) -> Result:
    """Keep a change that was applied with `--confirm-within`."""
    with changing(invocation.machine(), invocation.places(), wait=wait, settle=True) as session:
        number = session.confirm()
        text = f"{notes(session)}generation {number} is confirmed\n"
        return Result(text, {"generation": number}, changed=True)
