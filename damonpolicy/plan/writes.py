"""What people deploy without a tool, as a list of writes: nothing of it is executed.

Four forms, told apart line by line: a kernel command line (`damon_reclaim.min_age=30000000`),
modprobe.d (`options damon_reclaim min_age=30000000`), tmpfiles.d (`w /sys/… - - - - 1`) and shell
scripts of `echo VALUE > FILE`, with `cd` and variables that are plain text.
"""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from damonpolicy.diagnostics import Diagnostic, Span
from damonpolicy.kernel.modules import parameter_path

__all__ = ("Write", "deployed", "writes")

_PARAMETER = re.compile(r"(?<![^ =\"])(damon_[a-z_]+)\.([a-z0-9_]+)=([^ \"]*)")
_DEPLOYED = re.compile(
    r"\bdamon_[a-z_]+\.[a-z0-9_]+=|^[ \t]*(?:options|modprobe)[ \t]+damon_|^[ \t]*w[-+!=~^$]*[ \t]+/"
    r"|^[ \t]*(?:sudo[ \t]+)?(?:echo|printf)[ \t].*(?:>|tee)|^#!.*sh\b",
    re.MULTILINE,
)
_VARIABLE = re.compile(r"\$(?:\{([A-Za-z_][A-Za-z0-9_]*)\}|([A-Za-z_][A-Za-z0-9_]*))")
_ASSIGNMENT = re.compile(r"(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)\Z")
_BETWEEN = (";", "&&")
_SILENT = ("set", "true", ":", "exit")
_OPERATORS = {">", ">>", "|", "||", "&", ">|"}
_TAKEN = "`echo VALUE > FILE`, `cd DIRECTORY` and `NAME=VALUE` are taken"


@dataclass(frozen=True, slots=True)
class Write:
    """A text that would be written into a file, and where that is said."""

    path: str
    value: str
    span: Span


def deployed(text: str) -> bool:
    """Tell whether a file is of one of these forms."""
    return bool(_DEPLOYED.search(text))


def writes(name: str, text: str) -> tuple[list[Write], list[Diagnostic]]:
    """Return the writes of a file in their order, and the lines that are none."""
    reader = _Reader(name)
    for number, line in enumerate(text.replace("\\\n", "  ").splitlines(), 1):
        reader.line(number, line)
    return reader.found, reader.wrong


class _Refused(Exception):
    """A line that says more than plain writes do."""


@dataclass(slots=True)
class _Reader:
    name: str
    found: list[Write] = field(default_factory=list)
    wrong: list[Diagnostic] = field(default_factory=list)
    directory: str = "/"
    variables: dict[str, str] = field(default_factory=dict)

    def line(self, number: int, line: str) -> None:
        said = line.strip()
        if not said or said.startswith("#"):
            return
        begin = len(line) - len(line.lstrip()) + 1
        span = Span(self.name, number, begin, number, begin + len(said))
        try:
            pairs = list(self._writes(said))
        except _Refused as refused:
            message = f"it is not known what `{str(refused)[:40]}` writes: nothing is executed"
            self.wrong.append(Diagnostic.error("DP0695", span, message, hint=_TAKEN))
        except ValueError:
            message = "a quote is not closed on this line"
            self.wrong.append(Diagnostic.error("DP0695", span, message, hint=_TAKEN))
        else:
            self.found += [Write(path, value, span) for path, value in pairs]

    def _writes(self, said: str) -> Iterator[tuple[str, str]]:
        first = said.split(maxsplit=1)[0]
        if first in ("options", "modprobe"):
            yield from _options(shlex.split(said)[1:])
        elif first[0] == "w" and len(said.split()) > 1 and said.split()[1].startswith("/"):
            fields = shlex.split(said)
            if len(fields) < 7:
                raise _Refused(said)
            yield fields[1], " ".join(fields[6:])
        elif parameters := _PARAMETER.findall(" ".join(shlex.split(said, comments=True))):
            for module, name, value in parameters:
                yield parameter_path(module, name), value
        else:
            yield from self._shell(said)

    def _shell(self, said: str) -> Iterator[tuple[str, str]]:
        if "'" in said and "$" in said:
            raise _Refused(said)
        said = _VARIABLE.sub(self._variable, said)
        if re.search(r"[`$*?]", said):
            raise _Refused(said)
        lexer = shlex.shlex(said, posix=True, punctuation_chars="><|;&")
        lexer.whitespace_split = True
        command: list[str] = []
        for word in [*lexer, ";"]:
            if word not in _BETWEEN:
                command.append(word)
                continue
            if command:
                yield from self._command(command)
            command = []

    def _variable(self, found: re.Match[str]) -> str:
        name = found[1] or found[2]
        if name not in self.variables:
            raise _Refused(found[0])
        return self.variables[name]

    def _command(self, words: list[str]) -> Iterator[tuple[str, str]]:
        words = [word for word in words if word != "sudo"]
        if "tee" in words and words[-2:] == [">", "/dev/null"]:
            words = words[:-2]
        joint = [">"] if words[-2:-1] == [">"] else ["|", "tee"]
        value, path = words[1 : -1 - len(joint)], words[-1]
        if words[0] == "cd" and len(words) == 2:
            self.directory = self._path(words[1])
        elif words[0] == "modprobe":
            yield from _options(words[1:])
        elif len(words) < 3 and (found := _ASSIGNMENT.match(" ".join(words))):
            self.variables[found[1]] = found[2]
        elif (
            words[0] in ("echo", "printf")
            and words[-1 - len(joint) : -1] == joint
            and not _OPERATORS & set(value)
        ):
            yield self._path(path), _value(value)
        elif words[0] not in _SILENT:
            raise _Refused(" ".join(words))

    def _path(self, path: str) -> str:
        return posixpath.normpath(posixpath.join(self.directory, path))


def _value(words: Sequence[str]) -> str:
    return " ".join(words[1:] if words[:1] == ["-n"] else words).removesuffix("\\n")


def _options(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    module, *rest = words or [""]
    for word in rest:
        name, equals, value = word.partition("=")
        if not module.startswith("damon_") or not equals:
            return
        yield parameter_path(module, name), value
