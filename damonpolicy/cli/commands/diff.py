"""``damonpolicy diff``."""

from __future__ import annotations

import os
from collections.abc import Sequence

import click

from damonpolicy.base.diagnostics import as_text
from damonpolicy.base.errors import ExitCode, UsageError
from damonpolicy.cli.context import Invocation, subcommand
from damonpolicy.cli.options import names
from damonpolicy.cli.options.names import not_applied
from damonpolicy.cli.show.output import Result
from damonpolicy.engine.store import Store
from damonpolicy.kernel.system.host import look
from damonpolicy.observe.status.document import Drift, drift
from damonpolicy.observe.status.stored_state import Remembered, unsettled
from damonpolicy.plan.machine_state import retrieve
from damonpolicy.plan.state import Managed


@subcommand("diff")
@click.argument("names", nargs=-1, metavar="[NAME|FILE]...", shell_complete=names.policies)
@click.pass_context
def command(context: click.Context, invocation: Invocation, names: Sequence[str]) -> Result:
    """Show how the machine differs from what was committed last, both ways.

    Of some policies, if they are named. Of files, it shows what applying them would change, as
    `damonpolicy plan` does. Exits with 0 where nothing differs, with 2 where something does.
    """
    machine = invocation.machine()
    store = Store(invocation.places())
    managed = store.managed(look(machine).boot_id)
    files = [each for each in names if each not in managed.policies and _is_file(each)]
    if files:
        return _planned(context, names, files)
    for name in names:
        if name not in managed.policies:
            raise not_applied(name, managed.policies)
    found = drift(retrieve(machine, managed.settings), managed)
    if names:
        found = [each for each in found if _about(each, managed, names)]
    lines, where = [], ""
    for each in found:
        if each.where != where:
            where = each.where
            lines.append(where)
        lines.append(f"  ~ {each.words}")
    text = as_text(lines or ["No drift."])
    shown = ("where", "path", "committed", "found", "said")
    data = {"drift": [{name: getattr(each, name) for name in shown} for each in found]}
    code = ExitCode.CHANGES if found else ExitCode.OK
    warned = unsettled(Remembered(store), managed, machine.monotonic())
    return Result(text, data, exit_code=code, diagnostics=warned)


def _is_file(name: str) -> bool:
    return name == "-" or os.path.exists(name) or "/" in name or name.endswith((".yaml", ".yml"))


def _planned(context: click.Context, names: Sequence[str], files: Sequence[str]) -> Result:
    """Show what files would change; another command does that."""
    if len(files) < len(names):
        raise UsageError("`diff` takes names of policies or files, not both", hint="use two calls")
    from damonpolicy.cli.commands.plan import command as plan

    result: Result = context.invoke(plan, paths=tuple(files))
    return result


def _about(each: Drift, managed: Managed, names: Sequence[str]) -> bool:
    """Return whether a difference belongs to one of the policies."""
    setting = managed.settings.get(each.path)
    if each.where == "settings":
        return setting is not None and not {*names}.isdisjoint(setting.users)
    return each.where.partition("/")[0] in names
