"""Logging by structlog, where it was asked for."""

from __future__ import annotations

import sys
from typing import Any

from damonpolicy import log

__all__ = ("configure",)


def configure(*, verbosity: int, form: str) -> None:
    """Write events to stderr; ``form`` is text or json, verbosity 2 and more adds debug events."""
    import structlog

    renderer: Any = (
        structlog.processors.JSONRenderer()
        if form == "json"
        else structlog.dev.ConsoleRenderer(colors=False)
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(10 if verbosity > 1 else 20),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
    )
    logger = structlog.get_logger()

    def sink(level: log.Level, event: str, values: dict[str, Any]) -> None:
        getattr(logger, level)(event, **values)

    log.set_sink(sink)
