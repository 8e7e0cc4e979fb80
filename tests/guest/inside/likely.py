"""Texts for files: valid ones, and surprising ones."""

from __future__ import annotations

import random

from damonpolicy.kernel.damon.schema import Row

from .players import CGROUPS
from .script.words import LARGE, MOST, PAGE, PLACE

__all__ = ("EDGES", "MODULE_VALUES", "THEMES", "WORDS", "likely", "misspelt")

EDGES = (
    "", "0", "-1", "2147483647", "2147483648", "4294967295", "4294967296", "9223372036854775807",
    "9223372036854775808", LARGE, "18446744073709551616", "-2147483648", "-2147483649", "0x10",
    "0X1f", "0x", "010", "08", "+1", "++1", "-0", "1\n", "1\n\n", "\n", " 1", "1 ", "1\0x", "\0",
    "x", "1M", "1.5", "1e3", "0b1", "9" * 30, "A" * 4095, "A" * 4096, "A" * 5000, "Y", "on", "ü",
    "\udcff", "/", "/no/such", "none",
)  # fmt: skip
"""Limits of all types of numbers, other bases, blanks, and what is no number."""

WORDS = ("", "\n", "x", "0", "none ", "A" * 5000)
"""Words that no file knows."""

_WHERE = tuple(PLACE + count * PAGE for count in range(6))
_UNALIGNED = (PLACE + 1, PLACE + 100, PLACE + 5000, PLACE + 3 * PAGE - 1)
_MANY = (0, LARGE, LARGE, MOST, 1)
_VALUES: dict[str, tuple[object, ...]] = {
    "sample_us": (1000, 5000, 5000, 10_000),
    "aggr_us": (10_000, 20_000, 20_000, 50_000),
    "update_us": (0, 100_000, 60_000_000),
    "access_bp": (0, 400, 10_000),
    "aggrs": (0, 0, 1, 3),
    "min_sample_us": (1000, 5000, 5000),
    "max_sample_us": (5000, 5000, 10_000),
    "nr_regions/min": (3, 5, 10, 10, 100, 2),
    "nr_regions/max": (10, 100, 1000, 1000),
    "refresh_ms": (0, 0, 10, 1000),
    "addr_unit": (1, 1, 2, 3, 8, 4096),
    "start": (*_WHERE, *_WHERE, *_UNALIGNED),
    "end": (*_WHERE, *_WHERE, *_UNALIGNED),
    "addr_start": (*_WHERE, 0),
    "addr_end": (*_WHERE, LARGE),
    "sz/min": (0, 0, 1, PAGE),
    "sz/max": (*_MANY, PAGE),
    "nr_accesses/min": (0, 0, 1),
    "nr_accesses/max": (*_MANY, 20),
    "age/min": (0, 0, 1),
    "age/max": (*_MANY, 20),
    "min": (0, PAGE, 2 << 20),
    "max": (PAGE, 2 << 20, LARGE),
    "apply_interval_us": (0, 0, 10_000, 50_000),
    "target_nid": (-1, 0, 1, 99),
    "nid": (0, 1, 1, 99, -1),
    "id": (0, 1, 99),
    "weight": (0, 0, 1, 100),
    "damon_target_idx": (0, 1, 7, -1),
    "ms": (0, 1, 10),
    "bytes": (0, 1, PAGE, 1 << 30),
    "reset_interval_ms": (0, 10, 1000, 3_600_000),
    "fail_charge_num": (0, 1, 2),
    "fail_charge_denom": (0, 1, 2),
    "sz_permil": (0, 500, 1000, 1001),
    "nr_accesses_permil": (0, 500, 1000, 1001),
    "age_permil": (0, 500, 1000, 1001),
    "target_value": (0, 1, 1000, 10_000),
    "current_value": (0, 1, 10_000, 20_000),
    # of free memory there is neither much less than half, nor all
    "interval_us": (0, 10_000, 50_000),
    "high": (0, 400, 1000, 1001),
    "mid": (0, 300, 1000),
    "low": (0, 0, 200),
    "max_nr_snapshots": (0, 0, 1, 1000),
    "cpumask": ("0", "1", "0-1", "all"),
    "cpus": ("0", "1", "0-1", "all"),
    "tid_arr": ("1", "1,2,3", "1-4"),
    "tids": ("1", "1,2,3", "1-4"),
}
"""By a file's name, or its last two where one does not tell."""

_PATHS = (*CGROUPS, CGROUPS[0], "/", f"{CGROUPS[0]}\n", "/no/such", "no slash", "/" * 4095)

