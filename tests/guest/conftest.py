"""Show the output of each real kernel's run, even if tests pass or run in parallel."""

from __future__ import annotations

import pytest

KERNEL_LINE = "kernel-line"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print one line for each kernel."""
    lines = [
        str(value)
        for reports in terminalreporter.stats.values()
        for report in reports
        if isinstance(report, pytest.TestReport) and report.when == "call"
        for name, value in report.user_properties
        if name == KERNEL_LINE
    ]
    for line in dict.fromkeys(lines):
        terminalreporter.write_line(line)
