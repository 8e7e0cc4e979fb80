"""The kdamonds that run, whosever they are."""

from __future__ import annotations

from collections.abc import Mapping

from damonpolicy.base.lazy import dataclass
from damonpolicy.kernel.damon.tree import Tree
from damonpolicy.observe.regions import Intervals
from damonpolicy.observe.temperature import DEFAULT_WEIGHTS
from damonpolicy.plan import facts
from damonpolicy.plan.machine_state import Current
from damonpolicy.plan.state import Managed

__all__ = ("Kdamond", "Tuning", "running", "tuning")

_CONTEXT = "contexts/0"
_SCHEMES = f"{_CONTEXT}/schemes"
_INTERVALS = f"{_CONTEXT}/monitoring_attrs/intervals"


@dataclass(frozen=True, slots=True)
class Kdamond:
    """A running kdamond; that of a kernel's module has no slot.

    ``tree`` is its directory: our last commit, or, for someone else's, the content of its files.
    ``names`` gives schemes and probes their names by directory, ``weights`` are its temperature's.
    """

    slot: int
    name: str
    ours: bool
    pid: int
    tree: Tree
    names: Mapping[str, str]
    weights: tuple[int, int, int] = DEFAULT_WEIGHTS

    @property
    def schemes(self) -> list[str]:
        """The directories of its schemes."""
        count = int(self.tree.get(f"{_SCHEMES}/nr_schemes", "0"))
        return [f"{_SCHEMES}/{index}" for index in range(count)]

    def scheme_name(self, base: str) -> str:
        """Return the name of a scheme: the policy's, or its number."""
        return self.names.get(base, base.rpartition("/")[2])

    @property
    def probes(self) -> tuple[str, ...]:
        """The names of its probes."""
        base = f"{_CONTEXT}/monitoring_attrs/probes"
        count = int(self.tree.get(f"{base}/nr_probes", "0"))
        return tuple(self.names.get(f"{base}/{index}", str(index)) for index in range(count))

    @property
    def processes(self) -> list[int]:
        """The monitored processes, whose address spaces are separate."""
        return [each.pid for each in facts.targets(self.tree) if each.pid]

    @property
    def intervals(self) -> Intervals:
        """The intervals in its files; while they are tuned, the last known ones."""
        sample, aggregation, update = (
            int(self.tree.get(f"{_INTERVALS}/{name}", "0"))
            for name in ("sample_us", "aggr_us", "update_us")
        )
        return Intervals(sample, aggregation, update)

    @property
    def tuned(self) -> bool:
        """Whether its intervals are being tuned (mm/damon/core.c: kdamond_tune_intervals())."""
        return self.tree.get(f"{_INTERVALS}/intervals_goal/aggrs", "0") != "0"


@dataclass(frozen=True, slots=True)
class Tuning:
    """The target of interval tuning: ``wanted`` basis points of accesses, and bounds in µs."""

    wanted: int
    aggregations: int
    least: int
    most: int

    def to_json(self, observed: int) -> dict[str, int]:
        """Plain data; ``observed`` is in basis points."""
        return {
            "wanted_bp": self.wanted, "observed_bp": observed, "aggregations": self.aggregations,
            "min_sample_us": self.least, "max_sample_us": self.most,
        }  # fmt: skip


def tuning(kdamond: Kdamond) -> Tuning | None:
    """Return how a kdamond's intervals are tuned, None if they are not, or it is unknown."""
    goal = f"{_INTERVALS}/intervals_goal"
    if not kdamond.tuned or f"{goal}/access_bp" not in kdamond.tree:  # a module's
        return None
    names = ("access_bp", "aggrs", "min_sample_us", "max_sample_us")
    return Tuning(*(int(kdamond.tree.get(f"{goal}/{name}", "0")) for name in names))


def running(current: Current, managed: Managed) -> list[Kdamond]:
    """Return every running kdamond, in the order of slots."""
    temperatures = {
        kdamond.full_name: kdamond.temperature
        for policy in managed.policies.values()
        for kdamond in policy.kdamonds
    }
    found = []
    for slot in current.slots:
        if not current.running(slot):
            continue
        tree = current.slot(slot)
        record = managed.slots.get(slot) if current.owner(slot, managed) == "ours" else None
        if record is None:
            found.append(Kdamond(slot, f"slot {slot}", False, current.pid(slot), tree, {}))
            continue
        # volatile files, such as tuned intervals, are not in the record
        found.append(
            Kdamond(
                slot, record.kdamond, True, record.pid, {**tree, **record.files}, record.names,
                temperatures.get(record.kdamond) or DEFAULT_WEIGHTS,
            )
        )  # fmt: skip
    return found
