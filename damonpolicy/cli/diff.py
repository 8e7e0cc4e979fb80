"""``damonpolicy diff``."""

from __future__ import annotations

import click

from damonpolicy.cli.invocation import Invocation, common, pass_invocation
from damonpolicy.cli.output import Result
from damonpolicy.diagnostics import as_text
from damonpolicy.engine.store import Store
from damonpolicy.errors import ExitCode
from damonpolicy.kernel.host import look
from damonpolicy.observe.remembered import Remembered, unsettled
from damonpolicy.observe.status import drift
from damonpolicy.plan.current import retrieve


@click.command("diff")
@common
@pass_invocation
def command(invocation: Invocation) -> Result:
    """Show how the machine differs from what was committed last, both ways.

    Exits with 0 where nothing differs, with 2 where something does. What a policy file would change
    is `damonpolicy plan`.
    """
    machine = invocation.machine()
    store = Store(invocation.places())
    managed = store.managed(look(machine).boot_id)
    found = drift(retrieve(machine, managed.settings), managed)
    lines, where = [], ""
    for each in found:
        if each.where != where:
            where = each.where
            lines.append(where)
        lines.append(f"  ~ {each.words}")
    text = as_text(lines or ["No drift."])
    data = {
        "drift": [
            {
                "where": each.where,
                "path": each.path,
                "committed": each.committed,
                "found": each.found,
                "said": each.said,
            }
            for each in found
        ]
    }
    code = ExitCode.CHANGES if found else ExitCode.OK
    warned = unsettled(Remembered(store), managed, machine.monotonic())
    return Result(text, data, exit_code=code, diagnostics=warned)
