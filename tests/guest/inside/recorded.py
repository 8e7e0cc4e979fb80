"""An emulated kernel's answers to a generated sequence, to compare with a real one's: `record`.

A record has each operation with its answer, the kdamonds that are on after it, and a checksum
of what its directory holds then. So it is short, and a guest that only has to `replay` it need
not emulate anything. `explain` plays a sequence again to show how a real kernel differed.
"""

from __future__ import annotations

import errno
import json
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import astuple, dataclass
from functools import cache

from .answers import Player, Step, is_late, steady
from .bearable import certain
from .generated import sequence
from .players import CGROUPS, EmulatedPlayer, Sleepers, emulated, prime, reset_modules

__all__ = ("CHOSEN", "Answer", "Mismatch", "Record", "explain", "load", "record", "replay")

CHOSEN = range(80)
"""The seeds that the tests play."""

_SECONDS = 5
"""How long a real kernel may take to end a kdamond that ends by itself."""
_BUSY_SECONDS = 1
_BLINK = 0.01

_SHOWING = ("update_schemes_tried", "update_tuned", "clear")
"""Commands after which all files of the kdamond are compared, as they show what is known."""

_SHOWS = {
    "update_schemes_stats": ("stats",),
    "update_schemes_effective_quotas": ("quota",),
    "update_schemes_tried_regions": ("tried",),
    "update_schemes_tried_bytes": ("tried",),
}
"""What commands show that hangs on time, and on what is in memory."""

_LOOSE = {
    "stats": r"/schemes/\d+/stats/(?!max_)",
    "quota": r"/effective_bytes$",
    "tried": r"/tried_regions/",
    "numbers": r"(?!)",
}
"""The files that this is shown in. They are compared until the first such command."""

_MODULE = re.compile(r"/sys/module/\w+/parameters/((nr|bytes)_\w+|commit_inputs)")
"""What a module has done until now; and whether it has seen that it shall look again."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a kernel answers to a step.

    ``states`` are those of all kdamonds, where the step may change one. ``path`` is the directory that is looked at then,
    ``deep`` with all below, and ``digest`` a checksum of that; ``loose`` tells what is not
    compared, as ``"0 stats"``. A path of None: nothing is looked at.
    """

    step: Step
    answer: str
    states: tuple[str, ...]
    path: str | None
    deep: bool
    loose: tuple[str, ...]
    digest: int


@dataclass(frozen=True, slots=True)
class Record:
    """A sequence with its answers."""

    seed: int
    answers: tuple[Answer, ...]

    def line(self) -> str:
        """Return the record as a line of JSON."""
        return json.dumps([self.seed, [astuple(each) for each in self.answers]])


@dataclass(frozen=True, slots=True)
class Mismatch:
    """What a real kernel answered otherwise: after the step of a sequence with this index."""

    seed: int
    index: int
    answer: str
    states: tuple[str, ...]
    look: dict[str, str]


def load(line: str) -> Record:
    """Read a record's line."""
    seed, rows = json.loads(line)
    return Record(
        seed,
        tuple(
            Answer(Step(*step), answer, tuple(states), path, deep, tuple(loose), digest)
            for step, answer, states, path, deep, loose, digest in rows
        ),
    )


def record(series: str, seed: int) -> Record:
    """Play a sequence on an emulated kernel."""
    return Record(seed, tuple(answer for answer, _ in _played(series, seed)))


def _played(series: str, seed: int) -> Iterator[tuple[Answer, dict[str, str]]]:
    """Yield each answer, and what was looked at for it."""
    steps = (*sequence(series, seed), Step("list", ""))
    player = emulated(series)
    prime(player)
    loose: set[str] = set()
    for index, step in enumerate(steps):
        answer = player.play(step)
        states = tuple(player.states()) if _may_switch(step) else ()
        loose = _loosened(loose, player, step, answer)
        path, deep = _whereabouts(step, answer)
        if index == len(steps) - 1:
            path, deep = "", True
        look = _look(player, path, deep, tuple(loose)) if path is not None else {}
        yield Answer(step, answer, states, path, deep, tuple(sorted(loose)), _digest(look)), look


def _may_switch(step: Step) -> bool:
    """Return whether a step may start or end a kdamond."""
    return step.do == "exit" or step.path.endswith(("/state", "nr_kdamonds", "nr_contexts"))


def _loosened(loose: set[str], player: EmulatedPlayer, step: Step, answer: str) -> set[str]:
    """Return what may differ from now on, as it hangs on time."""
    slot = step.path.partition("/")[0]
    found = set(loose)
    if step.path == "nr_kdamonds" and answer == "ok":
        found.clear()
    if step.path.endswith("/state"):
        plain = step.text.partition("\0")[0].removesuffix("\n")
        shown = _SHOWS.get(plain, ())
        if shown == ("tried",) and f"{slot} numbers" not in found and certain(player, slot):
            shown = ()
        found |= {f"{slot} {what}" for what in shown}
        if "tried" in shown:
            found.add(f"{slot} numbers")  # some kernels go on from there
        if plain == "clear_schemes_tried_regions" and answer == "ok":
            found.discard(f"{slot} tried")
    for number, state in enumerate(player.states()):
        # by itself, once the time has come
        if state == "on\n" and player.content(f"{number}/refresh_ms") not in ("`0`", "ENOENT"):
            found |= {f"{number} {what}" for what in ("stats", "quota")}
    return found


