"""Events for operators and developers; nothing is written until a sink is set.

The engine logs through this without knowing structlog, which `cli/logs.py` sets up when
logging is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, TypeAlias

__all__ = ("Level", "debug", "emit", "info", "set_sink", "warning")

Level: TypeAlias = Literal["debug", "info", "warning"]
Sink: TypeAlias = Callable[[Level, str, dict[str, Any]], None]

_sinks: list[Sink] = []


def set_sink(sink: Sink) -> None:
    """Send every event to ``sink``, which gets level, name and values."""
    _sinks[:] = [sink]


def emit(level: Level, event: str, **values: Any) -> None:
    """Log one event."""
    for sink in _sinks:
        sink(level, event, values)


debug = partial(emit, "debug")
"""Log one event for developers."""
info = partial(emit, "info")
"""Log one event for operators."""
warning = partial(emit, "warning")
"""Log one event that an operator should look at."""
