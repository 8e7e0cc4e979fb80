"""Output of commands: text for people, one JSON document for tools."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from damonpolicy.base.diagnostics import (
    Diagnostic,
    as_text,
    limit_findings,
    render_github,
    render_sarif,
    render_text,
)
from damonpolicy.base.diagnostics import to_json as diagnostic_json
from damonpolicy.base.errors import DamonPolicyError, ExitCode, reason_of
from damonpolicy.base.lazy import dataclass
from damonpolicy.cli.show.fitting import coloured_findings, fitted, in_colour, width_of

__all__ = ("Result", "emit", "failure", "notes", "only_errors", "write_file")

if TYPE_CHECKING:
    from pathlib import Path

    from damonpolicy.engine.session import Session

_BEYOND = r"[^\n -~]"
_COLOURS = {"+": "32", "-": "31", "~": "33"}


@dataclass
class Result:
    """The result of a command.

    `diagnostics.as_text` makes the lines of ``text``, so that names from outside cannot add any.
    """

    text: str = ""
    data: Any = None
    exit_code: ExitCode = ExitCode.OK
    changed: bool = False
    diagnostics: Sequence[Diagnostic] = ()
    texts: Mapping[str, str] = field(default_factory=dict)
    """Texts of files, for the source lines of diagnostics."""
    raw: bool = False
    """Whether ``text`` is a complete file (a schema, a policy) to which nothing may be added."""


def notes(session: Session) -> str:
    """Return the side effects of a change, done or failed, one line each."""
    return as_text(f"note: {remark}" for remark in session.remarks)


def failure(error: DamonPolicyError, texts: Mapping[str, str]) -> Result:
    """Turn an error into a result."""
    found = list(error.diagnostics)
    if error.message:
        found.append(Diagnostic.error(error.code, None, error.message, hint=error.hint))
    return Result(exit_code=error.exit_code, diagnostics=found, texts=texts)


def only_errors(result: Result) -> Result:
    """Return a result without the text that people read if all is well."""
    errors = [each for each in result.diagnostics if each.severity == "error"]
    return replace(result, text=result.text if result.raw else "", raw=True, diagnostics=errors)


def emit(result: Result, *, command: str, form: str, kernel: Mapping[str, str] | None) -> None:
    """Print a result: data to stdout, everything else to stderr."""
    found = limit_findings(result.diagnostics, result.texts)
    if form == "json":
        import json

        document = {
            "schema": f"damonpolicy.{command}/1",
            "ok": result.exit_code in (ExitCode.OK, ExitCode.CHANGES),
            "exit_code": int(result.exit_code),
            "changed": result.changed,
            "kernel": dict(kernel) if kernel else None,
            "diagnostics": [diagnostic_json(each) for each in found],
            "data": result.data,
        }
        _write(sys.stdout, _plain(json.dumps(document, indent=2, ensure_ascii=False)) + "\n")
        return
    if form in ("github", "sarif"):
        render = render_github if form == "github" else render_sarif
        _write(sys.stdout, render(found))
        return
    if kernel and kernel["name"].startswith("emulated") and not result.raw:
        said = f"emulated kernel {kernel['release']}: nothing real is touched"
        _write(sys.stdout, fitted(said, width_of(sys.stdout)) + "\n")
    if result.text:
        # in a form that is safe to show, whatever its origin
        safe = as_text(result.text.removesuffix("\n").split("\n"))
        fitting = _coloured(fitted(safe, width_of(sys.stdout)), sys.stdout)
        _write(sys.stdout, result.text if result.raw else fitting)
    if found:
        sys.stdout.flush()
        text = render_text(found, result.texts)
        _write(sys.stderr, coloured_findings(text) if in_colour(sys.stderr) else text)


def write_file(path: Path, text: str, mode: int, how: str = "w") -> None:
    """Write a file that only we may change, whatever the umask: `apply` would refuse another.

    Raises FileExistsError where ``how`` is `x`, and DamonPolicyError for other failures.
    """
    try:
        with open(path, how, encoding="utf-8", opener=partial(os.open, mode=mode)) as stream:
            stream.write(text)
    except FileExistsError:
        raise
    except OSError as error:
        raise DamonPolicyError(f"cannot write `{path}`: {reason_of(error)}") from error


def _plain(document: str) -> str:
    """Escape characters that a terminal would obey or hide, as JSON does, also beyond ASCII."""
    if document.replace("\n", "").isprintable():
        return document
    import json

    return re.sub(
        _BEYOND,
        lambda found: found[0] if found[0].isprintable() else json.dumps(found[0])[1:-1],
        document,
    )


def _coloured(text: str, stream: Any) -> str:
    """Colour lines by their sign; the meaning never depends on colours."""
    if not in_colour(stream):
        return text
    lines = []
    for line in text.split("\n"):
        stripped = line.lstrip()
        colour = _COLOURS.get(stripped[:1]) if stripped[1:2] == " " else None
        lines.append(f"\x1b[{colour}m{line}\x1b[0m" if colour else line)
    return "\n".join(lines)


def _write(stream: Any, text: str) -> None:
    encoding = getattr(stream, "encoding", None) or "utf-8"
    stream.write(text.encode(encoding, "replace").decode(encoding, "replace"))
