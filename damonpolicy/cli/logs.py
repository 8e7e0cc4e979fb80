"""Logging with structlog, on request."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Any

from damonpolicy.base import log
from damonpolicy.base.diagnostics import as_text

__all__ = ("configure",)

_PRIORITIES = {"debug": 7, "info": 6, "warning": 4}
"""What journald understands before a line (sd-daemon(3))."""


def configure(*, verbosity: int, form: str) -> None:
    """Write events to stderr; ``form`` is text or json, verbosity 2 and more adds debug events."""
    import structlog

    if form == "json":
        renderer: Any = structlog.processors.JSONRenderer()
    else:
        text = structlog.dev.ConsoleRenderer(colors=False)

        def renderer(logger: Any, name: str, event: Any) -> str:
            """Return a renderer that keeps an event on one line, whatever names it contains."""
            return as_text([str(text(logger, name, event))]).removesuffix("\n")

    journal = _to_journal()

    def line(logger: Any, name: str, event: Any) -> str:
        """Render one event; the journal has its own time and priority."""
        priority = f"<{_PRIORITIES[event['level']]}>" if journal else ""
        return f"{priority}{renderer(logger, name, event)}"

    stamp = [] if journal else [structlog.processors.TimeStamper(fmt="iso", utc=True)]
    structlog.configure(
        processors=[structlog.processors.add_log_level, *stamp, line],
        wrapper_class=structlog.make_filtering_bound_logger(10 if verbosity > 1 else 20),
        # one write for a line and its end, so that none is torn where a process is killed
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
    )
    logger = structlog.get_logger()

    def sink(level: log.Level, event: str, values: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):  # the reader is gone, and the work goes on
            getattr(logger, level)(event, **values)

    log.set_sink(sink)


def _to_journal() -> bool:
    """Return whether journald reads stderr (systemd.exec(5): $JOURNAL_STREAM)."""
    try:
        status = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):
        return False
    return os.environ.get("JOURNAL_STREAM", "") == f"{status.st_dev}:{status.st_ino}"
