"""What JSON documents can hold that no run shows, or not every one: samples, and the code's types."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import make_dataclass
from typing import Any

from damonpolicy.daemon.record import Record
from damonpolicy.kernel.operation import Operation
from damonpolicy.observe.reports.histogram import Bin
from damonpolicy.observe.status.schemes import Limits
from damonpolicy.observe.watermarks import Watch
from damonpolicy.plan.facts import Accesses, Filter, Target

__all__ = ("OPEN", "SAMPLES", "TYPED")

_NOBODY_KNOWS_HOW_MUCH_IS_FREE = Watch(None, 0, 0, 0).to_json()
_UNREADABLE = {
    "generation": 1,
    "when": None,
    "reason": None,
    "kernel": None,
    "policies": None,
    "marks": ["unreadable"],
}

SAMPLES: Mapping[str, tuple[Any, ...]] = {
    "history.generations": (_UNREADABLE,),
    "record.notes": ("",),
    "recover.done": ("",),
    "report histogram.histograms.bins": (Bin(None, 0, 0).to_json(),),
    "report histogram.histograms.scheme": (None,),
    "report numa.matrices.hit_share": (None,),
    "report numa.matrices.miss_share": (None,),
    "report numa.matrices.rows.memory.memory_node": (None,),
    "report numa.matrices.rows.memory.share": (None,),
    "report numa.matrices.unknown_share": (None,),
    "report numa.placements.accesses": (None,),
    "report rank.notes": ("",),
    "report rank.ranks.accesses": (None,),
    "report snapshot.snapshots.accesses.kind": (None,),
    "report snapshot.snapshots.regions.access_percent": (0.5,),
    "report snapshot.snapshots.regions.age_us": (None,),
    "report snapshot.snapshots.regions.idle_us": (None,),
    "report snapshot.snapshots.regions.target": (None,),
    "report snapshot.snapshots.regions.temperature": (None,),
    "report snapshot.snapshots.scheme": (None,),
    "report snapshot.snapshots.statistics": (None,),
    "report snapshot.snapshots.target": (None,),
    "report wss.working_sets.mean_bytes": (None,),
    "rollback": ({"generation": 1},),  # the time to confirm was over
    "status.kdamonds.schemes.watermarks": (_NOBODY_KNOWS_HOW_MUCH_IS_FREE,),
    "status.lacking.left_out": ("",),
    "status.loops.value": (None,),
    "status.module_status.watermarks": (_NOBODY_KNOWS_HOW_MUCH_IS_FREE,),
    "status.service.schemes.SCHEME": ({"goals": [], "score": None, "trend": None},),
}
"""By the place: values of it, or of the items of a list. Objects have all keys that they have to."""

_SERVICE = make_dataclass("_SERVICE", [("running", bool)], bases=(Record,), frozen=True)

TYPED: Mapping[str, Any] = {
    "plan.operations": Operation,
    "report snapshot.snapshots.accesses": Accesses,
    "report snapshot.snapshots.filters": Filter,
    "report snapshot.snapshots.targets": Target,
    "status.kdamonds.accesses": Accesses,
    "status.kdamonds.schemes.filters": Filter,
    "status.kdamonds.schemes.quota": Limits,
    "status.kdamonds.targets": Target,
    "status.service": _SERVICE,
}
"""By the place: the type whose fields are its keys."""

OPEN: Mapping[str, str] = {
    "report snapshot.snapshots.statistics": "by the kernel's names, of which a newer one may have more",
    "status.service": "as the service says of itself: one of another version may say more, or less",
}
"""Objects that may have other keys, too, and why."""
