"""Play one script of operations on two machines, and compare what they answer.

An operation's answer is ``ok`` or the errno. Then files are compared, one by one: after a
write those beside the written one, or all that hang on a count; after a command all of the
kdamond; and after a scene the whole tree, with its modes. The emulated machine goes first:
what would wreck it, and so the real kernel, is left out on both sides.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import chain
from typing import Literal, Protocol

from damonpolicy.kernel.system.machine import KDAMONDS, Machine

__all__ = ("Answers", "Emulated", "Player", "Scene", "Step", "compare", "is_late", "steady")

_LASTING = ("commit", "update", "clear")
"""Commands after which all is compared at once; `on` and `off` leave that to what follows."""

_SECONDS = 10
"""Real kernels need some time for what the emulated one does at once."""
_BLINK = 0.01

_MODULE = re.compile(r"/sys/module/damon_\w+/parameters/")
_VOLATILE = {
    r"\d+/pid|.*/kdamond_pid": lambda text: "-1" if text == "-1" else "a pid",
    r".*/stats/nr_snapshots": lambda _: "any",
    r".*/stats/(?!max_).*": lambda text: "0" if text == "0" else "more",
    r".*/tried_regions/\d+/age": lambda text: "an age",
    r".*/probes/\d+/hits": lambda text: "0" if text == "0" else "more",
    r".*/parameters/monitor_region_(start|end)": lambda text: "0" if text == "0" else "an address",
    # what a module has done by then: seconds under load, on whatever is accessed
    r".*/parameters/(nr|bytes)_\w+_(regions|exceeds)": lambda _: "any",
    # what DAMON_STAT has measured, and when
    r".*/(estimated_memory_bandwidth|memory_idle_ms_percentiles|aggr_interval_us)": lambda _: "any",
}
"""How contents that hang on time are shown, so that the rest of them is still compared."""


@dataclass(frozen=True, slots=True)
class Step:
    """One operation.

    ``write`` and ``read`` a file, ``list`` a directory; ``ask`` writes the command
    ``text`` to the state of the path's kdamond until the path shows ``wanted``; ``exit``
    ends a process, ``mkdir`` and ``rmdir`` make and remove a cgroup. Paths are below the
    kdamonds directory, or absolute.
    """

    do: Literal["write", "read", "list", "ask", "exit", "mkdir", "rmdir"]
    path: str
    text: str = ""
    wanted: str = ""

    def __str__(self) -> str:
        text = self.text if len(self.text) < 60 else f"{self.text[:20]}…"
        more = f" {text!r}" if self.do in ("write", "ask") else ""
        return f"{self.do} {self.path}{more}"


@dataclass(frozen=True, slots=True)
class Scene:
    """Steps that belong together; they begin with no kdamond at all."""

    name: str
    steps: tuple[Step, ...]


class Emulated(Machine, Protocol):
    """A machine that can say what would wreck a real one, and what has."""

    @property
    def poisoned(self) -> str:
        """Why everything fails since some operation, or an empty text."""

    def would_wreck(self, path: str, text: str) -> str:
        """Return how a write would do so, without doing it."""


@dataclass(frozen=True, slots=True)
class Player:
    """A machine, its processes by the names they have in scripts, and how they end."""

    machine: Machine
    pids: Mapping[str, int]
    exit_process: Callable[[int], None]
    make_cgroup: Callable[[str], None]
    remove_cgroup: Callable[[str], None]

    def play(self, step: Step, patience: float = _SECONDS) -> str:
        """Do a step and return the answer; wait for it for ``patience`` at most."""
        path = _full(step.path)
        try:
            match step.do:
                case "write":
                    self.machine.write(path, self._with_pids(step.text))
                case "read":
                    return _shown(step.path, self.machine.read(path))
                case "list":
                    self.machine.scan(path)
                case "ask":
                    return self._ask(step, patience)
                case "exit":
                    self.exit_process(self.pids[step.path])
                case "mkdir":
                    self.make_cgroup(step.path)
                case "rmdir":
                    self.remove_cgroup(step.path)
        except OSError as error:
            return errno.errorcode[error.errno or errno.EIO]
        return "ok"

    def _with_pids(self, text: str) -> str:
        return str(self.pids.get(text.removeprefix("pid of "), text))

    def _ask(self, step: Step, patience: float) -> str:
        deadline = self.machine.monotonic() + patience
        while True:
            if step.text:
                self.machine.write(f"{KDAMONDS}/{step.path.partition('/')[0]}/state", step.text)
            found = steady(step.path, self.machine.read(_full(step.path)).removesuffix("\n"))
            if found == step.wanted:
                return "ok"
            if self.machine.monotonic() > deadline:
                return f"still {found!r}"
            self.machine.sleep(_BLINK)

    def states(self) -> list[str]:
        """Return which kdamonds are on."""
        slots = [each.name for each in self.machine.scan(KDAMONDS) if each.is_dir]
        return [self.machine.read(f"{KDAMONDS}/{slot}/state") for slot in slots]

    def await_states(self, wanted: list[str], seconds: float) -> bool:
        """Wait for kdamonds that end by themselves; return whether they did."""
        deadline = self.machine.monotonic() + seconds
        while self.states() != wanted:
            if self.machine.monotonic() > deadline:
                return False
            self.machine.sleep(_BLINK)
        return True

    def look(self, path: str, *, deep: bool, modes: bool = False) -> dict[str, str]:
        """Return what is in a directory, or all below it: contents of files, perhaps modes."""
        try:
            return dict(self._entries(path, deep=deep, modes=modes))
        except OSError as error:
            return {path: errno.errorcode[error.errno or errno.EIO]}

    def _entries(self, path: str, *, deep: bool, modes: bool) -> Iterator[tuple[str, str]]:
        for name, is_dir in self.machine.scan(_full(path)):
            here = f"{path}/{name}" if path else name
            mode = f"{self.machine.mode(_full(here)):o} " if modes else ""
            yield here, mode + ("a directory" if is_dir else self.content(here))
            if is_dir and deep:
                yield from self._entries(here, deep=deep, modes=modes)

    def content(self, path: str) -> str:
        """Return what a file shows, or the errno of reading it."""
        try:
            return _shown(path, self.machine.read(_full(path)))
        except OSError as error:
            return errno.errorcode[error.errno or errno.EIO]


def is_late(step: Step) -> bool:
    """Return whether a busy kernel may answer a step with nothing, and in full when asked again.

    6.12 gives tried regions up after two apply intervals without a turn of the kdamond
    (mm/damon/sysfs-schemes.c: damon_sysfs_schemes_update_regions_start()).
    """
    return step.do == "write" and step.text == "update_schemes_tried_regions"


def _full(path: str) -> str:
    return path if path.startswith("/") else f"{KDAMONDS}/{path}".rstrip("/")


def steady(path: str, content: str) -> str:
    """Return a file's content without what hangs on time."""
    show = _volatile(path)
    return show(content) if show else content


