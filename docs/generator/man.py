"""Manual pages of the commands, in the macros of man(7)."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator

import click

from damonpolicy import __version__
from damonpolicy.base.errors import ExitCode
from damonpolicy.cli.main import COMMANDS, damonpolicy
from damonpolicy.cli.show.examples import EXAMPLES
from generator.commands import VARIABLES, every, rows, usage

__all__ = ("pages",)

_DESCRIPTION = (
    "damonpolicy applies declarative policies to DAMON, the Linux kernel's data access monitor:"
    " all or nothing, verified, and undone where anything fails."
)


def pages() -> Iterator[tuple[str, str]]:
    """Yield the name of each page's file, and its text."""
    shared = [each for each in damonpolicy.params if isinstance(each, click.Option)]
    yield "damonpolicy.1", _page("damonpolicy", "declarative policies for DAMON", (
        _section("SYNOPSIS", [_bold("damonpolicy [OPTIONS] COMMAND [ARGS]...")]),
        _section("DESCRIPTION", [_text(_DESCRIPTION)]),
        _section("COMMANDS", _items((f"damonpolicy-{name}(1)", what) for name, what in COMMANDS.items())),
        _section("OPTIONS", ["They are given before or after the command's name.", *_items(rows(shared))]),
        _section("EXIT STATUS", _items((str(int(each)), each.meaning) for each in ExitCode)),
        _section("ENVIRONMENT", _items(VARIABLES)),
        _section("EXAMPLES", _examples("")),
    ))  # fmt: skip
    known = {each.name for each in shared}
    for name, command in every():
        own = [
            each
            for each in command.params
            if isinstance(each, click.Option) and each.name not in known
        ]
        title = f"damonpolicy-{name.replace(' ', '-')}"
        yield f"{title}.1", _page(title, _summary(command), (
            _section("SYNOPSIS", [_bold(usage(name, command))]),
            _section("DESCRIPTION", _paragraphs(command.help or "")),
            _section("OPTIONS", _items(rows(own))) if own else "",
            _section("EXAMPLES", _examples(name)),
            _section("SEE ALSO", [_bold("damonpolicy") + "(1): options of all commands"]),
        ))  # fmt: skip


def _page(title: str, what: str, sections: Iterable[str]) -> str:
    head = f'.TH "{title.upper()}" 1 "" "damonpolicy {__version__}" "damonpolicy"\n'
    name = _section("NAME", [f"{_escaped(title)} \\- {_text(what)}"])
    return head + name + "".join(sections)


def _summary(command: click.Command) -> str:
    return command.get_short_help_str(200).rstrip(".")


def _section(title: str, lines: Iterable[str]) -> str:
    return f".SH {title}\n" + "".join(f"{line}\n" for line in lines)


def _items(pairs: Iterable[tuple[str, str]]) -> Iterator[str]:
    for name, what in pairs:
        yield f".TP\n{_bold(name.strip('`'))}\n{_text(what)}"


def _paragraphs(text: str) -> Iterator[str]:
    for each in inspect.cleandoc(text).split("\n\n"):
        yield ".PP\n" + _text(" ".join(each.split()))


def _examples(name: str) -> list[str]:
    return [".EX", *(_escaped(each) for each in EXAMPLES[name]), ".EE"]


def _bold(text: str) -> str:
    return f"\\fB{_escaped(text)}\\fR"


def _text(text: str) -> str:
    """Return text with what stands in backticks in bold."""
    parts = re.split(r"`([^`]*)`", text)
    return "".join(_bold(part) if place % 2 else _escaped(part) for place, part in enumerate(parts))


def _escaped(text: str) -> str:
    """Escape what groff would obey: backslashes, hyphens, and a dot or quote that begins a line."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{text}" if text.startswith((".", "'")) else text
