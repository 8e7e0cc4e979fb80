"""Policy files: single files, directories, drop-in directories, standard input."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from damonpolicy.base import limits, trust
from damonpolicy.base.diagnostics import Diagnostic, Span, closest
from damonpolicy.base.lazy import dataclass

__all__ = ("SourceFile", "distrust", "drop_ins", "load", "policies_in", "read_file",
           "within_limits")  # fmt: skip

_SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file's name, as the user will read it in diagnostics, and its text."""

    name: str
    text: str


def load(
    paths: Iterable[str], keepers: trust.Keepers | None = None
) -> tuple[list[SourceFile], list[Diagnostic]]:
    """Read files and directories in the order given; ``-`` is standard input.

    With ``keepers`` nobody else may be able to change them.

    Consecutive directories are drop-in directories as in sysctl.d: their files
    are ordered by base name, and a file hides those of the same base name in earlier ones.
    """
    found: list[Diagnostic] = []
    names: list[str] = []
    directories: list[str] = []
    for path in paths:
        if path != "-" and os.path.isdir(path):
            if wrong := distrust(path, keepers):
                found.append(wrong)
                continue
            directories.append(path)
            if not policies_in(path):
                hint = "policies end in `.yaml`; tests, `*.test.yaml`, are left out"
                message = f"the directory `{path}` holds no policy"
                found.append(Diagnostic.error("DP0018", None, message, hint=hint))
        else:
            names.append(path)
    names += drop_ins(directories)
    read = (read_file(name, keepers, absent=_meant) for name in dict.fromkeys(names))
    files, wrong_files = within_limits(read)
    return files, [*found, *wrong_files]


def within_limits(
    read: Iterable[tuple[SourceFile, Diagnostic | None]],
) -> tuple[list[SourceFile], list[Diagnostic]]:
    """Return the files that could be read, and all errors, up to the limits of policies at once."""
    files: list[SourceFile] = []
    found: list[Diagnostic] = []
    size, most, all_ = 0, limits.POLICIES, limits.ALL_POLICIES.most
    for number, (file, wrong) in enumerate(read, start=1):
        size += len(file.text)
        if number > most.most or size > all_:
            message = f"more than {most.most:,} policies, or {all_ >> 20} MiB of them, are named"
            hint = "name them in several calls"
            return files, [*found, Diagnostic.error(most.code, None, message, hint=hint)]
        if wrong:
            found.append(wrong)
        else:
            files.append(file)
    return files, found


def drop_ins(directories: Iterable[str]) -> list[str]:
    """Return the policies of drop-in directories, each base name from the last one with it.

    A link to /dev/null hides earlier files, and holds no policy itself.
    """
    found = {os.path.basename(each): each for path in directories for each in policies_in(path)}
    return [found[base] for base in sorted(found) if os.path.realpath(found[base]) != os.devnull]


def read_file(
    name: str,
    keepers: trust.Keepers | None = None,
    absent: Callable[[str], str] = lambda _: "",
) -> tuple[SourceFile, Diagnostic | None]:
    """Read one file, or report why it cannot be read; ``-`` is standard input.

    With ``keepers`` nobody else may be able to change it. ``absent`` gives the hint for a missing one.
    """
    shown = "<stdin>" if name == "-" else name
    text = _read(name, shown, keepers, absent)
    if isinstance(text, Diagnostic):
        return SourceFile(shown, ""), text
    return SourceFile(shown, text), None


def distrust(path: str, keepers: trust.Keepers | None) -> Diagnostic | None:
    """Return the diagnostic if others than ``keepers`` can change a file or directory."""
    error = None if keepers is None else trust.why_untrusted(path, keepers)
    return None if error is None else _untrusted(error)


def _untrusted(error: trust.Untrusted) -> Diagnostic:
    return Diagnostic.error(error.code, None, error.message, hint=error.hint)


def policies_in(directory: str) -> Sequence[str]:
    """Return the policies of one directory by name, links to /dev/null among them."""
    tests = tuple(f".test{suffix}" for suffix in _SUFFIXES)
    return [
        os.path.join(directory, name)
        for name in sorted(os.listdir(directory))
        if name.endswith(_SUFFIXES) and not name.startswith(".") and not name.endswith(tests)
    ]


def _read(
    name: str, shown: str, keepers: trust.Keepers | None, absent: Callable[[str], str]
) -> str | Diagnostic:
    try:
        if name == "-":
            raw = sys.stdin.buffer.read(limits.POLICY_FILE.most + 1)
        else:
            path = Path(name)
            if path.exists() and not path.is_file():
                message = f"`{name}` is not a regular file"
                return Diagnostic.error("DP0001", None, message)
            with open(path, "rb", opener=_opener(keepers)) as stream:
                raw = stream.read(limits.POLICY_FILE.most + 1)
    except trust.Untrusted as error:
        return _untrusted(error)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "the name holds a NUL"
        hint = absent(name) if isinstance(error, FileNotFoundError) else ""
        message = f"cannot read `{name}`: {(reason or str(error)).lower()}"
        return Diagnostic.error("DP0001", None, message, hint=hint)
    if len(raw) > limits.POLICY_FILE.most:
        place = Span.on_line(shown, 1, 1)
        return place.error("DP0013", "the file is larger than 1 MiB")
    try:
        return raw.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        line = before.count(b"\n") + 1
        column = len(before[before.rfind(b"\n") + 1 :].decode("utf-8", "replace")) + 1
        message = f"the byte 0x{raw[error.start]:02X} is not UTF-8"
        place = Span.on_line(shown, line, column)
        return place.error("DP0002", message, "save the file as UTF-8")


def _meant(name: str) -> str:
    """Return the hint for a missing file: a similar name, if there is one."""
    parent, base = os.path.split(name)
    try:
        beside = [each for each in os.listdir(parent or ".") if each.endswith(_SUFFIXES)]
    except OSError:
        beside = []
    whole = next((f"{base}{each}" for each in _SUFFIXES if f"{base}{each}" in beside), "")
    if close := whole or closest(base, beside):
        return f"did you mean `{os.path.join(parent, close)}`?"
    return "`damonpolicy init` lists the shipped policies and writes one"


def _opener(keepers: trust.Keepers | None) -> Callable[[str, int], int] | None:
    if keepers is None:
        return None
    return lambda path, flags: trust.open_trusted(path, keepers, flags)
