"""Random things that happen to policy files: the service ends on what was valid last.

Nothing that is half of what somebody writes is ever applied: neither while a file is open for
writing, nor between two writers of one change that follow each other quickly.
"""

from __future__ import annotations

import os
import random
import shutil

import pytest

from tests.daemon.conftest import DEBOUNCE, PAGES, RUN

EVENTS = 2_500
"""For each of four seeds."""
NAMES = ("p", "q")
INVALID = ("version: 1\nname: p\nsetings: {}\n", "kdamonds: [", "version: 1\n\tname: p\n", "\xff")


class Author:
    """Changes files as programs do, and remembers what is complete."""

    def __init__(self, desk, seed):
        self.random = random.Random(seed)
        self.desk = desk
        self.files: dict[str, str] = {}
        self.open = None
        self.complete: set[frozenset[tuple[str, str]]] = {frozenset()}
        """Everything that was ever wholly there, as contents by name."""
        self.good = {}
        self.number = 100

    def text(self, name):
        self.number += 1
        if self.random.random() < 0.15:
            return self.random.choice(INVALID)
        # both may set the same files only to the same values: each has its own
        own = {"p": RUN, "q": PAGES}[name]
        value = self.number % 2 if name == "p" else self.number
        body = f"version: 1\nname: {name}\nsettings:\n  {own}: {value}\n"
        return body + "  /proc/sys/vm/swappiness: 50\n"

    def done(self):
        """What stands in the files now is what somebody meant."""
        self.complete.add(frozenset(self.files.items()))

    def act(self):
        name = self.random.choice(NAMES)
        path = self.desk.directory / f"{name}.yaml"
        kind = self.random.choices(
            ("rename", "in place", "halves", "delete", "remake", "swap", "touch", "other", "wait"),
            (5, 3, 3, 1, 0.5, 2, 2, 2, 4),
        )[0]
        text = self.text(name)
        half = text[: max(text.find("  /proc"), len(text) // 2)]
        match kind:
            case "rename":
                self.desk.put(path.name, text)
            case "in place":
                if path.is_symlink():
                    path.unlink()
                with path.open("w") as stream:
                    stream.write(half)
                    stream.flush()
                    self.look(self.random.randint(0, 3))
                    stream.write(text[len(half) :])
            case "halves":
                if path.is_symlink():
                    path.unlink()
                path.write_text(half)
                self.desk.reloader.look()
                with path.open("a") as stream:
                    stream.write(text[len(half) :])
            case "swap":
                place = self.desk.directory / f"..{self.number}"
                place.mkdir()
                (place / path.name).write_text(text)
                link = self.desk.directory / ".link"
                link.symlink_to(f"{place.name}/{path.name}")
                link.replace(path)
            case "delete":
                path.unlink(missing_ok=True)
                self.files.pop(name, None)
            case "remake":
                shutil.rmtree(self.desk.directory)
                self.look(self.random.randint(0, 2))
                self.desk.directory.mkdir()
                for other, content in self.files.items():
                    (self.desk.directory / f"{other}.yaml").write_text(content)
            case "touch":
                if path.exists():
                    os.utime(path)
            case "other":
                (self.desk.directory / f"{name}.test.yaml").write_text(text)
            case _:
                self.look(self.random.randint(1, 4))
        if kind in ("rename", "in place", "halves", "swap"):
            self.files[name] = text
        self.done()

    def look(self, times):
        for _ in range(times):
            self.step()
            self.desk.world.machine.sleep(self.random.choice((0.01, DEBOUNCE / 2, DEBOUNCE)))

    def step(self):
        outcome = self.desk.reloader.look()
        if outcome is None or (not outcome.texts and outcome.kind == "gone"):
            return
        seen = frozenset(
            (os.path.basename(name).removesuffix(".yaml"), text)
            for name, text in outcome.texts.items()
        )
        assert seen in self.complete, "half of what somebody wrote"
        if outcome.ok:
            self.good = dict(seen)


@pytest.mark.parametrize("seed", range(4))
def test_it_ends_on_what_was_valid_last(desk, seed):
    author = Author(desk, seed)
    for event in range(EVENTS):
        author.act()
        if author.random.random() < 0.3:
            author.step()
        if event % 25 == 24:
            for _ in range(4):
                author.step()
                desk.world.machine.sleep(DEBOUNCE / 2)
            author.step()
            valid = all(text not in INVALID for text in author.files.values())
            assert desk.reloader.outcome.ok is valid
            if valid:
                assert author.good == author.files
            expected = author.good
            managed = desk.world.managed.policies
            assert {name: each.source for name, each in managed.items()} == expected
