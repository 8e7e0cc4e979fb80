"""Errors of jobs end nothing: `contained` is the boundary, and a `Guard` puts the job off.

A service that dies of one policy, one process or one defect of ours abandons all the others. So
whatever a job raises is logged and counted, and the job is tried again later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from damonpolicy import log
from damonpolicy.errors import DamonPolicyError, defect, system_error
from damonpolicy.kernel.sysfs import Machine

__all__ = ("Guard", "contained")

_AGAIN, _SELDOM = 1.0, 60.0
"""Seconds until a failed job is tried again: doubled each time, up to the second number."""

_T = TypeVar("_T")


@contextmanager
def contained() -> Iterator[None]:
    """Let a block raise nothing but DamonPolicyError, which jobs know how to live with."""
    try:
        yield
    except DamonPolicyError:
        raise
    except OSError as error:
        raise system_error(error) from error
    except Exception as error:  # a defect of ours, too: it may end a command, but no service
        raise defect(error) from error


@dataclass(slots=True)
class Guard:
    """Stands before one job."""

    name: str
    machine: Machine
    failures: int = 0
    """How often it has failed since the start."""
    trouble: str = ""
    """Why it failed; empty once it has succeeded again."""
    not_before: float = 0.0
    """When it may be tried again, in seconds of the machine's clock."""
    _pause: float = _AGAIN

    @property
    def rests(self) -> bool:
        """Whether it is too early to try again."""
        return self.machine.monotonic() < self.not_before

    def attempt(self, do: Callable[[], _T]) -> _T | None:
        """Do a part of the job; None if that fails."""
        try:
            with contained():
                return do()
        except DamonPolicyError as error:
            self._failed(str(error))
            return None

    def well(self) -> None:
        """Take note that it has succeeded."""
        if self.trouble:
            log.info("job works again", job=self.name, failures=self.failures)
        self.trouble, self._pause = "", _AGAIN

    def _failed(self, why: str) -> None:
        self.failures += 1
        self.not_before = self.machine.monotonic() + self._pause
        if why != self.trouble:
            log.warning("job failed", job=self.name, reason=why, again_in=self._pause)
        self.trouble, self._pause = why, min(2 * self._pause, _SELDOM)
