"""Report each test as it goes, so that a kernel that dies shows where."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from damonpolicy.kernel.damon.capabilities import Capabilities, detect
from damonpolicy.kernel.damon.tree import snapshot
from damonpolicy.kernel.system.machine import LiveMachine

from .cgroups import cgroup
from .marker import in_guest
from .matrix import ME, OTHER, Loads
from .policy import look, wait_for
from .served import SECONDS, Service, serving

collect_ignore_glob = [] if in_guest() else ["test_*.py"]

_TAINT_WARN = 1 << 9

_KNOWN = ("invalid nr_accesses_bp at reset",)
"""Warnings that are defects of kernels, whatever program monitors (6.18: mm/damon/core.c)."""


def _report(event: str, test: str, text: str = "") -> None:
    path = os.environ.get("DAMONPOLICY_REPORT")
    if path:
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"event": event, "test": test, "text": text}) + "\n")


def pytest_runtest_logstart(nodeid: str) -> None:
    """Say which test begins."""
    _report("start", nodeid)


def pytest_runtest_logfinish(nodeid: str) -> None:
    """Say that it is over."""
    _report("finish", nodeid)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Say how it went: a pass is a call that passed, a failure may also be a fixture's."""
    if report.failed or report.skipped or report.when == "call":
        text = report.longreprtext if report.failed else ""
        for title, content in report.sections if report.failed else ():
            text += f"\n-- {title}\n{content}"
        _report(report.outcome, report.nodeid, text)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """Say what could not even be imported."""
    if report.failed:
        _report("failed", report.nodeid, report.longreprtext)


@pytest.fixture(autouse=True)
def _kernel_unharmed() -> Iterator[None]:
    """Fail the test during which the kernel logged a warning.

    An oops ends the guest; a WARN, as of a broken invariant in DAMON, would go unnoticed.
    """
    before = _tainted()
    log = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
    try:
        os.lseek(log, 0, os.SEEK_END)
        yield
        if _tainted() & ~before & _TAINT_WARN:
            records = _records(log)
            if not any(known in records for known in _KNOWN):
                pytest.fail("the kernel warned (WARN):\n" + records, pytrace=False)
    finally:
        os.close(log)


@pytest.fixture(scope="module")
def able() -> Capabilities:
    """What this kernel can do, by presence."""
    machine = LiveMachine()
    return detect(machine, snapshot(machine))


@pytest.fixture(scope="module")
def loads() -> Iterator[Loads]:
    """Workloads of the module, in a cgroup with another one beside it; they end with it."""
    with (
        cgroup(ME.removeprefix("/")) as made,
        cgroup(OTHER.removeprefix("/")),
        ExitStack() as stack,
    ):
        yield Loads(stack, made)


@pytest.fixture(scope="module")
def _service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    options = ("--debounce", "200ms", "--metrics", "127.0.0.1:0")
    directory = tmp_path_factory.mktemp("service")
    with serving(directory, *options, module=f"{__package__}.hurried") as made:
        yield made


@pytest.fixture
def service(_service: Service) -> Iterator[Service]:
    """A service that soon takes what it finds, and says what it does on a port of its own.

    Its start takes longer than what is tried, so it is one for a file of tests: each finds it
    without a policy.
    """
    before = look()
    yield _service
    reloads = len(_service.events("reload"))
    for each in list(_service.policies.iterdir()):
        each.unlink()
        assert wait_for(lambda: len(_service.events("reload")) > reloads, SECONDS)
    assert look() == before, _service.log.read_text("utf-8")


def _tainted() -> int:
    return int(Path("/proc/sys/kernel/tainted").read_text(encoding="ascii"))


def _records(log: int) -> str:
    """Return what the kernel has logged since; each read is one record (dev-kmsg, the ABI)."""
    lines = []
    try:
        while record := os.read(log, 1 << 13):
            lines.append(record.decode("utf-8", "replace").partition(";")[2].splitlines()[0])
    except BlockingIOError:
        pass
    return "\n".join(lines)
