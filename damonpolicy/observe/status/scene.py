"""What a live view says: lines of a kdamond and its schemes.

Pure, as `live_view.py`: a scene of what was read gives texts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any

from damonpolicy.base.diagnostics import visible
from damonpolicy.base.lazy import dataclass
from damonpolicy.base.units import U64_MAX, approximate_bytes
from damonpolicy.observe.collect.modules import ModuleStatus
from damonpolicy.observe.regions import Series
from damonpolicy.observe.status.live_view import short
from damonpolicy.observe.status.schemes import Limits, goal_words
from damonpolicy.plan.facts import Accesses, Target

__all__ = ("Scene", "heading", "old", "scheme_lines")


@dataclass(frozen=True, slots=True)
class Scene:
    """The data of one moment: all kdamonds, and the regions of one of them.

    ``kdamonds`` are those of the document of ``status``; ``series`` belong to ``slot``. ``why`` is
    the reason why there are no newer ones.
    """

    kdamonds: Sequence[Mapping[str, Any]] = ()
    slot: int | None = None
    series: Sequence[Series] = field(default=(), repr=False)
    why: str = ""
    modules: Sequence[ModuleStatus] = ()
    """Modules of the kernel that run a kdamond, beside which no other runs."""

    @property
    def kdamond(self) -> Mapping[str, Any] | None:
        """The selected kdamond."""
        return next((each for each in self.kdamonds if each["slot"] == self.slot), None)


def old(scene: Scene, now: int) -> str:
    """Return the age of the regions' numbers; ``now`` is in nanoseconds since the epoch."""
    ends = [int(each.end[-1]) for each in scene.series if len(each)]
    if not ends:
        return "no regions"
    seconds = max(now - min(ends), 0) / 1e9
    if seconds < 0.5:
        return "fresh"
    return f"{seconds:.0f}s old" if seconds < 60 else f"{short(int(seconds) * 1_000_000)} old"


def heading(scene: Scene) -> str:
    """Return the heading of a kdamond."""
    each = scene.kdamond
    if each is None:
        names = ", ".join(each.name for each in scene.modules)
        of_kernel = f"no kdamond of a policy runs: {names} of the kernel does"
        return of_kernel if names else "no kdamond runs"
    place = [one["slot"] for one in scene.kdamonds].index(scene.slot) + 1
    parts = [f"{each['name'] or 'somebody else'}: {each['state']}"]
    parts += ["paused"] if each["paused"] else []
    parts += [f"slot {each['slot']}", each["ops"], f"accesses {Accesses(**each['accesses']).text}"]
    targets = [Target(**one).name for one in each["targets"]]
    if targets:
        parts.append(", ".join(targets[:2]) + (f" +{len(targets) - 2}" if targets[2:] else ""))
    return visible(f"[{place}/{len(scene.kdamonds)}] " + ", ".join(parts), kept="")


def scheme_lines(scene: Scene) -> list[str]:
    """Describe each scheme: its current selection, its work so far, its quota, and its goals."""
    lines = [f"{each.name}: {line}" for each in scene.modules for line in each.lines]
    for scheme in scene.kdamond["schemes"] if scene.kdamond else ():
        numbers = scheme["statistics"]
        parts = [f"{scheme['name']}: {scheme['action']}", *_now(scene, scheme["name"])]
        if numbers.get("sz_tried") is None:
            parts.append("not asked what it did so far")
        else:
            parts += [
                f"tried {approximate_bytes(numbers['sz_tried'])}",
                f"applied {approximate_bytes(numbers.get('sz_applied') or 0)} so far",
            ]
        if scheme["quota"]:
            exceeded = numbers.get("qt_exceeds")
            parts.append(
                f"quota {Limits(**scheme['quota']).text}"
                + (f" (exceeded {exceeded} times)" if exceeded else "")
            )
        effective = scheme["effective_quota"]
        if effective and effective < U64_MAX:
            parts.append(f"in effect {approximate_bytes(effective)}")
        lines.append(visible(", ".join(parts), kept=""))
        if scheme["watermarks"] and scheme["watermarks"]["asleep"] is not False:
            lines.append(f"  {scheme['watermarks']['why']}")
        for goal in scheme["goals"]:
            unfed = "" if goal["fed"] else " (not fed)"
            lines.append(visible(f"  {goal_words(goal)}{unfed}", kept=""))
    return lines


def _now(scene: Scene, scheme: str) -> list[str]:
    """Describe the current selection of a scheme, if its regions are known."""
    for each in scene.series:
        if each.source.scheme == scheme and each.source.origin == "regions" and len(each):
            regions = each.snapshot(-1)
            passed = "" if regions.passed is None else (
                f" ({approximate_bytes(int(regions.passed.sum()))} passed)"
            )  # fmt: skip
            return [f"now {approximate_bytes(regions.total)}{passed}"]
    return []
