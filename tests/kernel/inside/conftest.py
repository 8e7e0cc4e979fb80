"""Report each test as it goes, so that a kernel that dies shows where."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from .marker import in_guest

collect_ignore_glob = [] if in_guest() else ["test_*.py"]

_TAINTED = Path("/proc/sys/kernel/tainted")
_TAINT_WARN = 1 << 9


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
    """Fail the test after which the kernel says that it warned of itself.

    An oops ends the guest; a WARN, as of a broken invariant in DAMON, would go unnoticed.
    """
    before = int(_TAINTED.read_text(encoding="ascii"))
    yield
    after = int(_TAINTED.read_text(encoding="ascii"))
    if after & ~before & _TAINT_WARN:
        pytest.fail("the kernel warned (WARN), see its log:\n" + _log())


def _log() -> str:
    size = 1 << 16
    descriptor = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
    lines: list[str] = []
    try:
        while record := os.read(descriptor, size):
            lines.append(record.decode("utf-8", "replace").split("\n")[0])
    except BlockingIOError:
        pass
    finally:
        os.close(descriptor)
    return "\n".join(lines[-80:])
