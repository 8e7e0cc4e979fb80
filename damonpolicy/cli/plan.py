"""``damonpolicy plan``."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import click

from damonpolicy.cli.invocation import Invocation, common, pass_invocation
from damonpolicy.cli.loading import monitor_option, policy_options, read
from damonpolicy.cli.output import Result
from damonpolicy.diagnostics import Diagnostic
from damonpolicy.engine.prepare import prepare
from damonpolicy.engine.store import Store
from damonpolicy.errors import DamonPolicyError, ExitCode, reason_of
from damonpolicy.kernel.capabilities import detect
from damonpolicy.kernel.host import look
from damonpolicy.observe.remembered import Remembered, overdue
from damonpolicy.plan import render, saved
from damonpolicy.plan.current import retrieve
from damonpolicy.plan.managed import Managed


@click.command("plan")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...", type=click.Path())
@click.option(
    "--out", type=click.Path(), metavar="FILE", help="save the plan for `apply --plan FILE`"
)
@click.option("--prune", is_flag=True, help="end policies that are not given")
@click.option("--takeover", is_flag=True, help="allow to take slots of someone else")
@click.option("--unfed", is_flag=True, help="allow goals that nobody feeds")
@policy_options
@monitor_option
@common
@pass_invocation
def command(
    invocation: Invocation,
    paths: Sequence[str],
    settings: Sequence[str],
    variables: Sequence[str],
    *,
    monitor: bool,
    out: str | None,
    prune: bool,
    takeover: bool,
    unfed: bool,
) -> Result:
    """Show what `apply` would do, as a diff; writes nothing to the machine.

    Exits with 0 where nothing would change, with 2 where something would.
    """
    from damonpolicy.plan.loading import Source, compile_on, located, wanted

    machine = invocation.machine()
    loaded = read(invocation, paths, settings, variables, machine, monitor=monitor)
    capabilities = detect(machine, retrieve(machine).tree)
    compiled = compile_on([Source(loaded)], machine, capabilities, unfed=unfed)
    store = Remembered(Store(invocation.places()))
    managed = store.managed(look(machine).boot_id)
    policies = wanted(managed, compiled.policies, without="hand" if prune else "")
    with located(compiled.spans):
        _, plan = prepare(machine, managed, policies, compiled.policies, takeover=takeover)
    if out is not None:
        _save(Path(out), saved.to_json(plan, capabilities.digest))
    changes = plan.changes(managed)
    return Result(
        text=render.render(plan, changes=changes),
        data=render.to_json(plan),
        exit_code=ExitCode.CHANGES if changes else ExitCode.OK,
        diagnostics=[*compiled.found, *_warnings(store, managed, machine.monotonic())],
        texts=invocation.texts,
    )


def _save(path: Path, data: object) -> None:
    try:
        with open(path, "w", encoding="utf-8", opener=_private) as stream:
            stream.write(json.dumps(data, indent=1) + "\n")
    except OSError as error:
        message = f"cannot write `{path}`: {reason_of(error)}"
        raise DamonPolicyError(message) from error


def _private(path: str, flags: int) -> int:
    """Make a file that nobody else may write, whatever the umask: `apply` would refuse it."""
    return os.open(path, flags, 0o600)


def _warnings(store: Remembered, managed: Managed, now: float) -> list[Diagnostic]:
    """Say what precedes this plan, or what it could not know."""
    found = []
    if store.interrupted():
        message = "a transaction was interrupted: `apply` ends it first, and then plans anew"
        hint = "`damonpolicy recover` ends it now"
        found.append(Diagnostic.warning("DP0612", None, message, hint=hint))
    if late := overdue(managed, now):
        message = f"{late}: `apply` rolls it back first, and then plans anew"
        hint = "`damonpolicy recover` rolls it back now"
        found.append(Diagnostic.warning("DP0661", None, message, hint=hint))
    elif managed.pending is not None:
        message = f"generation {managed.generation} waits to be confirmed: `apply` is refused"
        hint = "`damonpolicy confirm` keeps it, `damonpolicy rollback` ends it"
        found.append(Diagnostic.warning("DP0613", None, message, hint=hint))
    return [*store.found, *found]
