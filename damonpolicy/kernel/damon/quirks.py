"""The table of differences between kernels in behaviour, which no file and no word shows.

Features are in `features.py`. This table decides nothing on a live kernel: emulated ones follow it,
and docs/kernel-quirks.md describes it.
"""

from __future__ import annotations

from damonpolicy.base.lazy import dataclass
from damonpolicy.kernel.damon.directory import File
from damonpolicy.kernel.damon.features import DEVELOPMENT
from damonpolicy.kernel.damon.schema import pattern
from damonpolicy.kernel.damon.view import Kdamond

__all__ = ("QUIRKS", "Quirk")

_KDAMOND = Kdamond()
_SCHEME = _KDAMOND.schemes[0]
_GOALS = _SCHEME.quota.goals


@dataclass(frozen=True, slots=True)
class Quirk:
    """A behaviour of the kernels from ``since`` up to, but without, ``before``.

    ``cells`` are changes that a commit does not put into effect, as tests/guest/effects.py names
    them: a file's pattern, perhaps with a word or a note.
    """

    name: str
    since: str
    before: str
    what: str
    cells: tuple[str, ...] = ()


def _cell(file: File, note: str = "") -> str:
    """Name a change of a file, for the column of changes without effect."""
    return pattern(f"0/{file.path}") + (f" ({note})" if note else "")


QUIRKS: tuple[Quirk, ...] = (
    Quirk(
        "wmarks.hang", "", "6.16",
        "a commit while watermarks keep all schemes inactive waits with the lock held, for ever",
    ),
    Quirk("clear.running", "", "6.14", "clear_schemes_tried_regions needs a running kdamond"),
    Quirk(
        "walk.cancel", "6.14", "",
        "asking for tried regions ends with ECANCELED where no scheme will be applied",
    ),
    Quirk(
        "walk.hang", "6.14", "",
        "asking for tried regions while all schemes are inactive, and no interval of their"
        " watermarks lets the kdamond wait, never ends",
    ),
    Quirk(
        "filters.not", "", "6.14",
        "pages of physical memory are asked core filters too, which match none: a negated one"
        " rejects all",
    ),
    Quirk("bool.able", "6.15", "", "booleans may be written as enable and disable"),
    Quirk("idle.busy", "6.16", "6.17", "the second command to a stopped kdamond is EBUSY"),
    Quirk("idle.bug", "6.17", "6.18", "the second command to a stopped kdamond is a BUG"),
    Quirk("idle.walk", "6.14", "6.19", "the second walk of a stopped kdamond's regions is EBUSY"),
    Quirk("idle.canceled", "7.0", "", "commands to a stopped kdamond are ECANCELED"),
    Quirk("off.again", "7.3", "", "stopping a kdamond that is stopped already is fine"),
    Quirk(
        "contexts.oops", "6.14", "7.0",
        "results of a kdamond without a context are a NULL dereference",
    ),
    Quirk(
        "quota.late", "", "6.18",
        "the first window of a quota has none: it lasts as long as any, and nothing is limited",
    ),
    Quirk(
        "quota.fresh", "6.19", "7.3",
        "a commit begins a new charge window, and what goals have tuned until then is forgotten",
    ),
    Quirk(
        "commit.eligible", "7.2", "7.3",
        "a commit leaves the node of a goal on eligible memory as it was, and gives a new one none",
        tuple(
            _cell(_GOALS[0].node, f"node_eligible_mem_bp{note}")
            for note in ("", ", commit_schemes_quota_goals", ", a new goal")
        ),
    ),
    Quirk(
        "commit.fewest", "", "7.1",
        "a commit of a larger least number of regions counts from the next update of them on",
        (_cell(_KDAMOND.region_count.min, "more"),),
    ),
    Quirk(
        "commit.fewer", "6.16", "7.1", "the same for a smaller one",
        (_cell(_KDAMOND.region_count.min, "fewer"),),
    ),
    Quirk(
        "wmarks.asleep", "6.16", "",
        "a kdamond that watermarks keep asleep looks no less often than it began to, whatever is"
        " committed, until it wakes",
        (_cell(_SCHEME.watermarks.every),),
    ),
    Quirk(
        "commit.unfed", "", "6.17",
        "a goal that a commit adds begins with a current value of 0, until the next commit",
        (_cell(_GOALS.count, "more"),),
    ),
    Quirk(
        "commit.waits", "6.18", "",
        "a scheme that shall be applied more often waits once more as long as before, unless an"
        " attribute of the monitoring changes in the same commit",
        (_cell(_SCHEME.apply_every, "shorter"),),
    ),
    Quirk(
        "quota.crumbs", "", "7.2",
        "regions for which a quota has less than a page left are counted as tried, and do not"
        " exceed it",
    ),
    Quirk(
        "goal.unmeasured", "7.3", "",
        "the window in which a goal on pressure begins, or is committed, is not measured, and leaves"
        " the quota as it is",
    ),
    Quirk("goal.oops", "6.16", "7.0", "a quota goal on a missing node is a NULL dereference"),
    Quirk("regions.raw", "", "7.1", "empty regions, and regions that share a page, are taken"),
    Quirk("regions.order", "", "7.3", "a region that ends before it starts is refused, to the byte"),
    Quirk("units.raw", "6.18", "7.0", "address units that are no powers of two can be started"),
    Quirk("units.commit", "6.18", "6.19", "address units that are no powers of two are committed"),
    Quirk(
        "start.unchecked", "", "7.3",
        "kdamonds can be started with obsolete targets and goals that no commit would take",
    ),
    Quirk(
        "tune.starves", "6.15", "",
        "tuning intervals restarts every wait of a scheme: one whose apply_interval_us is longer"
        " than the time between two tunings is never applied",
    ),
    Quirk("probe.void", "7.2", "7.3", "probes are asked of addresses without a page, too"),
    Quirk("tried.double", "6.16", "7.0", "the numbers of tried regions count twice"),
    Quirk("tried.on", "7.0", "7.2", "the numbers of tried regions go on from the last walk"),
    Quirk(
        "module.largest", "", "7.2",
        "a module that is given no region monitors the largest piece of System RAM, not all",
    ),
    Quirk("module.last", "", "7.1", "the end of the region that a module is given is its last byte"),
    Quirk("module.now", "7.2", "", "commit_inputs of a module acts at once, or fails"),
    Quirk("module.ends", "", "6.17", "commit_inputs with a bad parameter ends the module's kdamond"),
    Quirk(
        "module.stuck", "6.16", "6.17",
        "a module whose kdamond has ended says that it is enabled, and can never be switched again",
    ),
    Quirk("module.empty", "6.16", "7.1", "modules take a region that is empty"),
    Quirk(
        "sample.type", DEVELOPMENT, "",
        "a commit that changes a sample filter's type leaves the kernel with half of it",
    ),
    Quirk("zswap", "7.2", "", "zswap is there, as Debian configures its kernels for clouds"),
    Quirk("vm.defrag_mode", "6.18", "", "/proc/sys/vm/defrag_mode is there"),
    Quirk("vm.denominator", "6.18", "", "/proc/sys/vm/vfs_cache_pressure_denom is there"),
)  # fmt: skip
