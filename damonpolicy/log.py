"""structlog behind a lazy wrapper: nothing is imported until logging is asked for."""

from __future__ import annotations

import sys
from typing import Any

__all__ = ("configure", "debug", "info", "warning")

_logger: Any = None


def configure(*, verbosity: int, form: str) -> None:
    """Turn logging on; ``form`` is ``text`` or ``json``, verbosity 2 and more adds debug lines."""
    global _logger  # noqa: PLW0603 - the process has one log
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
        cache_logger_on_first_use=True,
    )
    _logger = structlog.get_logger()


def debug(event: str, **values: Any) -> None:
    """Log one event for developers."""
    if _logger is not None:
        _logger.debug(event, **values)


def info(event: str, **values: Any) -> None:
    """Log one event for operators."""
    if _logger is not None:
        _logger.info(event, **values)


def warning(event: str, **values: Any) -> None:
    """Log one event that an operator should look at."""
    if _logger is not None:
        _logger.warning(event, **values)
