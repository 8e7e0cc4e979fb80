"""``quotas/``: the limits of a scheme, and the goals that tune them."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Annotated, Literal, TypeAlias, get_args

from pydantic import Field

from damonpolicy.base import units
from damonpolicy.base.lazy import dataclass
from damonpolicy.base.units import UnitError
from damonpolicy.policy.model.scalars import (
    SIZE,
    Duration,
    Flag,
    Model,
    Node,
    ScalarOr,
    Text,
    Weight,
    quantity,
    scalar,
)
from damonpolicy.policy.model.sources import Source
from damonpolicy.policy.model.targets import Cgroup

__all__ = ("MEASURED", "METRICS", "UNLIMITED", "Goal", "Quota", "Tuner", "Weights", "read_target")

Metric: TypeAlias = Literal[
    "user_input",
    "some_mem_psi_us",
    "node_mem_used_bp",
    "node_mem_free_bp",
    "node_memcg_used_bp",
    "node_memcg_free_bp",
    "active_mem_bp",
    "inactive_mem_bp",
    "node_eligible_mem_bp",
    "hugepage_mem_bp",
]
TunerName: TypeAlias = Literal["consist", "temporal"]
_NEEDS = {
    "user_input": ("from",),
    "node_mem_used_bp": ("node",),
    "node_mem_free_bp": ("node",),
    "node_memcg_used_bp": ("node", "cgroup"),
    "node_memcg_free_bp": ("node", "cgroup"),
    "node_eligible_mem_bp": ("node",),
}
METRICS = {metric: frozenset(_NEEDS.get(metric, ())) for metric in get_args(Metric)}
"""The keys that each metric needs besides its target."""


MEASURED = frozenset({"some_mem_psi_us", "node_mem_used_bp", "node_mem_free_bp",
                      "active_mem_bp", "inactive_mem_bp"})  # fmt: skip
"""The metrics that user space can measure as well as the kernel."""


class Weights(Model):
    """The weights by which a quota chooses among regions."""

    size: Weight = 0
    """0 to 1000; for reports only: the kernel's order under a quota ignores sizes."""
    access_rate: Weight = 0
    """0 to 1000; how often it is accessed."""
    age: Weight = 0
    """0 to 1000; how long its access pattern has not changed."""


class Goal(Model):
    """A value to tune the quota toward; the unit of ``target`` is the metric's."""

    metric: Metric
    """The metric; `_us` takes a duration, `_bp` a percentage."""
    target: Text
    """The value to tune toward, in the metric's unit."""
    node: Node | None = None
    """The NUMA node to measure."""
    cgroup: Cgroup | None = None
    """The cgroup to measure, from the root of the cgroup tree."""
    complement: Flag = False
    """Tune toward the difference to 100 % of the metric."""
    from_: Source | None = Field(None, alias="from")
    """The source of the current value of `user_input`."""
    optional: Flag = False
    """Leave it out on a kernel that cannot do it; the plan says so."""


def read_target(goal: Goal) -> int:
    """Return a goal's target in the kernel's unit: microseconds, basis points or a number.

    Raises UnitError if the text does not fit the metric.
    """
    if goal.metric == "user_input":
        return units.read_integer(goal.target, what="a number")
    if goal.metric.endswith("_us"):
        try:
            return units.read_duration(goal.target)
        except UnitError as error:
            percent = re.fullmatch(r"([0-9]{1,3}(?:\.[0-9]{1,4})?) ?%", goal.target)
            if percent is None:
                raise
            time = units.format_duration(int(Fraction(percent[1]) * 10_000))
            hint = f"write `{time}`: that is {percent[0]} of `every: 1s`"
            message = f"`{goal.target}` is not a duration: pressure is a time in each `every`"
            raise UnitError(error.code, message, hint) from error
    share = units.read_percent(goal.target)
    points = share * 10_000
    if points.denominator != 1:
        message = f"`{goal.target}` is finer than a basis point (0.01%)"
        raise UnitError("DP0112", message, "round it")
    return int(points)


@dataclass(frozen=True, slots=True)
class Ratio:
    """A fraction as written: the kernel keeps both of its numbers."""

    numerator: int
    denominator: int


def _ratio(text: str) -> Ratio:
    found = re.fullmatch(r"([0-9]{1,9})/([1-9][0-9]{0,8})", text)
    if not found:
        raise UnitError("DP0125", f"`{text[:40]}` is not a ratio", "write for example `1/10`")
    return Ratio(int(found[1]), int(found[2]))


RatioText: TypeAlias = Annotated[
    Ratio, *scalar(_ratio, r"[0-9]{1,9}/[1-9][0-9]{0,8}", example="1/10")
]


class Tuner(Model):
    """A tuner, optional on kernels without a choice."""

    name: TunerName
    """`consist` moves the quota step by step; `temporal` opens it until the goal is reached."""
    optional: Flag = False
    """Use `consist` on a kernel without a choice; the plan says so."""


def _bytes_or_all(text: str) -> int:
    return UNLIMITED if text == "unlimited" else units.read_bytes(text)


UNLIMITED = -1
"""The explicit size without a limit; 0, the kernel's form, is not accepted."""

BytesOrAll: TypeAlias = Annotated[int, *quantity(_bytes_or_all, f"{SIZE}|unlimited", "200MiB")]


class Quota(Model):
    """Bytes and time in each ``every``; with goals, ``size`` is the maximum."""

    size: BytesOrAll | None = None
    """The most bytes in each `every`, or `unlimited`; with goals, the bound of the tuning."""
    time: Duration | None = None
    """The most time to spend in each `every`, in whole milliseconds."""
    every: Duration | None = None
    """The window of the quota."""
    weights: Weights | None = None
    """The weights by which the quota chooses among regions."""
    tuner: ScalarOr[TunerName, Tuner] | None = None
    """How the quota is tuned toward its goals: `consist` or `temporal`."""
    goals: tuple[Goal, ...] = ()
    """The goals that the kernel tunes the quota toward."""
    fail_charge: RatioText | None = None
    """The cost of a failed attempt relative to a successful one, such as `1/10`."""

    @property
    def tuner_name(self) -> str:
        """The kernel's word; the kernel's default if none was given."""
        return self.tuner.name if isinstance(self.tuner, Tuner) else self.tuner or "consist"
