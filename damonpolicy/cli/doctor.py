"""``damonpolicy doctor``."""

from __future__ import annotations

import click

from damonpolicy.cli.invocation import Invocation, common, pass_invocation
from damonpolicy.cli.output import Result
from damonpolicy.diagnostics import as_text
from damonpolicy.engine.store import Store
from damonpolicy.errors import ExitCode
from damonpolicy.observe.doctor import examine


@click.command("doctor")
@common
@pass_invocation
def command(invocation: Invocation) -> Result:
    """Find what stands in the way on this machine, and say what to do; only reads.

    Exits with 1 where there is a problem.
    """
    checks = list(examine(invocation.machine(), Store(invocation.places())))
    lines = []
    for check in checks:
        lines.append(f"{check.verdict}: {check.what}")
        if check.hint:
            lines.append(f"  hint: {check.hint}")
    problems = any(check.verdict == "problem" for check in checks)
    data = [{"verdict": c.verdict, "what": c.what, "hint": c.hint or None} for c in checks]
    return Result(
        as_text(lines),
        {"checks": data},
        exit_code=ExitCode.FAILED if problems else ExitCode.OK,
    )
