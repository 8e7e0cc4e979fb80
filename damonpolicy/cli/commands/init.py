"""``damonpolicy init``."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import click

from damonpolicy.base.diagnostics import did_you_mean
from damonpolicy.base.errors import UsageError
from damonpolicy.cli import shipped
from damonpolicy.cli.context import Invocation, subcommand
from damonpolicy.cli.options.names import completed
from damonpolicy.cli.show.output import Result, write_file

_SHIPPED, _BESIDE = "$schema=../schemas/", "$schema="


@subcommand("init")
@click.argument("name", required=False, shell_complete=completed(lambda _: shipped.policies()))
@click.option(
    "-o", "--out", type=click.Path(), metavar="FILE", help="write here (- is standard output)"
)
@click.option("--force", is_flag=True, help="replace the file if it exists")
def command(invocation: Invocation, name: str | None, out: str | None, *, force: bool) -> Result:
    """Write the shipped policy NAME into NAME.yaml, for you to change.

    The schema that its first line names for editors is written beside it, if it is not there.
    Without a name, list the shipped policies.
    """
    del invocation
    known, schema = shipped.policies(), shipped.schema_file()
    if name is None:
        rows = {each: _first_line(path) for each, path in known.items()}
        text = "".join(f"{each:<20} {what}\n" for each, what in rows.items())
        return Result(text, {"policies": rows}, raw=True)
    if name not in known:
        message = f"there is no shipped policy `{name[:40]}`"
        raise UsageError(message, hint=did_you_mean(name, known))
    # An editor looks for the schema beside the policy, wherever both are taken.
    text = known[name].read_text(encoding="utf-8").replace(_SHIPPED, _BESIDE)
    if out == "-":
        return Result(text, {"policy": text}, raw=True)
    target = Path(out or f"{name}.yaml")
    if target.is_dir():
        raise UsageError(f"`{target}` is a directory", hint=f"`-o {target / name}.yaml`")
    beside = target.with_name(schema.name)
    try:
        write_file(target, text, 0o644, "w" if force else "x")
    except FileExistsError as error:
        raise UsageError(f"`{target}` exists", hint="`--force` replaces it") from error
    with suppress(FileExistsError):
        write_file(beside, schema.read_text(encoding="utf-8"), 0o644, "x")
    data = {"file": str(target), "schema": str(beside)}
    return Result(f"{target}\n", data, changed=True, raw=True)


def _first_line(path: Path) -> str:
    """Return the first sentence of a policy's description."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("description:"):
            return line.partition(":")[2].strip().strip('"')
    return ""
