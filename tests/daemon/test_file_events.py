"""Random events on policy files: only settled, valid content is applied.

An author and the service live by one clock. Whenever the service waits, also in the middle of
making a change ready, the author goes on; nobody but the author knows what is half of an edit.
"""

from __future__ import annotations

import dataclasses
import os
import random
import shutil
from types import SimpleNamespace

import pytest

from damonpolicy.daemon.jobs import reload
from damonpolicy.daemon.jobs.reload import ReloadJob
from damonpolicy.policy.source.content import signature
from tests.daemon.conftest import DEBOUNCE, PAGES, RUN

EVENTS = 2_500
"""For each of four seeds."""
NAMES = ("p", "q")
INVALID = ("name: p\nsetings: {}\n", "kdamonds: [", "\tname: p\n", "\xff")
SLOWEST = 0.15
"""Seconds that it may take to make a change ready."""
LOST = {0: 0.0, 1: 0.3, 2: 0.3, 3: 1.0}
"""For each seed, the share of hints that never come: too many events, a network file system."""
LINKED = (1, 3)
"""Seeds whose directory is a link, as releases are switched by."""


class Author:
    """Changes files as programs do, and looks at what becomes of it."""

    def __init__(self, desk, seed, monkeypatch):
        self.random, self.lost = random.Random(seed), LOST[seed]
        self.desk, self.machine, self.directory = desk, desk.world.machine, desk.directory
        self.linked = seed in LINKED
        if self.linked:
            self.directory.rename(self.directory.with_name("r0"))
            self.directory.symlink_to("r0")
        self.job = ReloadJob(desk.reloader, told=self.told)
        self.files: dict[str, str] = {}
        """What somebody meant, by name."""
        self.half = False
        """Whether something else stands in the files now."""
        self.by_chance = False
        """Whether what stands in the files is what had been read, and was not meant to be."""
        self.held = False
        """Whether they are open for writing."""
        self.number = self.events = 100
        self.changed_at = self.moved_at = self.machine.monotonic()
        self.read_at = self.rests_since = self.changed_at
        self.seen = self.told_of = ""
        self.signature_read: tuple[object, ...] = ()
        self.good: dict[str, str] = {}
        self.kinds: dict[str, int] = {}
        self._sleep, self._awake_at, self._life = self.machine.sleep, 0.0, self.live()
        self._gather, self._load = reload.gather, reload.load
        monkeypatch.setattr(reload, "gather", self.gather)
        monkeypatch.setattr(reload, "load", self.load)
        monkeypatch.setattr(reload, "time", SimpleNamespace(time=self.machine.monotonic))
        monkeypatch.setattr(self.machine, "sleep", self.sleep)

    # the clock

    def sleep(self, seconds):
        """Let time pass for whoever waits; the author goes on meanwhile."""
        ends = self.machine.monotonic() + seconds
        while self._awake_at <= ends:
            self._sleep(max(self._awake_at - self.machine.monotonic(), 0.0))
            self._awake_at = self.machine.monotonic() + next(self._life)
        self._sleep(max(ends - self.machine.monotonic(), 0.0))

    def run(self):
        """Serve until the author has done enough."""
        while self.events < 100 + EVENTS:
            now = self.machine.monotonic()
            if self.job.due <= now:
                self.job.run()
                self.sleep(0.001)  # it takes a moment
            else:
                self.sleep(min(self.job.due, self._awake_at) - now)

    def changed(self, *names, half=False, held=False, policies=True):
        """Something was done to files; they are dated by this clock, the real one hardly moves."""
        self.half, self.held, self.changed_at = half, held, self.machine.monotonic()
        self.by_chance = False
        for name in names:
            os.utime(self.path(name), (self.changed_at,) * 2)
        if signature([str(self.directory)]) == self.signature_read:
            # as it was before things that nobody saw: it rests as if they had never been
            self.half = self.half_read = False
            self.moved_at, self.by_chance = self.read_at, True
            self.files_read = self.there()
        elif policies:
            self.moved_at = self.changed_at
        if self.random.random() >= self.lost:
            self.job.hint()

    # what the service reads and does

    def gather(self, paths, variables, keepers=None):
        """Read, with times of files by the author's clock; remember what there is to be seen."""
        self.signature_read = signature(paths)
        content = self._gather(paths, variables, keepers)
        assert bool(content.held) == self.held
        if self.held or content.digest != self.seen:
            self.rests_since = self.changed_at
        self.seen, self.read_at = content.digest, self.machine.monotonic()
        self.files_read = self.there() if self.by_chance else dict(self.files)
        self.half_read = self.half
        return dataclasses.replace(content, changed=self.changed_at)

    def there(self):
        return {name: self.path(name).read_text() for name in NAMES if self.path(name).exists()}

    def load(self, *arguments, **options):
        self.sleep(self.random.choice((0.0, SLOWEST / 4, SLOWEST)))
        return self._load(*arguments, **options)

    def told(self, outcome):
        """Look at what the service says that it has done."""
        self.kinds[outcome.kind] = self.kinds.get(outcome.kind, 0) + 1
        now = self.machine.monotonic()
        rested = self.rests_since + DEBOUNCE
        again = not outcome.ok and outcome.digest == self.told_of
        self.told_of = outcome.digest
        if not again and sum(self.kinds.values()) > 1:
            assert now >= rested - 1e-6, "too soon"
            assert not self.read_at < self.moved_at < rested, "changed before its time"
        managed = {name: each.source for name, each in self.desk.world.managed.policies.items()}
        if outcome.kind == "gone":
            assert managed == self.good, "what was there stays"
            return
        assert self.half_read is False, "half of what somebody wrote"
        texts = {os.path.basename(name).removesuffix(".yaml"): text
                 for name, text in outcome.texts.items()}  # fmt: skip
        assert texts == self.files_read
        assert outcome.ok is valid(texts)
        # while a file is wrong no policy ends, as it might be that file's
        self.good = texts if outcome.ok else {**self.good, **right(texts)}
        assert managed == self.good

    # the author's life

    def live(self):
        """Yield for how many seconds nothing is done."""
        ways = (self.rename, self.in_place, self.in_halves, self.link, self.config_map, self.both,
                self.delete, self.remake, self.move_away, self.touch, self.other)  # fmt: skip
        while True:
            (way,) = self.random.choices(ways, (5, 3, 3, 2, 2, 3, 1, 1, 1, 2, 2))
            yield from way(self.random.choice(NAMES))
            self.events += 1
            yield self.random.choice((0.0, 0.01, DEBOUNCE * 0.3, DEBOUNCE * 0.9, DEBOUNCE * 1.5))
            if self.events % 25 == 0:
                yield self.job.poll + DEBOUNCE + 2 * SLOWEST + 0.1
                self.everything_is_taken()

    def everything_is_taken(self):
        """Whatever hints were lost, the service has found what there is."""
        outcome = self.desk.reloader.outcome
        assert outcome.ok is valid(self.files)
        assert self.files_read == self.files
        if outcome.ok:
            assert self.good == self.files

    def short(self):
        """A pause in which half of something must not be taken for all of it."""
        return self.random.uniform(0.0, DEBOUNCE * 0.95)

    def any(self):
        return self.random.choice((0.0, 0.01, DEBOUNCE / 2, DEBOUNCE, DEBOUNCE * 3))

    def text(self, name):
        """A policy that is valid also if it is cut before its last line, or none."""
        self.number += 1
        head = f"# {self.number}\nversion: 1\n"
        if self.random.random() < 0.15:
            return head + self.random.choice(INVALID)
        # both may set the same files only to the same values: each has its own
        own = {"p": f"{RUN}: {self.number % 2}", "q": f"{PAGES}: {self.number}"}[name]
        return f"{head}name: {name}\nsettings:\n  {own}\n  /proc/sys/vm/swappiness: 50\n"

    def path(self, name):
        return self.directory / f"{name}.yaml"

    def rename(self, name):
        """As careful editors do."""
        self.files[name] = text = self.text(name)
        self.desk.put(f"{name}.yaml", text)
        self.changed(name)
        yield from ()

    def in_place(self, name):
        """A file that stays open; maybe through a link."""
        text = self.text(name)
        with self.path(name).open("w") as stream:
            stream.write(cut(text))
            stream.flush()
            self.changed(name, half=True, held=True)
            yield self.any()
            stream.write(text[len(cut(text)) :])
            self.files[name] = text
        self.changed(name)

    def in_halves(self, name):
        """As `echo … > file; echo … >> file`."""
        text = self.text(name)
        self.path(name).write_text(cut(text))
        self.changed(name, half=True)
        yield self.short()
        with self.path(name).open("a") as stream:
            stream.write(text[len(cut(text)) :])
        self.files[name] = text
        self.changed(name)

    def both(self, name):
        """A change of two files."""
        del name
        for name in NAMES:
            self.files[name] = text = self.text(name)
            self.desk.put(f"{name}.yaml", text)
            self.changed(name, half=name != NAMES[-1])
            if self.half:
                yield self.short()

    def link(self, name):
        """A link to a file that is made anew each time."""
        self.files[name] = text = self.text(name)
        place = self.directory / f"..{self.number}"
        place.mkdir()
        (place / f"{name}.yaml").write_text(text)
        self.point(self.path(name), f"{place.name}/{name}.yaml")
        self.changed()
        yield from ()

    def config_map(self, name):
        """As kubelet does: all files are links through one link, which is all that changes."""
        del name
        data = self.directory / "..data"
        before = data.resolve() if data.is_symlink() else None
        files = {each: self.text(each) for each in NAMES}
        place = self.directory / f"..{self.number}"
        place.mkdir()
        for each, text in files.items():
            (place / f"{each}.yaml").write_text(text)
        todo = [each for each in NAMES if not self.leads(each, "..data")]
        self.point(data, place.name)
        if len(todo) < len(NAMES):
            self.files = files
            self.changed(half=bool(todo))
        for each in todo:
            yield self.short()
            self.point(self.path(each), f"..data/{each}.yaml")
            self.files = files
            self.changed(half=each != todo[-1])
        if before is not None and not any(self.leads(each, before.name) for each in NAMES):
            shutil.rmtree(before)

    def leads(self, name, where):
        path = self.path(name)
        return path.is_symlink() and os.readlink(path).startswith(f"{where}/")

    def point(self, path, where):
        temporary = self.directory / ".link"
        temporary.symlink_to(where)
        temporary.replace(path)

    def delete(self, name):
        if self.files.pop(name, None) is not None:
            self.path(name).unlink()
            self.changed()
        yield from ()

    def remake(self, name):
        """The directory ends file by file, is gone for a while, and is filled again."""
        del name
        for each in list(self.files)[:-1]:
            self.path(each).unlink()
            self.changed(half=True)
            yield self.short()
        if self.linked:
            self.directory.unlink()
            where = self.directory.with_name(f"r{self.number}")
        else:
            shutil.rmtree(self.directory)
            where = self.directory
        self.changed()
        yield self.any()
        self.number += 1
        where.mkdir()
        if self.linked:
            self.directory.symlink_to(where.name)
        self.changed(half=bool(self.files))
        for each, text in self.files.items():
            yield self.short()
            self.path(each).write_text(text)
            self.changed(each, half=each != list(self.files)[-1])

    def move_away(self, name):
        """It is renamed and comes back; or it leads to another release from one moment to another."""
        if self.linked:
            place = self.directory.with_name(f"release{self.number}")
            place.mkdir()
            self.files = {each: self.text(each) for each in NAMES}
            for each, text in self.files.items():
                (place / f"{each}.yaml").write_text(text)
            temporary = self.directory.with_name("next")
            temporary.symlink_to(place.name)
            temporary.replace(self.directory)
        else:
            aside = self.directory.with_name("aside")
            self.directory.rename(aside)
            self.changed()
            yield self.any()
            aside.rename(self.directory)
        self.changed()

    def touch(self, name):
        if name in self.files:
            self.changed(name)
        yield from ()

    def other(self, name):
        """What is no policy."""
        (self.directory / f"{name}.test.yaml").write_text(self.text(name))
        (self.directory / f".{name}.yaml.swp").write_text("x")
        self.changed(policies=False)
        yield from ()


def cut(text):
    return text[: max(text.find("  /proc"), len(text) // 2)]


def valid(files):
    return not any(text.endswith(INVALID) for text in files.values())


def right(files):
    """Those that are valid, and whose name stands in no other."""
    twice = any(name != "p" and text.endswith(INVALID[0]) for name, text in files.items())
    return {
        name: text
        for name, text in files.items()
        if valid({name: text}) and not (name == "p" and twice)
    }


@pytest.mark.unmeasured
@pytest.mark.parametrize("seed", LOST)
def test_what_rests_and_is_valid_is_applied_and_nothing_else(desk, seed, monkeypatch):
    author = Author(desk, seed, monkeypatch)
    author.run()

    assert {"applied", "unchanged", "invalid", "gone"} <= set(author.kinds)
