"""How the transactions of a service ended, counted."""

from __future__ import annotations

from dataclasses import dataclass

from damonpolicy.errors import DamonPolicyError

__all__ = ("Tally",)


@dataclass(slots=True)
class Tally:
    """Counts since the start: what was applied from files, and what was begun and undone."""

    applies: int = 0
    rollbacks: int = 0

    def failed(self, error: DamonPolicyError) -> None:
        """Take note of how a transaction failed."""
        self.rollbacks += error.undone
