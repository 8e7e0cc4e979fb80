"""``damonpolicy recover``."""

from __future__ import annotations

import click

from damonpolicy.cli.invocation import Invocation, common, pass_invocation
from damonpolicy.cli.output import Result
from damonpolicy.engine.session import changing


@click.command("recover")
@click.option("--wait", is_flag=True, help="wait while another damonpolicy changes the machine")
@common
@pass_invocation
def command(invocation: Invocation, *, wait: bool) -> Result:
    """End a transaction that was interrupted: complete it, or put everything back.

    Every changing command does this first. Without a wheel or site packages,
    `python -m damonpolicy.engine.recover` does the same.
    """
    with changing(invocation.machine(), invocation.places(), wait=wait, settle=True) as session:
        done = session.remarks
    text = "".join(f"{line}\n" for line in done) or "nothing to recover\n"
    return Result(text, {"done": done}, changed=bool(done))
