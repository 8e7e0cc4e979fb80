"""Log of what a service's kdamonds lack for now: when it begins, and when it ends."""

from __future__ import annotations

from dataclasses import field

from damonpolicy.base import log
from damonpolicy.base.lazy import dataclass
from damonpolicy.plan.plan import Plan

__all__ = ("Absences",)


@dataclass(slots=True)
class Absences:
    """The logged state of each kdamond: what it waits for, and the filters that it lacks."""

    _told: dict[str, tuple[str, tuple[str, ...]]] = field(default_factory=dict)

    def note(self, plan: Plan) -> None:
        """Take a result, and log what is new."""
        for each in plan.kdamonds:
            if each.name.partition("/")[0] not in plan.affected:
                continue
            before, now = self._told.get(each.name, ("", ())), (each.waits_for, each.left_out)
            self._told[each.name] = now
            if now == before:
                continue
            if each.waits_for:
                log.info("waits", kdamond=each.name, reason=f"for {each.waits_for}")
            elif each.left_out:
                log.warning("filters left out", kdamond=each.name, cgroups=list(each.left_out))
            elif each.runs:
                log.info("all is there", kdamond=each.name)
