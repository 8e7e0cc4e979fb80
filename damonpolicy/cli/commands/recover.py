"""``damonpolicy recover``."""

from __future__ import annotations

import click

from damonpolicy.base.diagnostics import as_text
from damonpolicy.cli.context import Invocation, subcommand
from damonpolicy.cli.show.output import Result
from damonpolicy.engine.session import changing


@subcommand("recover")
@click.option("--wait", is_flag=True, help="wait while another damonpolicy changes the machine")
@click.option("--overwrite", is_flag=True, help="put back what someone else wrote, too")
def command(invocation: Invocation, *, wait: bool, overwrite: bool) -> Result:
    """End a transaction that was interrupted: complete it, or put everything back.

    Every changing command does this first. What someone else wrote meanwhile is left as it is, and
    holds up all changes until it is mended: with `--overwrite` it is put back where it lies in a
    setting or a slot of the transaction, and a kdamond that was started there is stopped.
    Without a wheel or site packages, `python -m damonpolicy.engine.recover` does the same.
    """
    with changing(
        invocation.machine(), invocation.places(), wait=wait, settle=True, overwrite=overwrite
    ) as session:
        done = session.remarks
    text = as_text(done or ["nothing to recover"])
    return Result(text, {"done": done}, changed=bool(done))
