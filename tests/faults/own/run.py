"""Faults of our own files: every open, write, close, rename and removal fails in turn.

`python -m tests.faults.own.run --files 3000 --signals 500 --jobs 2` lets the command line run in
children, on durable emulated machines. Below Python (`shim.c`, loaded with LD_PRELOAD) one call of
each fails: once, from there on, half written, or after its effect; or the process is killed there,
or gets a signal. What is left has to be as before or as after, and may not block the next command.
"""

from __future__ import annotations

import argparse
import collections
import ctypes
import errno
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

os.environ["DAMONPOLICY_FORBID_LIVE"] = "1"

from damonpolicy.base.errors import ExitCode
from damonpolicy.cli.options import confirmation
from damonpolicy.emulated.machine import EmulatedMachine
from damonpolicy.engine import journal
from damonpolicy.engine.store import Store
from tests.conftest import run_cli
from tests.world import ROOT, World, in_memory_directory

ERRORS = (errno.ENOSPC, errno.EIO, errno.EROFS, errno.EACCES, errno.EMFILE, errno.EDQUOT)
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
MODES = {"once": 0, "ever": 1, "short": 2, "after": 3, "killed": 4, "signalled": 5}
ENDS = ("killed", "signalled")
FAULTS = ("once", "ever", "short", "after", "killed")
"""Those that are tried in turn."""

confirmation.start_guard = lambda *_: None  # a guard would outlive its machine

KSM = str(ROOT / "policies" / "ksm.yaml")
MONITOR = str(ROOT / "policies" / "monitor.yaml")
RECLAIM = str(ROOT / "policies" / "proactive-reclaim.yaml")

SCENARIOS = {
    "first apply": ((), ("apply", KSM)),
    "second policy": ((("apply", MONITOR),), ("apply", KSM)),
    "online change": ((("apply", KSM),), ("apply", KSM, "--set", "cold_for=5m")),
    "removal": ((("apply", MONITOR), ("apply", KSM)), ("remove", "ksm")),
    "rollback": ((("apply", RECLAIM), ("apply", RECLAIM, "--set", "most=64MiB")), ("rollback",)),
    "stop": ((("apply", MONITOR), ("apply", KSM)), ("stop", "--all")),
    "confirm": ((("apply", MONITOR, "--confirm-within", "10h"),), ("confirm",)),
}
KERNELS = ("6.12", "7.3")

RESCUES = ("rollback", "stop")
"""Commands that go on where our own files cannot be written; after a kill they are run again."""

UNCONFIRMED = (ExitCode.FAILED, ExitCode.NO_PERMISSION, ExitCode.INTERRUPTED)
"""What a `confirm` that failed ends in."""


