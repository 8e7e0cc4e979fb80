"""How far apart commits to a kdamond are that nobody has asked for: `Spacing`."""

from __future__ import annotations

from dataclasses import dataclass, field

from damonpolicy.plan.compiled import CompiledKdamond
from damonpolicy.plan.order import Plan

__all__ = ("Spacing",)


@dataclass(slots=True)
class Spacing:
    """Remembers when which kdamond was committed last, in seconds of the machine's clock."""

    _last: dict[str, float] = field(default_factory=dict)

    def note(self, plan: Plan, now: float) -> None:
        """Take note of what was done."""
        for each in plan.kdamonds:
            if each.action in ("start", "restart", "change"):
                self._last[each.name] = now

    def ready(self, kdamond: CompiledKdamond, now: float) -> float:
        """Return from when on a kdamond may be committed again; what is over is ``now``."""
        last = self._last.get(kdamond.full_name)
        return now if last is None else max(last + kdamond.commit_every / 1e6, now)
