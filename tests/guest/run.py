"""Run tests/guest/inside in real kernels, one guest for each, and print the results.

    python -m tests.guest.run [--all] [--jobs N] [SERIES...] [-- PYTEST-ARGUMENT...]

prints one line for each kernel, then its failures. What does not hang on the kernel (marked
``once``) runs on the newest of them only. Without SERIES: those named by
``$DAMONPOLICY_REQUIRE_KERNELS``, else those that kernels.py calls required; with ``--all`` every
series that damonpolicy supports. ``--jobs 2`` runs two guests beside each other. Where no kernel
can be had, that is said in one line and is no failure, unless the variable names it.
"""

from __future__ import annotations

import argparse
import compileall
import functools
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from damonpolicy.emulated.machine import versions

from . import fetch, image, kernels, mounts
from .errors import GuestError, Unavailable, tail
from .guest import Guest, Result, environment
from .inside.recorded import CHOSEN, record
from .tools import check_machine

__all__ = (
    "PARTS",
    "REQUIRE",
    "Outcome",
    "kernel",
    "main",
    "newest",
    "required",
    "run_series",
    "unavailable",
    "verdict",
    "wanted",
)

REQUIRE = "DAMONPOLICY_REQUIRE_KERNELS"
_ROOT = Path(__file__).parents[2]
_INSIDE = Path(__file__).with_name("inside")
_MEMORY_MIB = 2048
_MODULES = ("zram", "null_blk")
_TIMEOUT = 1800
_REPORT, _PEER, _RECORDS = "report.jsonl", "peer", "records"

PARTS = ("watching", "acting")
"""Two halves of the tests, for two guests: about as long as each other."""
_WATCHING = (
    "test_matrix.py", "test_matrix_filters.py", "test_service.py", "test_service_trials.py",
)  # fmt: skip
"""The files of the first; all others belong to the second."""


@dataclass(slots=True)
class Outcome:
    """What the tests said on one kernel."""

    series: str
    part: str = ""
    release: str = ""
    passed: int = 0
    skipped: int = 0
    failures: list[tuple[str, str]] = field(default_factory=list)
    """Test and text of each failure."""
    trouble: str = ""
    """Why the run as a whole failed: the guest died, nothing was collected."""
    details: str = ""
    """What was written until then."""

    @property
    def ok(self) -> bool:
        """Whether the kernel passed: something ran, and nothing failed."""
        return bool(self.passed) and not self.failures and not self.trouble

    @property
    def line(self) -> str:
        """The one line about this kernel."""
        failed = f" {len(self.failures)} failed" if self.failures else ""
        died = f", {self.trouble}" if self.trouble else ""
        name = self.release or self.series
        part = f" ({self.part})" if self.part else ""
        remark = kernels.remark(self.release) if self.release else ""
        return f"kernel {name}{part}: {self.passed} passed {self.skipped} skipped{failed}{died}{remark}"

    @property
    def text(self) -> str:
        """The line, and every failure with its output."""
        failures = [f"-- {test}\n{text}" for test, text in self.failures]
        return "\n".join(part for part in (self.line, *failures, self.details) if part)


def required() -> list[str]:
    """Return the series that must not be missing."""
    return [word.strip() for word in os.environ.get(REQUIRE, "").split(",") if word.strip()]


def wanted() -> list[str]:
    """Return the series to run when none is named."""
    return required() or list(kernels.REQUIRED)


@functools.cache
def unavailable() -> str:
    """Return why no kernel at all can be had here; empty where they can."""
    try:
        check_machine()
        fetch.get_tools()
    except Unavailable as error:
        return str(error)
    return ""


def verdict(reason: str, series: Sequence[str]) -> tuple[str, bool]:
    """Return the one line about kernels that cannot be had, and whether that is a failure."""
    named = [each for each in series if each in required()]
    if named:
        return f"FAILED: real kernels: {reason} ({REQUIRE} names {', '.join(named)})", True
    return f"SKIPPED: real kernels: {reason}", False


def kernel(series: str) -> Path:
    """Return the directory of the newest kernel of a series, fetched if need be."""
    if unavailable():
        raise Unavailable(unavailable())
    return fetch.get_kernels([series])[series]


def newest(series: Sequence[str]) -> str:
    """Return the newest of some series."""
    return max(series, key=kernels.KNOWN.index)


def run_series(
    series: str, arguments: Sequence[str] = (), part: str = "", *, others: str = ""
) -> Outcome:
    """Boot the newest kernel of a series and run the tests in it, or one of `PARTS` of them.

    ``others`` is the series that runs what need not run on each, if that is another one.
    """
    directory = kernel(series)
    share = Path(tempfile.mkdtemp(prefix="damonpolicy-share-"))
    outcome = Outcome(series, part, release=directory.name)
    try:
        spared = ["-m", "not long and not once"] if others not in ("", series) else []
        result = _boot(directory, share, [*_files(part), *spared, *arguments])
        outcome.release = result.release
        _read_report(share / _REPORT, outcome)
        if result.returncode and not outcome.failures:
            outcome.trouble = f"pytest ended with {result.returncode}"
            outcome.details = tail(result.output)
    except GuestError as error:
        running = _read_report(share / _REPORT, outcome)
        outcome.trouble = f"{error.reason}, in {running or 'no test'}"
        outcome.details = error.details
    finally:
        mounts.remove_tree(share)
    return outcome