class Start:
    """A machine and our files before an operation, in a directory that is copied for each try."""

    def __init__(self, kernel: str, name: str) -> None:
        self.kernel, self.name = kernel, name
        prepare, self.words = SCENARIOS[name]
        self.place = in_memory_directory()
        for words in prepare:
            assert self.command(self.place, words) == 0, words
        self.before = self.seen(self.place)
        twin = self.copied()
        assert self.command(twin, self.words) == 0
        self.after = self.seen(twin)
        shutil.rmtree(twin)

    def command(self, place: Path, words) -> int:
        return run_cli("--kernel", f"emulated:{self.kernel}", "--state-dir", place, *words).code

    def world(self, place: Path) -> World:
        return World(EmulatedMachine.create(self.kernel, store=place / "machine"), place)

    def seen(self, place: Path):
        world = self.world(place)
        return world.look(), sorted(world.managed.policies), world.managed.pending is not None

    def copied(self) -> Path:
        made = in_memory_directory()
        shutil.copytree(self.place, made, dirs_exist_ok=True)
        return made

    def calls(self, shim, mode: str) -> int:
        """Return at how many calls of the operation a mode can be tried."""
        place = self.copied()
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            shim.shim_arm(*below(place, mode), 0, MODES[mode], 0, 0)
            self.command(place, self.words)
            os.write(writing, str(shim.shim_count()).encode())
            os._exit(0)
        os.waitpid(child, 0)
        counted = int(os.read(reading, 32))
        os.close(reading)
        os.close(writing)
        shutil.rmtree(place)
        return counted

    def tried(self, shim, mode: str, at: int, code: int) -> tuple[str, str]:
        """Try the operation with a fault; return what it ended in, and how that is wrong."""
        place = self.copied()
        try:
            child = os.fork()
            if child == 0:
                self._child(shim, place, mode, at, code)
            _, status = os.waitpid(child, 0)
            if os.WIFSIGNALED(status):
                ended = -os.WTERMSIG(status)
            else:
                ended = os.WEXITSTATUS(status)
            return str(ended), self.wrong(place, mode, ended)
        finally:
            shutil.rmtree(place)

    def _child(self, shim, place: Path, mode: str, at: int, code: int) -> None:
        silent = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(silent, number)
        ended = int(ExitCode.INTERNAL)
        try:
            number = code if mode == "signalled" else 0
            shim.shim_arm(*below(place, mode), at, MODES[mode], code, number)
            ended = self.command(place, self.words)
        finally:
            os._exit(ended)

    def wrong(self, place: Path, mode: str, ended: int) -> str:
        """Return how a promise was broken."""
        if ended in (ExitCode.INTERNAL, ExitCode.USAGE):
            return f"exit {ended}"
        if mode != "killed" and ended < 0:
            return f"ended by signal {-ended}"
        world = self.world(place)
        rescued = self.name in RESCUES and mode in ("killed", "ever", "once", "after", "short")
        if ended >= 0 and ended != ExitCode.ROLLBACK_INCOMPLETE:
            if (
                ended
                and journal.read(world.places.journal) is not None
                and world.look() != self.before[0]
            ):
                return f"exit {ended}, and the journal is left in the midst"
            wanted = self.after if ended == 0 else self.before
            if world.look() != wanted[0]:
                return f"exit {ended}, and the machine is neither as it was nor as it shall be"
        code = self.command(place, ("recover",))
        if code:
            return f"exit {ended}, and then `recover` ends with {code}"
        now = self.seen(place)
        if ended == 0 and now[0] != self.after[0]:
            return "done, and undone by `recover`"
        if self.name == "confirm":
            return self._confirmed_or_not(place, ended, now)
        if ended > 0 and now != self.before:
            return f"exit {ended}, and after `recover` it is not as before"
        if now[0] not in (self.before[0], self.after[0]) and not rescued:
            return f"exit {ended}, and after `recover` it is neither before nor after"
        numbers = Store(world.places).numbers()
        if ended and numbers and max(numbers) > world.managed.generation:
            return f"generation {max(numbers)} is kept and never ran"
        code = self.command(place, self.words)
        allowed = (0, int(ExitCode.USAGE)) if now[0] == self.after[0] else (0,)
        if code not in allowed:
            return f"exit {ended}, and once more ends with {code}"
        if self.seen(place)[0] != self.after[0] and self.name != "rollback":
            return f"exit {ended}, and once more does not bring it about"
        return f"poisoned: {world.machine.poisoned}" if world.machine.poisoned else ""

    def _confirmed_or_not(self, place: Path, ended: int, now) -> str:
        """Return how `confirm` broke a promise: only whether something waits tells of it."""
        if ended > 0 and ended not in UNCONFIRMED:
            return f"exit {ended}"
        wanted = [self.after] if ended == 0 else [self.before] if ended > 0 else []
        if now not in (wanted or (self.before, self.after)):
            return f"exit {ended}, and {'it waits' if now[2] else 'nothing waits'} to be confirmed"
        code = self.command(place, self.words)
        if code != (0 if now[2] else ExitCode.USAGE) or self.seen(place) != self.after:
            return f"exit {ended}, and once more ends with {code}"
        return ""


