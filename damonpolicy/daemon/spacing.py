"""The spacing of unrequested commits to a kdamond: `Spacing`."""

from __future__ import annotations

from dataclasses import field

from damonpolicy.base.lazy import dataclass
from damonpolicy.plan.ir import CompiledKdamond
from damonpolicy.plan.plan import Plan

__all__ = ("Spacing",)

_JOINS = 0.25
"""Seconds after a commit in which another costs the kernel's goals nothing more.

Their shortest sensible window is longer; and without it, what is always late to the moment from
which on a commit may follow would never have its turn.
"""


@dataclass(slots=True)
class Spacing:
    """The time of each kdamond's last commit, in seconds of the machine's clock."""

    _last: dict[str, float] = field(default_factory=dict)

    def note(self, plan: Plan, now: float) -> None:
        """Record a finished transaction."""
        for each in plan.kdamonds:
            if each.action in ("start", "restart", "change"):
                self._last[each.name] = now

    def took(self, kdamond: str, now: float) -> None:
        """Record that a kdamond (full name) took values of goals, unless that joined a commit."""
        if not self._joins(kdamond, now):
            self._last[kdamond] = now

    def ready(self, kdamond: CompiledKdamond, now: float, *, joins: bool = False) -> float:
        """Return when a kdamond may be committed again; a time in the past is ``now``.

        With ``joins`` it may be right after another commit, too.
        """
        if joins and self._joins(kdamond.full_name, now):
            return now
        last = self._last.get(kdamond.full_name)
        return now if last is None else max(last + kdamond.commit_every / 1e6, now)

    def _joins(self, kdamond: str, now: float) -> bool:
        return now - self._last.get(kdamond, now - _JOINS) < _JOINS