MODULE_VALUES: dict[str, tuple[object, ...]] = {
    "enabled": ("Y", "Y", "N"),
    "commit": ("Y", "Y", "N"),
    "bool": ("Y", "N"),
    "ulong": (0, 1, 10, 100),
    "sample_interval": (1000, 5000),
    "aggr_interval": (10_000, 50_000),
    "wmarks_interval": (10_000, 50_000),
    "min_nr_regions": (2, 3, 10),
    "max_nr_regions": (5, 10, 1000),
    "monitor_region_start": _WHERE,
    "monitor_region_end": _WHERE,
    "addr_unit": (1, 1, 2, 3),
    "min_age": (120_000_000, 1 << 40),
}
"""By a parameter's name, else by its kind."""


def likely(chance: random.Random, known: Row, processes: tuple[str, ...]) -> str:
    """Return a text that a file takes, and often one that makes sense with the rest."""
    parts = known.path.split("/")
    if known.kind == "bool":
        return chance.choice(("Y", "N", "Y", "N", "1", "0", "on", "off", "true", "enable"))
    if known.kind == "path":
        return chance.choice(_PATHS)
    if known.kind == "pid_t":
        return chance.choice((*(f"pid of {name}" for name in processes), "1", "0", "2147483647"))
    values = _VALUES.get("/".join(parts[-2:])) or _VALUES[parts[-1]]
    return str(chance.choice(values))


def misspelt(chance: random.Random, word: str, others: tuple[str, ...]) -> str:
    """Return a misspelt word, or an unknown one."""
    return chance.choice(
        (word.upper(), word.title(), f"{word} ", f" {word}", f"{word}\n", f"{word}\n\n",
         word[:-1], f"{word}s", f"{word}\0x", *others)
    )  # fmt: skip


_S = "schemes/*"
_GOALS = f"{_S}/quotas/goals"
_PROBES = "monitoring_attrs/probes"
_SPANS = (
    ("targets/*/regions/nr_regions", (1, 2, 2, 3)),
    ("targets/*/regions/*/start", None),
    ("targets/*/regions/*/end", None),
)

THEMES: tuple[tuple[tuple[str, tuple[object, ...] | None], ...], ...] = (
    tuple(
        (f"{_S}/watermarks/{name}", values)
        for name, values in (
            ("metric", ("free_mem_rate",)), ("interval_us", (0, 10_000, 50_000)),
            ("high", (0, 0, 1000)), ("mid", (0, 0, 1000)), ("low", (0,)),
        )
    ),
    _SPANS,
    (("operations", ("paddr",)), ("addr_unit", (1, 2, 3, 8, 4096)), *_SPANS),
    (
        ("operations", ("vaddr", "fvaddr")), ("targets/nr_targets", (1, 2, 2, 3)),
        ("targets/*/pid_target", None), ("targets/*/obsolete_target", ("Y", "N", "N")),
    ),
    (("nr_contexts", (0, 1)),),
    (("pause", ("Y", "Y", "N")),),
    *(
        ((f"{_S}/{layer}/nr_filters", (1, 2)), *((f"{_S}/{layer}/*/{name}", None) for name in (
            "type", "matching", "allow", "memcg_path", "addr_start", "addr_end", "min", "max",
        )))
        for layer in ("filters", "core_filters", "ops_filters")
    ),
    (
        (f"{_GOALS}/nr_goals", (1, 1, 2)), (f"{_GOALS}/*/target_metric", None),
        (f"{_GOALS}/*/target_value", (0, 1, 10_000)), (f"{_GOALS}/*/nid", (0, 1, 9)),
        (f"{_GOALS}/*/path", None),
    ),
    (
        (f"{_PROBES}/nr_probes", (1, 2)), (f"{_PROBES}/*/weight", None),
        (f"{_PROBES}/*/filters/nr_filters", (0, 1, 2)), (f"{_PROBES}/*/filters/*/type", None),
        (f"{_PROBES}/*/filters/*/path", None),
    ),
    tuple(
        (f"monitoring_attrs/intervals/{name}", values)
        for name, values in (
            ("sample_us", (5000,)), ("aggr_us", (10_000, 20_000)),
            ("intervals_goal/access_bp", None), ("intervals_goal/aggrs", (1, 1, 3)),
            ("intervals_goal/min_sample_us", (5000, 5000, 5000, 6000)),
            ("intervals_goal/max_sample_us", (5000, 5000, 5000, 4000)),
        )
    ),
)  # fmt: skip
"""What is written together, below a context, to bring about more than one file could.

Each is a list of files with the values that they get; None: whatever they may take.
"""
