"""Counts of a service's transactions, by result."""

from __future__ import annotations

from damonpolicy.base.errors import DamonPolicyError
from damonpolicy.base.lazy import dataclass

__all__ = ("Tally",)


@dataclass(slots=True)
class Tally:
    """Counts since the start: transactions applied from files, and those undone."""

    applies: int = 0
    rollbacks: int = 0

    def failed(self, error: DamonPolicyError) -> None:
        """Count a failed transaction."""
        self.rollbacks += error.undone
