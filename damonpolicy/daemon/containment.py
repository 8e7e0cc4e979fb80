"""Containment of jobs' errors: `contained` is the boundary, and a `Guard` delays the job.

A service that ends because of one policy, one process or one defect of ours abandons all the
others. So any error of a job is logged and counted, and the job is tried again later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from damonpolicy.base import log
from damonpolicy.base.errors import DamonPolicyError, defect, system_error
from damonpolicy.base.lazy import dataclass
from damonpolicy.kernel.system.machine import Machine

__all__ = ("Guard", "contained", "tell")

_AGAIN, _SELDOM = 1.0, 60.0
"""Seconds until a failed job is retried: doubled each time, up to the second number."""

_T = TypeVar("_T")


@contextmanager
def contained() -> Iterator[None]:
    """Convert every error of a block to DamonPolicyError, which jobs handle."""
    try:
        yield
    except DamonPolicyError:
        raise
    except OSError as error:
        raise system_error(error) from error
    except Exception as error:
        # including a defect of ours: it may end a command, but not a service
        raise defect(error) from error


def tell(event: str, why: str, before: str, **about: Any) -> str:
    """Log the reason of a failure, unless it is that of the time ``before``; returns it."""
    if why and why != before:
        log.warning(event, **about, reason=why)
    return why


@dataclass(slots=True)
class Guard:
    """The guard of one job."""

    name: str
    machine: Machine
    failures: int = 0
    """The number of failures since the start."""
    trouble: str = ""
    """The reason of the failure; empty once it has succeeded again."""
    not_before: float = 0.0
    """When to try it again, in seconds of the machine's clock."""
    _pause: float = _AGAIN

    def attempt(self, do: Callable[[], _T]) -> _T | None:
        """Do a part of the job; None if it fails."""
        try:
            with contained():
                return do()
        except DamonPolicyError as error:
            self._failed(str(error))
            return None

    def well(self) -> None:
        """Record a success."""
        if self.trouble:
            log.info("job works again", job=self.name, failures=self.failures)
        self.trouble, self._pause = "", _AGAIN

    def _failed(self, why: str) -> None:
        self.failures += 1
        self.not_before = self.machine.monotonic() + self._pause
        if why != self.trouble:
            log.warning("job failed", job=self.name, reason=why, again_in=self._pause)
        self.trouble, self._pause = why, min(2 * self._pause, _SELDOM)
