"""Runs the ```console blocks of a page on the emulated kernel, as a reader would.

A page is one session in an empty directory. `$ damonpolicy …` runs the command line in this
process; `echo $?` is its exit code; `export`, `cat`, `rm` and `>` do what they say. Time is the page's
own, and only `damonpolicy emulate forward` lets it pass. ```yaml file=NAME (or toml, sh) writes a file. A
line of `…` stands for any lines. A command that fails is followed by `echo $?`.
"""

from __future__ import annotations

import re
import shlex
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.conftest import run_cli

BLOCK = re.compile(r"^```(\w+)(?: file=(\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Clock:
    """Stands for the module `time` where a machine looks at the clock."""

    CLOCK_BOOTTIME = 7
    strftime = staticmethod(time.strftime)
    localtime = staticmethod(time.gmtime)

    def __init__(self):
        self.now = 5000.0

    def clock_gettime(self, clock):
        return self.now

    def time(self):
        return 1_795_430_200.0 + self.now

    def sleep(self, seconds):
        self.now += seconds


@dataclass
class Command:
    """One prompt: what was typed, and what a page says that it prints."""

    line: str
    shown: list[str]


@dataclass
class Session:
    """A reader's shell."""

    directory: Path
    monkeypatch: object
    clock: Clock = field(default_factory=Clock)
    code: int = 0

    def __post_init__(self):
        for module in ("emulated.machine", "engine.transaction", "cli.commands.history"):
            self.monkeypatch.setattr(f"damonpolicy.{module}.time", self.clock)
        # the guard is another process with another clock; tests/engine is about it
        self.monkeypatch.setattr(
            "damonpolicy.cli.options.confirmation.start_guard", lambda *_: None
        )

    def run(self, line: str) -> str:
        """Run one line; returns what the terminal would show."""
        command, into = line, None
        if found := re.match(r"(.*?) > (\S+)$", line):
            command, into = found[1], found[2]
        words = shlex.split(command.replace("$(mktemp -d)", str(self.fresh())), comments=True)
        if words[0] == "damonpolicy":
            outcome = run_cli(*words[1:])
            self.code = outcome.code
            out, err = outcome.out, outcome.err
        else:
            out, err = self.shell(words), ""
        if into is None:
            return out + err
        self.file(into).write_text(out)
        return err

    def file(self, name: str) -> Path:
        """Return where a file is; none of this machine's own are for a page."""
        assert not name.startswith("/"), name
        return self.directory / name

    def shell(self, words: list[str]) -> str:
        verb, rest = words[0], words[1:]
        if verb == "export":
            for each in rest:
                name, _, value = each.partition("=")
                self.monkeypatch.setenv(name, value)
        elif verb == "echo":
            return f"{self.code}\n" if rest == ["$?"] else " ".join(rest) + "\n"
        elif verb == "cat":
            (name,) = rest
            return self.file(name).read_text()
        else:
            assert verb == "rm", words
            self.file(rest[0]).unlink()
        return ""

    def fresh(self) -> Path:
        """Return a directory for the state of an emulated machine, as `mktemp -d` would."""
        return self.directory.parent / "state"


def commands(block: str) -> list[Command]:
    found: list[Command] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            found.append(Command(line[2:], []))
        else:
            found[-1].shown.append(line)
    return found


def matches(shown: list[str], real: list[str]) -> bool:
    """Compare lines; one of `…` stands for any number of them."""
    pattern = "".join(
        r"(?:.*\n)*?" if line.strip() == "…" else re.escape(line.rstrip()) + "\n" for line in shown
    )
    return re.fullmatch(pattern, "".join(line.rstrip() + "\n" for line in real)) is not None


def play(page: str, session: Session) -> tuple[str, list[str]]:
    """Run a page; returns it with the real output, and what differs from what it shows."""
    wrong: list[str] = []

    def block(found: re.Match) -> str:
        kind, name, text = found.groups()
        if kind in ("yaml", "toml", "sh") and name:
            (session.directory / name).write_text(text)
        if kind != "console":
            return found[0]
        lines = []
        listed = commands(text)
        for index, each in enumerate(listed):
            real = session.run(each.line).splitlines()
            if not matches(each.shown, real):
                wrong.append("\n".join([f"$ {each.line}", *real]))
                each.shown = [line.rstrip() for line in real]
            following = listed[index + 1].line if index + 1 < len(listed) else ""
            if each.line.startswith("damonpolicy ") and session.code and following != "echo $?":
                wrong.append(f"{each.line}: exit code {session.code} is not shown")
            lines += [f"$ {each.line}", *each.shown]
        return "\n".join(["```console", *lines, "```"])

    return BLOCK.sub(block, page), wrong
