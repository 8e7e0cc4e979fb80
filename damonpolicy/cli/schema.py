"""``damonpolicy schema``."""

from __future__ import annotations

import json

import click

from damonpolicy.cli.invocation import Invocation, common, pass_invocation
from damonpolicy.cli.output import Result


@click.command("schema")
@common
@pass_invocation
def command(invocation: Invocation) -> Result:
    """Print the JSON Schema of policies, for editors and other checkers."""
    del invocation
    from damonpolicy.cli.shipped import schema_file

    text = schema_file().read_text(encoding="utf-8")
    return Result(text, json.loads(text), raw=True)
