"""Parser of files deployed without a tool, into a list of writes; nothing is executed.

Four forms: a kernel command line (`damon_reclaim.min_age=30000000`), modprobe.d (`options
damon_reclaim min_age=30000000`), tmpfiles.d (`w /sys/… - - - - 1`) and shell scripts of
`echo VALUE > FILE`, with `cd` and variables that are plain text.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import field

from damonpolicy.base.diagnostics import Diagnostic, Span
from damonpolicy.base.lazy import dataclass
from damonpolicy.kernel.damon.modules import parameter_path
from damonpolicy.policy.importer.shell import Computed, Operator, statements

__all__ = ("Write", "deployed", "writes")

_NAMED = r"damon[-_][A-Za-z_-]+\.[A-Za-z0-9_-]+"
_PARAMETER = re.compile(
    rf"(?:^|(?<=[\s\"'=]))({_NAMED}|sysctl\.[A-Za-z0-9_./-]+)(?:=([^\s\"']*))?(?=[\s\"']|$)"
)
_SHELL = r"^[ \t]*(?:sudo[ \t]+)?(?:echo|printf)[ \t].*(?:>|tee)|^#!.*sh\b"
_SCRIPT = re.compile(_SHELL, re.MULTILINE)
_DEPLOYED = re.compile(
    rf"(?:^|[\s\"'=]){_NAMED}(?:[=\s\"']|$)|^[ \t]*(?:options|modprobe)[ \t]+damon[-_]"
    rf"|^[ \t]*w[-+!=~^$]*[ \t]+/|{_SHELL}",
    re.MULTILINE,
)
_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)\Z", re.DOTALL)
_TMPFILES = r"[A-Za-z][-+!=~^$]*[ \t]+/[^ \t]+([ \t]+[^ \t]+){1,5}"
_SILENT = ("set", "true", ":")
_FAILING = (["exit"], ["exit", "1"], ["true"], [":"], ["return"], ["return", "1"])
_TAKEN = "`echo VALUE > FILE`, `tee`, `modprobe`, `cd` and `NAME=VALUE` are taken; loops are not"
_MOST_WRONG = 100
"""The most lines to report; a file with more is of another kind."""


@dataclass(frozen=True, slots=True)
class Write:
    """A text to be written into a file, and its place."""

    path: str
    value: str
    span: Span


def deployed(text: str) -> bool:
    """Return whether a file has one of these forms."""
    return bool(_DEPLOYED.search(text))


def writes(name: str, text: str) -> tuple[list[Write], list[Diagnostic]]:
    """Return the writes of a file in order, and the lines that are not writes."""
    reader = _Reader(name, script=bool(_SCRIPT.search(text)))
    for number, line in _joined(text):
        reader.line(number, line)
        if len(reader.wrong) > _MOST_WRONG:
            break
    return reader.found, reader.wrong


def _joined(text: str) -> Iterator[tuple[int, str]]:
    """Yield lines with their numbers; a final backslash joins a line with the next."""
    first, begun = 0, ""
    for number, line in enumerate(text.splitlines(), 1):
        first = first or number
        begun += line
        comment = not begun[: len(begun) - len(line)] and line.lstrip().startswith("#")
        if begun.endswith("\\") and not begun.endswith("\\\\") and not comment:
            begun = begun[:-1]
            continue
        yield first, begun
        first, begun = 0, ""
    if begun:
        yield first, begun


class _Refused(Exception):
    """A line with more than plain writes."""


@dataclass(slots=True)
class _Reader:
    name: str
    script: bool
    found: list[Write] = field(default_factory=list)
    wrong: list[Diagnostic] = field(default_factory=list)
    directory: str = "/"
    variables: dict[str, str] = field(default_factory=dict)
    ended: bool = False
    lost: bool = False
    """Whether a `cd` could not be read, so that relative names are unknown."""

    def line(self, number: int, line: str) -> None:
        said = line.strip()
        if not said or said.startswith("#"):
            return
        begin = len(line) - len(line.lstrip()) + 1
        span = Span(self.name, number, begin, number, begin + len(said))
        try:
            for path, value in self._writes(said):
                self.found.append(Write(path, value, span))
        except (_Refused, Computed) as refused:
            self.lost |= said.split()[0] == "cd"
            what = f"`{str(refused)[:40]}`"
            message = f"it is not known what {what} writes: nothing is executed"
            if isinstance(refused, Computed):
                message = f"only a shell knows what {what} is: nothing is executed"
            self.wrong.append(Diagnostic.error("DP0695", span, message, hint=_TAKEN))
        except ValueError:
            message = "a quote is not closed on this line"
            self.wrong.append(Diagnostic.error("DP0695", span, message, hint=_TAKEN))

    def _writes(self, said: str) -> Iterator[tuple[str, str]]:
        fields = said.split()
        if fields[0] == "options" or (fields[0] == "modprobe" and not self.script):
            yield from _options([each.strip("\"'") for each in fields[1:]])
        elif fields[0][0] == "w" and fields[1:] and fields[1].startswith("/"):
            if len(fields) < 7:
                raise _Refused(said)
            yield fields[1], said.split(maxsplit=6)[6].strip("\"'")
        elif not self.script and re.match(_TMPFILES, said):
            return  # makes or removes a file, and writes no value
        elif self.script:
            for words in statements(said, self.variables):
                if words:
                    yield from self._statement(words)
        elif parameters := list(_PARAMETER.finditer(said)):
            for each in parameters:
                yield _parameter(each[1], "Y" if each[2] is None else each[2])
        else:
            raise _Refused(said)

    def _statement(self, words: list[str]) -> Iterator[tuple[str, str]]:
        if self.ended:
            raise _Refused(f"{words[0]}, behind `exit`,")
        marks = [i for i, each in enumerate(words) if isinstance(each, Operator) and each == "||"]
        if marks:
            if words[marks[0] + 1 :] not in _FAILING:  # runs only if the command before it fails
                raise _Refused(" ".join(words))
            words = words[: marks[0]]
        words = [each for each in words if each != "sudo"]
        if words[-2:] == ["2>", "/dev/null"]:
            words = words[:-2]
        if words[:1] in ([], ["exit"]):
            self.ended |= bool(words)
        elif words[:1] == ["cd"]:
            if len(words) != 2:
                raise _Refused(" ".join(words))
            self.directory, self.lost = self._path(words[1]), False
        elif words[:1] == ["modprobe"]:
            yield from _options(words[1:])
        elif words[:1] == ["export"] or _ASSIGNMENT.match(words[0]):
            words = words[words[0] == "export" :]
            for word in words:
                found = _ASSIGNMENT.match(word)
                if found is None or isinstance(word, Operator):  # the start of a command
                    raise _Refused(" ".join(words))
                self.variables[found[1]] = found[2]
        elif words[0] in ("echo", "printf"):
            value, path = _redirected(words)
            yield self._path(path), _printed(words[0], value)
        elif words[0] not in _SILENT:
            raise _Refused(" ".join(words))

    def _path(self, path: str) -> str:
        if self.lost and not path.startswith("/"):
            raise _Refused(path)
        return posixpath.normpath(posixpath.join(self.directory, path))


def _redirected(words: list[str]) -> tuple[list[str], str]:
    """Return the printed text, and its file."""
    marks = [str(each) for each in words if isinstance(each, Operator)]
    first = next((i for i, each in enumerate(words) if isinstance(each, Operator)), len(words))
    rest = words[first + 1 :]
    if marks == [">"] and len(rest) == 1:
        return words[1:first], rest[0]
    if marks in (["|"], ["|", ">"]) and rest[:1] == ["tee"]:
        if len(rest) == 2 or rest[2:] == [">", "/dev/null"]:
            return words[1:first], rest[1]
    raise _Refused(" ".join(words))


def _printed(command: str, words: list[str]) -> str:
    """Return the output of `echo` or `printf`, without the end of the line."""
    if command == "printf":
        if words[:1] in (["%s"], ["%s\\n"]) and len(words) == 2:
            return words[1]
        text = words[0].removesuffix("\\n") if len(words) == 1 else "%"
        if "%" in text or "\\" in text:
            raise _Refused(" ".join(["printf", *words]))
        return text
    plain = words[1:] if words[:1] in (["-n"], ["-e"], ["-ne"], ["-en"]) else words
    text = " ".join(plain)
    if "\\" in text or text.startswith(("-e", "-n")):
        raise _Refused(f"{text}, of which each shell makes something else,")
    return text


def _options(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield the parameters of a module; a bare name means true to the kernel."""
    words = [each for each in words if not each.startswith("-")]
    module, *rest = words or [""]
    if not re.match("damon[-_]", module):
        return
    for word in rest:
        name, equals, value = word.partition("=")
        yield _parameter(f"{module}.{name}", value if equals else "Y")


def _parameter(name: str, value: str) -> tuple[str, str]:
    """Return the file of a parameter; to the kernel `-` is `_` (kernel/params.c: dash2underscore())."""
    module, _, parameter = name.partition(".")
    if module == "sysctl":
        return f"/proc/sys/{parameter.replace('.', '/')}", value
    return parameter_path(module.replace("-", "_"), parameter.replace("-", "_")), value
