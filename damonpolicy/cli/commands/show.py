"""``damonpolicy show``."""

from __future__ import annotations

import click

from damonpolicy.base.diagnostics import as_text
from damonpolicy.cli.context import Invocation, subcommand
from damonpolicy.cli.options import names
from damonpolicy.cli.options.names import not_applied
from damonpolicy.cli.show.output import Result
from damonpolicy.cli.show.preview import known, looked_at
from damonpolicy.plan.ir import CompiledPolicy


@subcommand("show")
@click.argument("what", metavar="NAME|GENERATION", shell_complete=names.shown)
def command(invocation: Invocation, what: str) -> Result:
    """Print the text of an applied policy, or of all policies of a generation.

    It is what was applied, although the file may have changed since.
    """
    session, remembered = looked_at(invocation)
    managed = session.managed.policies
    if what in managed:
        policies = [managed[what]]
    elif what.isdecimal():
        number = int(what[:18])
        now = number == session.managed.generation
        chosen = managed if now else session.policies_of(known(session, number))
        policies = [chosen[name] for name in sorted(chosen)]
    else:
        raise not_applied(what, managed)
    alone = len(policies) == 1
    text = "---\n".join(_text(policy, alone=alone) for policy in policies)
    if not policies:
        text = "# no policy was applied\n"
    data = {
        "policies": [
            {"name": each.name, "owner": each.owner, "variables": dict(each.variables), "text": each.source}
            for each in policies
        ]
    }  # fmt: skip
    return Result(text, data, raw=True, diagnostics=remembered.found)


def _text(policy: CompiledPolicy, *, alone: bool) -> str:
    """Return a policy's text, with comments above it for what it does not contain itself."""
    above = [] if alone else [f"# policy {policy.name}"]
    above += [f"# --set {name}={value}" for name, value in policy.variables.items()]
    source = policy.source if policy.source.endswith("\n") else policy.source + "\n"
    # each line by itself: a policy may contain control characters
    return as_text([*above, *source.removesuffix("\n").split("\n")])
