"""``damonpolicy init``."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import click

from damonpolicy.base.diagnostics import did_you_mean
from damonpolicy.base.errors import DamonPolicyError, UsageError, reason_of
from damonpolicy.cli import shipped
from damonpolicy.cli.context import Invocation, subcommand
from damonpolicy.cli.options.names import completed
from damonpolicy.cli.show.output import Result

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
        _write(target, text, replace=force)
    except FileExistsError as error:
        raise UsageError(f"`{target}` exists", hint="`--force` replaces it") from error
    with suppress(FileExistsError):
        _write(beside, schema.read_text(encoding="utf-8"))
    data = {"file": str(target), "schema": str(beside)}
    return Result(f"{target}\n", data, changed=True, raw=True)


def _write(path: Path, text: str, *, replace: bool = False) -> None:
    """Write a file; raises FileExistsError, or DamonPolicyError for other failures."""
    try:
        with open(path, "w" if replace else "x", encoding="utf-8", opener=_ours) as stream:
            stream.write(text)
    except FileExistsError:
        raise
    except OSError as error:
        raise DamonPolicyError(f"cannot write `{path}`: {reason_of(error)}") from error


def _ours(path: str, flags: int) -> int:
    """Create a file that only we may write, whatever the umask: `apply` would refuse another."""
    return os.open(path, flags, 0o644)


def _first_line(path: Path) -> str:
    """Return the first sentence of a policy's description."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("description:"):
            return line.partition(":")[2].strip().strip('"')
    return ""
