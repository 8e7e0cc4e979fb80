"""``damonpolicy schema``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import click

from damonpolicy.base.errors import UsageError
from damonpolicy.cli.context import Invocation, subcommand
from damonpolicy.cli.options.names import completed
from damonpolicy.cli.show.output import Result


@completed
def _next(context: click.Context) -> list[str]:
    """Return the next words: a command of a group has two."""
    from damonpolicy.cli.shipped import output_schemas

    before = list(context.params.get("what") or ())
    lines = (["output", *name.split()] for name in output_schemas())
    return sorted({line[len(before)] for line in lines if line[: len(before)] == before != line})


@subcommand("schema")
@click.argument("what", nargs=-1, metavar="[output COMMAND]", shell_complete=_next)
def command(invocation: Invocation, what: Sequence[str]) -> Result:
    """Print the JSON Schema of policies, for editors and other checkers.

    With `output COMMAND`, that of what COMMAND prints with `--format json`, such as
    `damonpolicy schema output report wss`.
    """
    del invocation
    text = _file(what).read_text(encoding="utf-8")
    return Result(text, json.loads(text), raw=True)


def _file(what: Sequence[str]) -> Path:
    from damonpolicy.base.diagnostics import did_you_mean
    from damonpolicy.cli.shipped import output_schemas, schema_file

    if not what:
        return schema_file()
    known = output_schemas()
    kind, name = what[0], " ".join(what[1:]).replace("-", " ")
    if kind != "output":
        asked = " ".join(what)
        hint = "`damonpolicy schema output COMMAND` prints a command's"
        if asked in known:
            hint = f"did you mean `damonpolicy schema output {asked}`?"
        raise UsageError(f"there is no schema `{asked[:40]}`", hint=hint)
    if not name:
        hint = "name one, as in `damonpolicy schema output status`"
        raise UsageError("of which command's output is not said", hint=hint)
    if name not in known:
        message = f"there is no schema of the output of `{name[:40]}`"
        raise UsageError(message, hint=did_you_mean(name, known))
    return known[name]
