"""Random sequences of operations on DAMON's files, from a seed: `sequence`.

Most of the texts are such as a file takes, a third are not. Each operation is first tried
on an emulated kernel, so that the next one can look at what is there by then. What would
wreck a real kernel, or hold it up, is not among them.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import suppress

from damonpolicy.emulated.damon.table import Directory
from damonpolicy.kernel.damon.schema import pattern

from .answers import Step
from .bearable import bearable, bearable_module
from .likely import EDGES, MODULE_VALUES, THEMES, WORDS, likely, misspelt
from .players import CGROUPS, NAMES, EmulatedPlayer, emulated, parameters, prime
from .script.words import configured

__all__ = ("sequence",)

_SHORTEST, _LONGEST = 8, 25
"""Operations of a sequence, those apart that lay out what it begins with."""
_TRIES = 20
"""So often is another operation sought instead of one that a real kernel has to be spared."""

_COUNTS = (0, 1, 1, 1, 2, 2, 3)
_WRONG_COUNTS = (
    "-1", "x", "1.5", "", "2147483648", "2147483647", "0x1", "01", "1\n", " 1", "4294967297",
)  # fmt: skip
_COMMANDS = (
    "on", "on", "on", "off", "commit", "commit", "commit", "update_schemes_stats",
    "commit_schemes_quota_goals", "update_schemes_tried_regions", "update_schemes_tried_regions",
    "update_schemes_tried_bytes",
    "clear_schemes_tried_regions", "update_schemes_effective_quotas", "update_tuned_intervals",
)  # fmt: skip
_PIDS = ("0x10", "0X1f", "010")
"""These may be threads of a kernel, or not."""
_ASIDE = ("list", "missing", "unwritable", "exit", "cgroup", "cgroup")


def sequence(series: str, seed: int) -> tuple[Step, ...]:
    """Return the sequence of a kernel series and a seed, always the same one."""
    return tuple(_Sequence(series, seed).steps)


class _Sequence:
    """A sequence as it grows, and the emulated kernel that it was played on until now."""

    def __init__(self, series: str, seed: int) -> None:
        self.random = random.Random(f"{series} {seed}")
        self.player: EmulatedPlayer = emulated(series)
        prime(self.player)
        self.layout = self.player.machine._world.layout
        self.parameters = parameters(self.player)
        kinds = {each.kind for each in self.layout.files.values() if each.mode & 0o200}
        self.settings = sorted(kinds - {"count", "state"})
        self.living = set(NAMES)
        self.steps: list[Step] = []
        for step in self._outset():
            self._play(step)
        begun, most = len(self.steps), self.random.randint(_SHORTEST, _LONGEST)
        while len(self.steps) < begun + most:
            self._go_on()

    def _chance(self, share: float) -> bool:
        return self.random.random() < share

    @property
    def tree(self) -> Directory:
        """What is staged: names to contents or to further directories."""
        found: Directory = self.player.machine._world.state["tree"]
        return found

    def _play(self, step: Step) -> bool:
        """Add a step, unless a real kernel has to be spared it."""
        machine = self.player.machine
        with machine.rehearsal():
            answer = self.player.play(step)
            if not self._bearable():
                return False
            with suppress(OSError):
                self.player.states()  # kdamonds that refresh their files notice what they lost
            if machine.poisoned or not self._bearable():
                return False
            if answer == "ok" and not bearable_module(self.player, step):
                return False
        if step.do == "exit":
            self.living.discard(step.path)
        self.player.play(step)
        self.steps.append(step)
        return True

    def _bearable(self) -> bool:
        """Return whether a kernel can bear what runs, with what is staged for it."""
        kdamonds = [
            (self.player.machine._kdamonds.running(slot), staged)
            for slot, staged in self.tree.items()
        ]
        return all(bearable(running, staged) for running, staged in kdamonds if running)

    def _outset(self) -> Iterator[Step]:
        """Yield what a sequence begins with: nothing much, one or two kdamonds, some furniture."""
        kind = self.random.choices(("nothing", "kdamonds", "furniture"), (1, 5, 4))[0]
        if self._chance(0.5):
            yield Step("mkdir", CGROUPS[0])
        slots = (
            self.random.choice((0, 1, 2)) if kind == "nothing" else self.random.choice((1, 1, 2))
        )
        yield Step("write", "nr_kdamonds", str(slots))
        for slot in range(slots if kind != "nothing" else 0):
            if kind == "kdamonds":
                known = self.layout.files["*/contexts/*/operations"].words
                operations = "paddr" if self._chance(0.5) else self.random.choice(known)
                yield from configured(operations, slot)
            if kind == "furniture" or self._chance(0.5):
                yield from self._furniture(slot, wipes=kind == "furniture")
            if self._chance(0.7 if kind == "kdamonds" else 0.3):
                yield Step("write", f"{slot}/state", "on")

    def _furniture(self, slot: int, *, wipes: bool) -> Iterator[Step]:
        """Yield counts that make directories of all kinds, from the top down.

        Those that stand above what a kdamond needs are left alone unless it may be wiped.
        """
        if wipes:
            yield Step("write", f"{slot}/contexts/nr_contexts", "1")
        above = ("targets/nr_targets", "regions/nr_regions", "schemes/nr_schemes")
        counts = [each.path for each in self.layout.files.values() if each.kind == "count"]
        for name in counts:
            wanted = name.count("/") > 2 and (wipes or not name.endswith(above))
            if name.startswith("*/contexts/*/") and wanted and self._chance(0.6):
                for path in self._paths(name, str(slot)):
                    yield Step("write", path, str(self.random.choice((1, 1, 2))))

    def _paths(self, wanted: str, slot: str = "*") -> list[str]:
        """Return the files of a pattern that are there now, perhaps those of one slot."""
        found: list[tuple[str, Directory]] = [("", self.tree)]
        for part in wanted.split("/")[:-1]:
            found = [
                (f"{path}{name}/", inner)
                for path, here in found
                for name, inner in here.items()
                if isinstance(inner, dict) and (name == part or (part == "*" and name.isdecimal()))
            ]
        last = wanted.rpartition("/")[2]
        return [f"{path}{last}" for path, here in found if last in here
                and (slot == "*" or path.startswith(f"{slot}/"))]  # fmt: skip

    def _go_on(self) -> None:
        """Add one more operation, or a few that belong together."""
        for _ in range(_TRIES):
            kind = self.random.choices(
                ("file", "directory", "theme", "command", "count", "module", "aside"),
                (34, 8, 10, 25, 10, 6, 7),
            )[0]
            found = getattr(self, f"_{kind}")()
            if [step for step in found if self._play(step)]:
                return

    def _existing(self, *kinds: str) -> str:
        """Choose a file of these kinds by its pattern, so that rare ones are not outnumbered.

        Results are left out: how many regions there are hangs on time.
        """
        known = [
            file.path
            for file in self.layout.files.values()
            if file.kind in kinds and "tried_regions/*" not in file.path
        ]
        self.random.shuffle(known)
        for each in known:
            paths = self._paths(each)
            if paths:
                return self.random.choice(paths)
        return ""

    def _file(self) -> Iterator[Step]:
        """Write a setting."""
        path = self._existing(*self.settings)
        if path:
            yield Step("write", path, self._text(path))

    def _directory(self) -> Iterator[Step]:
        """Write all settings of a directory, then let a kdamond run that."""
        path = self._existing(*self.settings)
        directory = path.rpartition("/")[0]
        if "/" not in directory:
            return
        here: Directory = self.tree
        for part in directory.split("/"):
            here = here[part]
        files = [f"{directory}/{name}" for name, value in here.items() if isinstance(value, str)]
        for each in files:
            if self.layout.files[pattern(each)].kind in self.settings:
                yield Step("write", each, self._text(each, 0.9))
        slot = path.partition("/")[0]
        running = self.player.machine.running(int(slot))
        yield Step("write", f"{slot}/state", "commit" if running else "on")

    def _theme(self) -> Iterator[Step]:
        """Write what belongs together, and ask a kdamond what it makes of that."""
        slots = [each for each in self.tree if each.isdecimal()]
        if not slots:
            return
        slot = self.random.choice(slots)
        for below, values in self.random.choice(THEMES):
            where = f"*/contexts/{below}" if below == "nr_contexts" else f"*/contexts/*/{below}"
            for path in self._paths(where, slot):
                text = str(self.random.choice(values)) if values else self._text(path, 1)
                yield Step("write", path, text)
        running = self.player.machine.running(int(slot))
        yield Step("write", f"{slot}/state", "commit" if running else "on")
        for _ in range(self.random.choice((1, 1, 2, 3))):
            yield Step("write", f"{slot}/state", self.random.choice(_COMMANDS))

    def _text(self, path: str, share: float = 0.67) -> str:
        """Return a text for a file: with a chance of ``share`` one that it takes."""
        known, valid, edges = self.layout.files[pattern(path)], self._chance(share), EDGES
        if known.kind == "word":
            word = self.random.choice(known.words)
            return word if valid else misspelt(self.random, word, WORDS)
        if known.kind == "pid_t":
            edges = tuple(each for each in EDGES if each not in _PIDS)
        return likely(self.random, known, NAMES) if valid else self.random.choice(edges)

    def _command(self) -> Iterator[Step]:
        """Write a command, seldom one that does not exist."""
        paths = self._paths("*/state")
        word = self.random.choice(_COMMANDS)
        if self._chance(0.04):
            word = misspelt(self.random, word, WORDS)
        if paths:
            yield Step("write", self.random.choice(paths), word)

    def _count(self) -> Iterator[Step]:
        """Let directories grow or shrink, or make them again; mostly one where one is the most."""
        path = self._existing("count")
        above = path in ("nr_kdamonds", *self._paths("*/contexts/nr_contexts"))
        if self._chance(0.25):
            yield Step("write", path, self.random.choice(_WRONG_COUNTS))
        elif above and self._chance(0.6):
            yield Step("write", path, "1")
        else:
            yield Step("write", path, str(self.random.choice(_COUNTS)))

    def _module(self) -> Iterator[Step]:
        """Write a parameter of a module, often one that makes it do something."""
        acting = [each for each in self.parameters if each.name in ("enabled", "commit_inputs")]
        if acting:
            one = self.random.choice(acting if self._chance(0.4) else self.parameters)
            values = MODULE_VALUES.get(one.name) or MODULE_VALUES[one.kind]
            text = self.random.choice(values if self._chance(0.67) else EDGES)
            yield Step("write", one.path, str(text))

    def _aside(self) -> Iterator[Step]:
        """Do something beside the tree, or what can only be refused."""
        match self.random.choice(_ASIDE):
            case "exit":
                if self.living:
                    yield Step("exit", self.random.choice(sorted(self.living)))
            case "cgroup":
                path = self.random.choice(CGROUPS)
                there = path in self.player.machine._world.state["cgroups"]
                yield Step("rmdir" if there else "mkdir", path)
            case "list":
                yield Step("list", self._existing("count").rpartition("/")[0])
            case "unwritable":
                path = self._existing("value", "pid")
                if path:
                    yield Step("write", path, "1")
            case _:
                above = self._existing("count").rpartition("/")[0]
                yield Step("write", f"{above}/9/nope".lstrip("/"), "1")
