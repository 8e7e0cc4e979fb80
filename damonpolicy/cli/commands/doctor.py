"""``damonpolicy doctor``."""

from __future__ import annotations

from damonpolicy.base.diagnostics import as_text
from damonpolicy.base.errors import DamonPolicyError, ExitCode
from damonpolicy.cli.context import Invocation, subcommand
from damonpolicy.cli.service import served, troubles
from damonpolicy.cli.show.output import Result
from damonpolicy.engine.store import Store
from damonpolicy.observe.status.doctor import Check, examine


@subcommand("doctor")
def command(invocation: Invocation) -> Result:
    """Find what stands in the way on this machine, and say what to do; only reads.

    Exits with 1 where there is a problem.
    """
    machine, store = invocation.machine(), Store(invocation.places())
    checks = list(examine(machine, store))
    try:
        service = served(machine, store.places)
        hint = "`damonpolicy status` shows all that it says of itself"
        checks += [Check("problem", each, hint) for each in (troubles(service) if service else ())]
    except DamonPolicyError as error:
        checks.append(Check("problem", error.message, error.hint))
    lines = []
    for check in checks:
        lines.append(f"{check.verdict}: {check.what}")
        if check.hint:
            lines.append(f"  hint: {check.hint}")
    code = ExitCode.FAILED if any(c.verdict == "problem" for c in checks) else ExitCode.OK
    data = [{"verdict": c.verdict, "what": c.what, "hint": c.hint or None} for c in checks]
    return Result(as_text(lines), {"checks": data}, exit_code=code)
