"""The kdamonds that run, whosever they are."""

from __future__ import annotations

from collections.abc import Mapping

from damonpolicy.base.lazy import dataclass
from damonpolicy.kernel.damon import view
from damonpolicy.kernel.damon.directory import Directory
from damonpolicy.kernel.damon.tree import Tree
from damonpolicy.observe.regions import Intervals
from damonpolicy.observe.temperature import DEFAULT_WEIGHTS
from damonpolicy.plan.machine_state import Current
from damonpolicy.plan.state import Managed

__all__ = ("Kdamond", "running", "tuning")


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
    def files(self) -> view.Kdamond:
        """The view of its tree."""
        return view.Kdamond(self.tree)

    @property
    def schemes(self) -> list[view.Scheme]:
        """Its schemes."""
        return list(self.files.schemes)

    def name_of(self, part: Directory) -> str:
        """Return the name of a scheme or probe: the policy's, or its number."""
        return self.names.get(part.path, part.path.rpartition("/")[2])

    @property
    def probes(self) -> tuple[str, ...]:
        """The names of its probes."""
        return tuple(map(self.name_of, self.files.probes))

    @property
    def intervals(self) -> Intervals:
        """The intervals in its files; while they are tuned, the last known ones."""
        found = self.files.intervals
        return Intervals(found.sample.number, found.aggregation.number)

    @property
    def tuned(self) -> bool:
        """Whether its intervals are being tuned (mm/damon/core.c: kdamond_tune_intervals())."""
        return self.files.intervals.auto_tune.aggregations.number != 0


def tuning(kdamond: Kdamond, observed: int) -> dict[str, int] | None:
    """Return how a kdamond's intervals are tuned, None if they are not, or it is unknown.

    Basis points are shares of all accesses that could be seen, ``observed`` the present one.
    """
    goal = kdamond.files.intervals.auto_tune
    if not kdamond.tuned or not goal.observe.present:  # a module's
        return None
    return {
        "wanted_bp": goal.observe.number,
        "observed_bp": observed,
        "aggregations": goal.aggregations.number,
        "min_sample_us": goal.min_sample.number,
        "max_sample_us": goal.max_sample.number,
    }


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
