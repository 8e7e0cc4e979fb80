"""``damonpolicy stop``."""

from __future__ import annotations

import click

from damonpolicy.base.errors import UsageError
from damonpolicy.cli.context import Invocation, subcommand
from damonpolicy.cli.show.output import Result
from damonpolicy.cli.show.preview import done, dry_run, previewed
from damonpolicy.engine.session import changing


@subcommand("stop")
@click.option("--all", "everything", is_flag=True, help="end all policies, whoever applied them")
@dry_run
@click.option("--wait", is_flag=True, help="wait while another damonpolicy changes the machine")
def command(invocation: Invocation, *, everything: bool, dry_run: bool, wait: bool) -> Result:
    """End all policies and put all settings back; kdamonds of someone else go on.

    Needs no policy file, no YAML and no third-party package but click; without even that,
    `python -m damonpolicy.engine.recover --stop-all` does the same.
    """
    if not everything:
        raise UsageError("`stop` needs `--all`", hint="`damonpolicy remove NAME` ends one policy")
    if dry_run:
        return previewed(invocation, lambda _: ({}, (), ()))
    with changing(invocation.machine(), invocation.places(), wait=wait, settle=True) as session:
        plan, changed = session.stop_all()
        return done(session, plan, "Stopped and verified", changed=changed, served=True)
