"""The effect of each action on each kind of addresses.

Read in mm/damon/vaddr.c: damon_va_apply_scheme(), damon_va_scheme_score() and in mm/damon/paddr.c:
damon_pa_apply_scheme(), damon_pa_scheme_score(); actions that are not named there are accepted by
the kernel and do nothing. tests/guest checks this on real kernels.
"""

from __future__ import annotations

from damonpolicy.base.lazy import dataclass

__all__ = ("ACTIONS", "MOVING", "Traits", "traits")


@dataclass(frozen=True, slots=True)
class Traits:
    """Whether an action works, and honours page-level filters, weighted nodes, and weights.

    ``needs`` and ``filters_need`` name features of `kernel/damon/features.py` without which the
    kernel accepts the action, or its page-level filters, and ignores them.
    """

    works: bool = True
    filters: bool = False
    destinations: bool = False
    priority: bool = False
    needs: str = ""
    filters_need: str = ""


_MADVISE = Traits()
_NOTHING = Traits(works=False)
_PHYSICAL = Traits(filters=True, priority=True)
_VIRTUAL_MIGRATION = Traits(filters=True, destinations=True, priority=True, needs="migrate.vaddr")

_VIRTUAL = {
    "stat": Traits(filters=True, filters_need="filters.vaddr_stat"),
    "pageout": Traits(priority=True),
    "willneed": _MADVISE,
    "cold": _MADVISE,
    "hugepage": _MADVISE,
    "nohugepage": _MADVISE,
    "collapse": _MADVISE,
    "lru_prio": _NOTHING,
    "lru_deprio": _NOTHING,
    "migrate_hot": _VIRTUAL_MIGRATION,
    "migrate_cold": _VIRTUAL_MIGRATION,
}

ACTIONS: dict[str, dict[str, Traits]] = {
    "vaddr": _VIRTUAL,
    "fvaddr": _VIRTUAL,
    "paddr": {
        "stat": Traits(filters=True, filters_need="scheme.filter_passed"),
        "pageout": _PHYSICAL,
        "willneed": _NOTHING,
        "cold": _NOTHING,
        "hugepage": _NOTHING,
        "nohugepage": _NOTHING,
        "collapse": _NOTHING,
        "lru_prio": _PHYSICAL,
        "lru_deprio": _PHYSICAL,
        "migrate_hot": _PHYSICAL,
        "migrate_cold": _PHYSICAL,
    },
}

MOVING = ("pageout", "migrate_hot", "migrate_cold")
"""Actions that move memory: without a quota, they take all matching memory at once."""


def traits(ops: str, action: str) -> Traits:
    """Return the traits of an action on an operations set."""
    return ACTIONS[ops][action]
