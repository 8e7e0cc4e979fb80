"""``damonpolicy features``."""

from __future__ import annotations

import click

from damonpolicy.base.diagnostics import did_you_mean
from damonpolicy.base.errors import UsageError
from damonpolicy.cli.context import Invocation, subcommand
from damonpolicy.cli.options import names as complete
from damonpolicy.cli.show.output import Result
from damonpolicy.kernel.damon.capabilities import detect
from damonpolicy.plan.machine_state import retrieve

_SIGNS = {"yes": "yes", "no": "no", "unknown": "?"}


@subcommand("features")
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=complete.features)
def command(invocation: Invocation, names: tuple[str, ...]) -> Result:
    """List what this kernel can do, without writing anything to find out.

    `yes`, `no`, or `?` where only trying would tell. The names are those that `when:` takes;
    the version is the first kernel that has the feature.
    """
    machine = invocation.machine()
    capabilities = detect(machine, retrieve(machine).tree)
    known = {feature.name: feature for feature in capabilities}
    for name in names:
        if name not in known:
            raise UsageError(f"`{name[:40]}` is not a feature", hint=did_you_mean(name, known))
    shown = [known[name] for name in names] or list(known.values())
    lines = [
        f"{_SIGNS[capabilities.known(each.name)]:<4} {each.name:<30} {each.since:<11} {each.what}"
        for each in shown
    ]
    everything = capabilities.to_json()
    data = {each.name: everything[each.name] for each in shown}
    return Result("\n".join(lines) + "\n", {"features": data})