def below(place: Path, mode: str) -> tuple[bytes, bytes]:
    """Return where calls count, and where not: only an end may come in the kernel's own, too."""
    apart = "" if mode in ENDS else f"{place}/machine"
    return str(place).encode(), apart.encode()


def cases(start: Start, shim, files: int, signals: int):
    """Give faults: each mode in turn, and each error, while the place goes once through all calls.

    So each mode is spread over all of them, and five times as many faults as calls are every one.
    """
    own, writes, every = (start.calls(shim, mode) for mode in ("once", "short", "killed"))
    calls = {"short": writes, **dict.fromkeys(ENDS, every)}
    for number in range(files):
        mode = FAULTS[number % len(FAULTS)]
        at = 1 + number * calls.get(mode, own) // files
        yield mode, at, ERRORS[number % len(ERRORS)]
    for number in range(signals):
        at = 1 + number * every // signals
        yield "signalled", at, SIGNALS[number % len(SIGNALS)]


def compiled(directory: str) -> str:
    """Compile the shim; raises CalledProcessError."""
    made = f"{directory}/shim.so"
    source = str(Path(__file__).with_name("shim.c"))
    subprocess.run(["gcc", "-O1", "-shared", "-fPIC", "-o", made, source, "-ldl"], check=True)
    return made


def work(options) -> None:
    """Be a worker: the shim is loaded."""
    shim = ctypes.CDLL(None)
    shim.shim_arm.argtypes = [
        ctypes.c_char_p, ctypes.c_char_p, ctypes.c_long, ctypes.c_int, ctypes.c_int, ctypes.c_int,
    ]  # fmt: skip
    shim.shim_count.restype = ctypes.c_long
    name, kernel = options.scenario.rsplit("@", 1)
    start = Start(kernel, name)
    for mode, at, code in cases(start, shim, options.files, options.signals):
        ended, reason = start.tried(shim, mode, at, code)
        print(
            f"{mode}\t{ended}\t{at} {code}: {reason}" if reason else f"{mode}\t{ended}\t",
            flush=True,
        )
    shutil.rmtree(start.place)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.own.run", description=__doc__)
    parser.add_argument("--files", type=int, default=3000)
    parser.add_argument("--signals", type=int, default=500)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument(
        "-k", dest="word", default="", help="only scenarios with this in their name"
    )
    parser.add_argument("--scenario", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.scenario:
        work(options)
        return
    names = [f"{name}@{kernel}" for kernel in KERNELS for name in SCENARIOS]
    names = [name for name in names if options.word in name]
    with tempfile.TemporaryDirectory() as directory:
        counts, broken = run(
            names, options.files, options.signals, options.jobs, compiled(directory)
        )
    for mode in MODES:
        ends = {code: n for (each, code), n in sorted(counts.items()) if each == mode}
        if ends:
            print(f"{mode}: {sum(ends.values())} tried, by exit code {ends}")
    for line in broken:
        print(line)
    print(f"{len(names)} scenarios, {len(broken)} violations")
    sys.exit(bool(broken))


def run(names, files: int, signals: int, jobs: int, library: str):
    """Run workers with the shim; return counts by mode and exit code, and violations."""
    each_files, each_signals = -(-files // len(names)), -(-signals // len(names))

    def one(name: str) -> list[str]:
        done = subprocess.run(
            [sys.executable, "-m", "tests.faults.own.run", "--scenario", name,
             "--files", str(each_files), "--signals", str(each_signals)],
            env={**os.environ, "LD_PRELOAD": library}, cwd=ROOT, check=True,
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        return done.stdout.splitlines()

    counts, broken = collections.Counter(), []
    with ThreadPoolExecutor(jobs) as pool:
        for name, lines in zip(names, pool.map(one, names), strict=True):
            for line in lines:
                mode, ended, reason = line.split("\t", 2)
                counts[mode, ended] += 1
                if reason:
                    broken.append(f"{name} {mode} {reason}")
    return counts, broken


if __name__ == "__main__":
    main()