def _files(part: str) -> list[str]:
    """Return pytest's arguments."""
    if part == PARTS[0]:
        return [str(_INSIDE / name) for name in _WATCHING]
    left_out = [f"--ignore={_INSIDE / name}" for name in _WATCHING] if part else []
    return [str(_INSIDE), *left_out]


def _boot(directory: Path, share: Path, arguments: Sequence[str]) -> Result:
    # a cache below /tmp is not seen inside, where that is another one
    shutil.copytree(fetch.get_peer(), share / _PEER)
    # A guest writes no bytecode, and each process of it would spend seconds with compiling.
    for each in (_ROOT / "damonpolicy", _ROOT / "tests", share / _PEER):
        compileall.compile_dir(each, quiet=2)
    series = kernels.series_of(directory.name)
    if series in versions():
        # played here, where it takes a tenth of the time
        lines = [f"{record(series, seed).line()}\n" for seed in CHOSEN]
        (share / _RECORDS).write_text("".join(lines), encoding="utf-8")
    guest = Guest(
        directory,
        memory_mib=_MEMORY_MIB,
        numa=True,
        modules=[name for name in _MODULES if image.has_modules(directory, [name])],
        timeout=_TIMEOUT,
        share=share,
        # DAMON_STAT's kdamond would let no other run; who wants it switches it on.
        append="damon_stat.enabled=N",
    )
    paths = [str(_ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    variables = environment(
        PYTHONPATH=os.pathsep.join(path for path in paths if path),
        # No plugin is needed inside, and importing them takes seconds under emulation.
        PYTEST_DISABLE_PLUGIN_AUTOLOAD="1",
        DAMONPOLICY_REPORT=f"/mnt/{_REPORT}",
        DAMONPOLICY_HOST_BOOT=Path("/proc/sys/kernel/random/boot_id").read_text("utf-8").strip(),
        DAMONPOLICY_KERNEL_RELEASE=directory.name,
        DAMONPOLICY_PEER=f"/mnt/{_PEER}",
        DAMONPOLICY_RECORDS=f"/mnt/{_RECORDS}",
    )
    # the first argument decides where pytest looks for its settings
    command = [
        sys.executable,
        "-m",
        "pytest",
        f"--rootdir={_INSIDE}",
        "-c",
        str(_INSIDE / "pytest.ini"),
        *arguments,
    ]
    return guest.run(command, variables, cwd=_ROOT)


def _read_report(path: Path, outcome: Outcome) -> str:
    """Add up what inside/conftest.py wrote; return the test that began last, if unfinished."""
    running = ""
    if not path.exists():
        return running
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        event = json.loads(line)
        match event["event"]:
            case "start":
                running = event["test"]
            case "finish":
                running = ""
            case "passed":
                outcome.passed += 1
            case "skipped":
                outcome.skipped += 1
            case "failed":
                outcome.failures.append((event["test"], event["text"]))
    return running


def _told(series: str, arguments: Sequence[str], others: str) -> tuple[str, bool]:
    """Run one series; return what is to be said of it, and whether that is a failure."""
    try:
        outcome = run_series(series, arguments, others=others)
    except Unavailable as error:
        return verdict(str(error), [series])
    return outcome.text, not outcome.ok


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; see the module's text."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    split = given.index("--") if "--" in given else len(given)
    parser = argparse.ArgumentParser(prog="python -m tests.guest.run")
    parser.add_argument("series", nargs="*", metavar="SERIES", help=", ".join(kernels.KNOWN))
    parser.add_argument("--all", action="store_true", help="every series")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="guests beside each other")
    chosen = parser.parse_args(given[:split])
    # Else the processes would still go with us, but not the temporary directories.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    for each in chosen.series:
        if each not in kernels.KNOWN:
            parser.error(f"unknown series {each}, known: {', '.join(kernels.KNOWN)}")
    series = list(kernels.KNOWN) if chosen.all else chosen.series or wanted()
    failed = False
    absent = [each for each in required() if each not in series]
    if absent:
        print(verdict("not run", absent)[0])
        failed = True
    if unavailable():
        line, fatal = verdict(unavailable(), series)
        print(line)
        return int(fatal or failed)
    with ThreadPoolExecutor(max(chosen.jobs, 1)) as pool:
        told = functools.partial(_told, arguments=given[split + 1 :], others=newest(series))
        for text, fatal in pool.map(told, series):
            print(text, flush=True)
            failed |= fatal
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