def _whereabouts(step: Step, answer: str) -> tuple[str | None, bool]:
    """Return the directory that a step may have changed, and whether also those below.

    What a new directory holds is looked at with all else when the sequence ends: reading is
    what takes the time of a guest.
    """
    if step.do != "write":
        return None, False
    directory, _, name = step.path.rpartition("/")
    return directory, name == "state" and answer == "ok" and step.text.startswith(_SHOWING)


def _look(player: Player, path: str, deep: bool, loose: tuple[str, ...]) -> dict[str, str]:  # noqa: FBT001
    """Return what is in a directory, without what hangs on time."""
    pids = {f"`{pid}`": f"pid of {name}" for name, pid in player.pids.items()}
    return {
        file: pids.get(content, content) if file.endswith("pid_target") else content
        for file, content in player.look(path, deep=deep).items()
        if not _hangs_on_time(file, loose)
    }


@cache
def _hangs_on_time(file: str, loose: tuple[str, ...]) -> bool:
    slot, _, rest = file.partition("/")
    return bool(_MODULE.fullmatch(file)) or any(
        re.search(_LOOSE[what], f"/{rest}")
        for number, what in (each.split() for each in loose)
        if number == slot
    )


def _digest(look: dict[str, str]) -> int:
    text = "\n".join(sorted(f"{file} {steady(file, content)}" for file, content in look.items()))
    return zlib.crc32(text.encode("utf-8", "surrogateescape"))


def replay(
    player: Player,
    sleepers: Sleepers,
    records: Iterable[Record],
    announce: Callable[[int, int], None] = lambda _seed, _index: None,
) -> Iterator[Mismatch]:
    """Play records on the real kernel; yield the first mismatch of each sequence.

    ``announce`` gets seed and index before each step that may be the kernel's last.
    """
    prime(player)
    for each in records:
        for index, expected in enumerate(each.answers):
            if expected.step.path.endswith(("state", "enabled", "commit_inputs", "nr_kdamonds")):
                announce(each.seed, index)
            found = _compared(player, each.seed, index, expected)
            if found:
                yield found
                break
        announce(each.seed, len(each.answers))
        if any(answer.step.path.startswith("/sys/module/") for answer in each.answers):
            reset_modules(player)
        _leave(player, sleepers)


def _compared(player: Player, seed: int, index: int, expected: Answer) -> Mismatch | None:
    """Play a step; None where all is as it was recorded, soon after where a kernel may be late."""
    deadline = player.machine.monotonic() + _SECONDS
    while True:
        found = _played_once(player, seed, index, expected)
        late = is_late(expected.step) and player.machine.monotonic() < deadline
        if found is None or not late:
            return found
        player.machine.sleep(_BLINK)


def _played_once(player: Player, seed: int, index: int, expected: Answer) -> Mismatch | None:
    answer = _answer(player, expected)
    states: tuple[str, ...] = ()
    if _may_switch(expected.step):
        player.await_states(list(expected.states), _SECONDS)
        states = tuple(player.states())
    look = {}
    if expected.path is not None:
        look = _look(player, expected.path, expected.deep, expected.loose)
    if (answer, states, _digest(look)) == (expected.answer, expected.states, expected.digest):
        return None
    return Mismatch(seed, index, answer, states, look)


def _answer(player: Player, expected: Answer) -> str:
    """Play a step, again while DAMON's lock is held by a kdamond that refreshes its files."""
    deadline = player.machine.monotonic() + _BUSY_SECONDS
    while True:
        answer = player.play(expected.step)
        busy = errno.errorcode[errno.EBUSY]
        if answer != busy or expected.answer == busy or player.machine.monotonic() > deadline:
            return answer
        player.machine.sleep(_BLINK)


def _leave(player: Player, sleepers: Sleepers) -> None:
    """Leave no kdamond, no cgroup, and processes as they were."""
    for slot, state in enumerate(player.states()):
        if state == "on\n":
            player.play(Step("write", f"{slot}/state", "off"))
    player.play(Step("write", "nr_kdamonds", "0"))
    for path in CGROUPS:
        player.play(Step("rmdir", path))
    sleepers.renew()


def explain(series: str, found: Mismatch) -> list[str]:
    """Return what differed, and the operations that led there, one a line."""
    played = list(_played(series, found.seed))[: found.index + 1]
    expected, look = played[-1]
    lines = [f"sequence {found.seed}, after {len(played)} operations:"]
    lines += [f"  {answer.step}: {answer.answer}" for answer, _ in played]
    if found.answer != expected.answer:
        lines.append(f"  * the answer: real {found.answer}, emulated {expected.answer}")
    if found.states != expected.states:
        states = [" ".join(each.split()) for each in map("".join, (found.states, expected.states))]
        lines.append(f"  * the states: real {states[0]}, emulated {states[1]}")
    for file in dict.fromkeys([*found.look, *look]):
        pair = [steady(file, each.get(file, "missing")) for each in (found.look, look)]
        if pair[0] != pair[1]:
            lines.append(f"  * {file}: real {pair[0]}, emulated {pair[1]}")
    return lines