@cache
def _volatile(path: str) -> Callable[[str], str] | None:
    return next((show for pattern, show in _VOLATILE.items() if re.fullmatch(pattern, path)), None)


def _shown(path: str, text: str) -> str:
    """Show a content; that its final newline is missing would be a difference, too."""
    content = text.removesuffix("\n")
    return f"`{steady(path, content)}`" + ("" if content != text else " without a newline")


class Answers:
    """The two sides of a comparison, and what differed."""

    def __init__(self, real: Player, emulated: Player) -> None:
        self.real, self.emulated = real, emulated
        self.mismatches: list[str] = []
        self._known: dict[str, tuple[str | None, str | None]] = {}
        self._patience: float = _SECONDS

    def play(self, step: Step) -> bool:
        """Play a step on both sides; False where the real one has to be spared the rest.

        A command that would wreck this kernel is left out on both sides.
        """
        machine: Emulated = self.emulated.machine  # type: ignore[assignment]
        if step.do == "write" and machine.would_wreck(_full(step.path), step.text):
            return True
        expected = self.emulated.play(step)
        if machine.poisoned:
            self.mismatches.append(f"{step}: not done, as it would wreck: {machine.poisoned}")
            return False
        # what never comes on the one side is not waited for long on the other
        patience = _SECONDS if expected == "ok" else 1
        deadline = self.real.machine.monotonic() + _SECONDS
        while (answer := self.real.play(step, patience)) == "EBUSY" != expected:
            # 6.12's kdamonds take DAMON's lock too (mm/damon/sysfs.c: damon_sysfs_cmd_request_callback())
            if self.real.machine.monotonic() > deadline:
                break
            self.real.machine.sleep(_BLINK)
        if answer != expected:
            self._report(step, "the answer", answer, expected)
        if step.path.endswith("/state") or step.do in ("exit", "ask"):
            same = self.real.await_states(self.emulated.states(), self._patience)
            self._patience = _SECONDS if same else 0
        if step.do in ("write", "ask"):
            self._look_around(step, expected)
        return True

    def _look_around(self, step: Step, answer: str) -> None:
        """Compare what a write, or a command, may have changed."""
        directory, _, name = step.path.rpartition("/")
        if step.path.startswith("/") and not _MODULE.match(step.path):
            real, emulated = (
                {step.path: side.content(step.path)} for side in (self.real, self.emulated)
            )
        else:
            deep = step.do == "ask" or (
                name == "state" and answer == "ok" and step.text.startswith(_LASTING)
            )
            path = directory.partition("/")[0] if deep else directory
            deep = deep or name.startswith("nr_")
            real, emulated = (side.look(path, deep=deep) for side in (self.real, self.emulated))
            deadline = self.real.machine.monotonic() + _SECONDS
            while real != emulated and is_late(step) and self.real.machine.monotonic() < deadline:
                self.real.machine.sleep(_BLINK)
                self.real.play(step)
                real = self.real.look(path, deep=deep)
        self._compare(step, real, emulated)

    def look_at_all(self, step: str) -> None:
        """Compare the whole tree, with the modes of its files and directories."""
        self._compare(
            step, *(side.look("", deep=True, modes=True) for side in (self.real, self.emulated))
        )

    def _compare(self, step: Step | str, real: dict[str, str], emulated: dict[str, str]) -> None:
        """Say each difference once, and of what is missing only the top."""
        for file in dict.fromkeys(chain(real, emulated)):
            pair = real.get(file), emulated.get(file)
            if pair[0] == pair[1]:
                self._known.pop(file, None)
            elif self._known.get(file) != pair:
                self._known[file] = pair
                if None not in pair or None not in self._known.get(file.rpartition("/")[0], ()):
                    self._report(step, file, *pair)

    def _report(self, step: Step | str, what: str, real: str | None, emulated: str | None) -> None:
        self.mismatches.append(
            f"{step}: {what}: real {real or 'missing'}, emulated {emulated or 'missing'}"
        )


def compare(real: Player, emulated: Player, scenes: Iterable[Scene]) -> list[str]:
    """Play scenes on both machines; return every mismatch as a line for people."""
    answers, found = Answers(real, emulated), []
    for scene in scenes:
        played = all(answers.play(step) for step in scene.steps)
        if played:
            answers.look_at_all("at the end")
        found += [f"{scene.name}: {line}" for line in answers.mismatches]
        answers.mismatches.clear()
        if not played or not all(answers.play(step) for step in _leave(answers.real)):
            return found
        found += [f"{scene.name}, leaving: {line}" for line in answers.mismatches]
        answers.mismatches.clear()
    return found


def _leave(player: Player) -> list[Step]:
    """Return what stops all that a scene left running, and removes all kdamonds."""
    stop = [
        Step("write", f"{slot}/state", "off")
        for slot, state in enumerate(player.states())
        if state == "on\n"
    ]
    return [*stop, Step("write", "nr_kdamonds", "0")]
