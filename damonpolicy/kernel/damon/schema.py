"""DAMON's tree, one row a file: what it takes and holds, since when, and its other names.

From these rows come the files and words of `features.FEATURES`, the defaults, counts and volatile
files of `tree`, the table of words (`kernel.damon.words`) with all that is made of it, and the files of
emulated kernels. A new kernel file is a row here, and a field of the model.

Paths are those of `tree.pattern`: below the kdamonds directory, with ``*`` for numbers. Rows stand
in the order of a policy, which is that of plans. Kinds, defaults and words were compared with all
real kernels of ``tests/guest/observed/``.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import field
from typing import Literal, TypeAlias

from damonpolicy.base.lazy import dataclass
from damonpolicy.base.units import U64_MAX

__all__ = (
    "COMMANDS",
    "COUNTS",
    "LAYERS",
    "NUMBERS",
    "ROWS",
    "Kind",
    "Row",
    "default",
    "pattern",
    "row",
)

Kind: TypeAlias = Literal[
    "bool", "charge", "count", "cpus", "int", "path", "pid", "pid_t", "quota", "state",
    "threads", "uint", "ulong", "unit", "value", "word",
]  # fmt: skip
"""What a file takes.

``count`` makes and wipes the numbered directories beside it; ``value`` is only read; ``quota``,
``charge`` and ``unit`` are numbers with rules of their own; ``threads`` is an array of numbers.
"""
NUMBERS = frozenset(
    ("charge", "count", "int", "pid", "pid_t", "quota", "uint", "ulong", "unit")
)  # fmt: skip
"""Kinds of files that hold one whole number."""
_EMPTY: Mapping[str, str] = {"bool": "N", "cpus": "", "path": "", "threads": ""}
"""What files of a kind hold at first, where it is not 0."""


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One file.

    ``since`` maps each word that it takes to the feature that brought it, empty for the first
    kernels'. ``ours`` is the path in a policy below its kdamond, scheme, target or probe, and
    ``unit`` that of the file in `units`; ``damo`` is damo's option. ``mode`` is the kernel's,
    ``most`` the largest count, and ``unset`` what stands for a key that is left out, where that is
    not the default.
    """

    path: str
    kind: Kind
    ours: str = ""
    unit: str = "text"
    damo: str = ""
    feature: str = ""
    since: Mapping[str, str] = field(default_factory=dict)
    start: str | None = None
    unset: str = ""
    mode: int = 0o600
    most: int = 1 << 31
    plain: bool = False
    """Whether the policy's value is all that there is to say: no code handles the file by hand."""
    volatile: Literal["", "always", "tuned", "fed"] = ""
    """Whether the kernel writes it: while intervals are tuned, or for goals that nothing feeds."""

    @property
    def kernel(self) -> str:
        """The pattern below the kdamond's directory."""
        return self.path.removeprefix("*/")

    @property
    def words(self) -> tuple[str, ...]:
        """The words that the file takes, if it takes words."""
        return tuple(self.since)

    @property
    def result(self) -> bool:
        """Whether the file tells what was monitored: nobody keeps that in a tree."""
        return self.kind == "value" and not self.volatile

    @property
    def absent(self) -> str:
        """What the file is to hold where the policy leaves the key out."""
        return self.unset or self.default

    @property
    def default(self) -> str:
        """What the file holds right after its directory was made."""
        return _EMPTY.get(self.kind, "0") if self.start is None else self.start


_C = "*/contexts/*"
_A = f"{_C}/monitoring_attrs"
_S = f"{_C}/schemes/*"
_Q = f"{_S}/quotas"
_R = f"{_S}/tried_regions"
_READ = 0o400

LAYERS = ("core_filters", "ops_filters")
"""Directories of filters beside ``filters``, which take its words."""
_STATE = {
    "on": "",
    "off": "",
    "commit": "commit",
    "commit_schemes_quota_goals": "quota.goals",
    "update_schemes_stats": "",
    "update_schemes_tried_bytes": "scheme.tried_bytes",
    "update_schemes_tried_regions": "scheme.tried_regions",
    "clear_schemes_tried_regions": "scheme.tried_regions",
    "update_schemes_effective_quotas": "quota.effective_bytes",
    "update_tuned_intervals": "commit.tuned_intervals",
}
COMMANDS = tuple(_STATE)
"""What ``state`` takes."""


def _first(*words: str) -> dict[str, str]:
    """Return words that all kernels take."""
    return dict.fromkeys(words, "")


def _since(prefix: str, *words: str) -> dict[str, str]:
    """Return words that have a feature each."""
    return {word: f"{prefix}.{word}" for word in words}


_CORE = _since("filter", "addr", "target", "probe_hits_wsum")
_PAGES = _since("filter", "anon", "active", "memcg", "young", "hugepage_size", "unmapped")


def _range(path: str, ours: str, unit: str, damo: str) -> tuple[Row, Row]:
    return (
        Row(f"{path}/min", "ulong", f"{ours}.min", unit, damo),
        Row(f"{path}/max", "ulong", f"{ours}.max", unit, damo),
    )


def _filters(name: str, words: Mapping[str, str]) -> tuple[Row, ...]:
    """Return the files of a directory of filters; the layers came with all of them."""
    base = f"{_S}/{name}"

    def since(feature: str) -> str:
        return "filters.layers" if name in LAYERS else feature

    return (
        Row(f"{base}/nr_filters", "count", feature=since("filters")),
        Row(f"{base}/*/type", "word", "filters.type", damo="--damos_filter",
            feature=since("filters"), since=words, start="anon"),
        Row(f"{base}/*/matching", "bool", "filters.not", "negated", feature=since("filters")),
        Row(f"{base}/*/allow", "bool", "filters.allow", "bool", feature=since("filter.allow")),
        Row(f"{base}/*/memcg_path", "path", "filters.memcg", feature=since("filters")),
        Row(f"{base}/*/addr_start", "ulong", "filters.addr.start", "address",
            feature=since("filter.ranges")),
        Row(f"{base}/*/addr_end", "ulong", "filters.addr.end", "address",
            feature=since("filter.ranges")),
        Row(f"{base}/*/damon_target_idx", "int", "filters.target", "count",
            feature=since("filter.ranges")),
        Row(f"{base}/*/min", "ulong", "filters.hugepage_size.min", "bytes",
            feature=since("filter.sizes")),
        Row(f"{base}/*/max", "ulong", "filters.hugepage_size.max", "bytes",
            feature=since("filter.sizes")),
    )  # fmt: skip


ROWS: tuple[Row, ...] = (
    Row("nr_kdamonds", "count", feature="sysfs"),
    Row("*/state", "state", since=_STATE, start="off", volatile="always"),
    Row("*/pid", "pid", start="-1", mode=_READ, volatile="always"),
    Row("*/refresh_ms", "uint", "refresh", "ms", "--refresh_stat", "refresh", plain=True),
    Row("*/contexts/nr_contexts", "count", most=1),
    Row(f"{_C}/avail_operations", "value", feature="ops.fvaddr", mode=_READ),
    Row(f"{_C}/operations", "word", "ops", damo="--ops", start="vaddr",
        since={"vaddr": "", "fvaddr": "ops.fvaddr", "paddr": ""}),
    Row(f"{_C}/addr_unit", "unit", "addr_unit", "count", "--damon_addr_unit", "addr_unit",
        start="1", plain=True),
    Row(f"{_C}/pause", "bool", "paused", "bool", "--pause_ctx", "pause", plain=True),
    # targets
    Row(f"{_C}/targets/nr_targets", "count"),
    Row(f"{_C}/targets/*/pid_target", "pid_t", "targets", "pid", "--target_pid"),
    Row(f"{_C}/targets/*/obsolete_target", "bool", "targets.obsolete", "bool", "--obsolete_targets",
        "target.obsolete"),
    Row(f"{_C}/targets/*/regions/nr_regions", "count"),
    Row(f"{_C}/targets/*/regions/*/start", "ulong", "targets.regions.start", "address",
        "--regions"),
    Row(f"{_C}/targets/*/regions/*/end", "ulong", "targets.regions.end", "address", "--regions"),
    # intervals and regions
    Row(f"{_A}/intervals/sample_us", "ulong", "intervals.sample", "us", "--sample", start="5000",
        volatile="tuned"),
    Row(f"{_A}/intervals/aggr_us", "ulong", "intervals.aggregation", "us", "--aggr", start="100000",
        volatile="tuned"),
    Row(f"{_A}/intervals/update_us", "ulong", "intervals.update", "us", "--updr", start="60000000", plain=True),
    Row(f"{_A}/intervals/intervals_goal/access_bp", "ulong", "intervals.auto_tune.observe", "bp",
        "--monitoring_intervals_goal", "intervals.auto_tune"),
    Row(f"{_A}/intervals/intervals_goal/aggrs", "ulong", "intervals.auto_tune.aggregations",
        "count", feature="intervals.auto_tune"),
    Row(f"{_A}/intervals/intervals_goal/min_sample_us", "ulong", "intervals.auto_tune.min_sample",
        "us", feature="intervals.auto_tune"),
    Row(f"{_A}/intervals/intervals_goal/max_sample_us", "ulong", "intervals.auto_tune.max_sample",
        "us", feature="intervals.auto_tune"),
    Row(f"{_A}/nr_regions/min", "ulong", "region_count.min", "count",
        "--monitoring_nr_regions_range", start="10", plain=True),
    Row(f"{_A}/nr_regions/max", "ulong", "region_count.max", "count",
        "--monitoring_nr_regions_range", start="1000", plain=True),
    # probes
    Row(f"{_A}/probes/nr_probes", "count", feature="probes", most=4),
    Row(f"{_A}/probes/*/weight", "uint", "probes.weight", "count", "--probe_weight",
        "probe.weight"),
    Row(f"{_A}/probes/*/filters/nr_filters", "count", feature="probes"),
    Row(f"{_A}/probes/*/filters/*/type", "word", "probes.filters.type", damo="--probe_filter",
        feature="probes", start="anon",
        since=_since("probe", "anon", "memcg", "pgidle_unset", "pgidle_set", "hugepage_size")),
    Row(f"{_A}/probes/*/filters/*/matching", "bool", "probes.filters.not", "negated",
        feature="probes"),
    Row(f"{_A}/probes/*/filters/*/allow", "bool", "probes.filters.allow", "bool", feature="probes"),
    Row(f"{_A}/probes/*/filters/*/path", "path", "probes.filters.memcg", feature="probes"),
    Row(f"{_A}/probes/*/filters/*/min", "ulong", "probes.filters.hugepage_size.min", "bytes",
        feature="probe.sizes"),
    Row(f"{_A}/probes/*/filters/*/max", "ulong", "probes.filters.hugepage_size.max", "bytes",
        feature="probe.sizes"),
    Row(f"{_A}/probes/*/preps/nr_preps", "count", feature="probe.preps"),
    Row(f"{_A}/probes/*/preps/*/prep_action", "word", "probes.preps", damo="--probe_prep",
        feature="probe.preps", since=_first("set_pgidle"), start="set_pgidle"),
    # which accesses count
    Row(f"{_A}/sample/primitives/page_table", "bool", "accesses.page_table", "bool",
        feature="sample", start="Y"),
    Row(f"{_A}/sample/primitives/page_fault", "bool", "accesses.page_fault", "bool",
        "--sample_primitives", "sample"),
    Row(f"{_A}/sample/filters/nr_filters", "count", feature="sample"),
    Row(f"{_A}/sample/filters/*/type", "word", "accesses.type", damo="--exp_ops_write_only",
        feature="sample", start="cpumask",
        since={"cpumask": "sample.cpus", "threads": "sample.threads", "write": "sample.write"}),
    Row(f"{_A}/sample/filters/*/matching", "bool", "accesses.not", "negated", feature="sample"),
    Row(f"{_A}/sample/filters/*/allow", "bool", "accesses.allow", "bool", feature="sample"),
    Row(f"{_A}/sample/filters/*/cpumask", "cpus", "accesses.cpus", damo="--exp_ops_cpus",
        feature="sample"),
    Row(f"{_A}/sample/filters/*/tid_arr", "threads", "accesses.threads", damo="--exp_ops_tids",
        feature="sample"),
    Row(f"{_C}/operations_attrs/use_reports", "bool", "accesses.primitive", "bool",
        "--exp_ops_use_reports", "operations_attrs"),
    Row(f"{_C}/operations_attrs/write_only", "bool", "accesses.kind", "bool",
        feature="operations_attrs"),
    Row(f"{_C}/operations_attrs/cpus", "cpus", "accesses.cpus", feature="operations_attrs"),
    Row(f"{_C}/operations_attrs/tids", "threads", "accesses.threads", feature="operations_attrs"),
    # schemes
    Row(f"{_C}/schemes/nr_schemes", "count"),
    Row(f"{_S}/action", "word", "action", damo="--damos_action", start="stat",
        since={**_first("willneed", "cold", "pageout", "hugepage", "nohugepage"),
               **_since("action", "collapse", "lru_prio", "lru_deprio", "migrate_hot",
                        "migrate_cold"), "stat": ""}),
    Row(f"{_S}/target_nid", "int", "to", "count", feature="scheme.target_nid", start="-1"),
    Row(f"{_S}/dests/nr_dests", "count", feature="migrate.destinations"),
    Row(f"{_S}/dests/*/id", "uint", "to.node", "count", feature="migrate.destinations"),
    Row(f"{_S}/dests/*/weight", "uint", "to.weight", "count", feature="migrate.destinations"),
    Row(f"{_S}/apply_interval_us", "ulong", "apply_every", "us", "--damos_apply_interval",
        "scheme.apply_every", plain=True),
    Row(f"{_S}/access_pattern/sz/min", "ulong", "access_pattern.size.min", "bytes",
        "--damos_sz_region", plain=True),
    Row(f"{_S}/access_pattern/sz/max", "ulong", "access_pattern.size.max", "bytes",
        "--damos_sz_region", unset=str(U64_MAX), plain=True),
    *_range(f"{_S}/access_pattern/nr_accesses", "access_pattern.access_rate", "samples",
            "--damos_access_rate"),
    *_range(f"{_S}/access_pattern/age", "access_pattern.age", "aggregations", "--damos_age"),
    # quotas
    Row(f"{_Q}/bytes", "quota", "quota.size", "bytes", "--damos_quota_space"),
    Row(f"{_Q}/ms", "quota", "quota.time", "ms", "--damos_quota_time", plain=True),
    Row(f"{_Q}/reset_interval_ms", "quota", "quota.every", "ms", "--damos_quota_interval", plain=True),
    Row(f"{_Q}/effective_bytes", "value", feature="quota.effective_bytes", mode=_READ,
        volatile="always"),
    Row(f"{_Q}/weights/sz_permil", "uint", "quota.weights.size", "count", "--damos_quota_weights"),
    Row(f"{_Q}/weights/nr_accesses_permil", "uint", "quota.weights.access_rate", "count"),
    Row(f"{_Q}/weights/age_permil", "uint", "quota.weights.age", "count"),
    Row(f"{_Q}/goal_tuner", "word", "quota.tuner", damo="--damos_quota_goal_tuner",
        feature="quota.tuner", since=_first("consist", "temporal"), start="consist"),
    Row(f"{_Q}/fail_charge_num", "charge", "quota.fail_charge", "count",
        "--damos_quota_fail_charge_ratio", "quota.fail_charge"),
    Row(f"{_Q}/fail_charge_denom", "charge", "quota.fail_charge.of", "count",
        feature="quota.fail_charge"),
    Row(f"{_Q}/goals/nr_goals", "count", feature="quota.goals"),
    Row(f"{_Q}/goals/*/target_metric", "word", "quota.goals.metric", damo="--damos_quota_goal",
        feature="quota.goal.metric", start="user_input",
        since=_since("quota.goal", "user_input", "some_mem_psi_us", "node_mem_used_bp",
                     "node_mem_free_bp", "node_memcg_used_bp", "node_memcg_free_bp",
                     "active_mem_bp", "inactive_mem_bp", "node_eligible_mem_bp",
                     "hugepage_mem_bp")),
    Row(f"{_Q}/goals/*/target_value", "ulong", "quota.goals.target", "goal", feature="quota.goals"),
    Row(f"{_Q}/goals/*/current_value", "ulong", "quota.goals.current", "count",
        feature="quota.goals", volatile="fed"),
    Row(f"{_Q}/goals/*/nid", "int", "quota.goals.node", "count", feature="quota.goal.node"),
    Row(f"{_Q}/goals/*/complement", "bool", "quota.goals.complement", "bool",
        feature="quota.goal.complement"),
    Row(f"{_Q}/goals/*/path", "path", "quota.goals.cgroup", feature="quota.goal.path"),
    # filters
    *_filters("filters", {**_PAGES, **_CORE}),
    *_filters("core_filters", _CORE),
    *_filters("ops_filters", _PAGES),
    # watermarks
    Row(f"{_S}/watermarks/metric", "word", "watermarks.metric", damo="--damos_wmarks",
        since=_first("none", "free_mem_rate"), start="none", plain=True),
    Row(f"{_S}/watermarks/interval_us", "ulong", "watermarks.every", "us", plain=True),
    Row(f"{_S}/watermarks/high", "ulong", "watermarks.high", "permil", plain=True),
    Row(f"{_S}/watermarks/mid", "ulong", "watermarks.mid", "permil", plain=True),
    Row(f"{_S}/watermarks/low", "ulong", "watermarks.low", "permil", plain=True),
    # results
    *(Row(f"{_S}/stats/{name}", "value", mode=_READ, volatile="always")
      for name in ("nr_tried", "sz_tried", "nr_applied", "sz_applied", "qt_exceeds")),
    Row(f"{_S}/stats/sz_ops_filter_passed", "value", feature="scheme.filter_passed", mode=_READ,
        volatile="always"),
    Row(f"{_S}/stats/nr_snapshots", "value", feature="scheme.max_snapshots", mode=_READ,
        volatile="always"),
    Row(f"{_S}/stats/max_nr_snapshots", "ulong", "max_snapshots", "count",
        "--damos_max_nr_snapshots", "scheme.max_snapshots", plain=True),
    Row(f"{_R}/total_bytes", "value", feature="scheme.tried_bytes", mode=_READ),
    *(Row(f"{_R}/*/{name}", "value", feature="scheme.tried_regions", mode=_READ)
      for name in ("start", "end", "nr_accesses", "age")),
    Row(f"{_R}/*/sz_filter_passed", "value", feature="scheme.filter_passed", mode=_READ),
    Row(f"{_R}/*/probes/*/hits", "value", feature="probes", mode=_READ),
)  # fmt: skip

_BY_PATH = {each.path: each for each in ROWS}

COUNTS: Mapping[str, str] = {
    each.path.split("/")[-2]: each.path.rpartition("/")[2]
    for each in ROWS
    if each.kind == "count" and "/" in each.path
}
"""The file that makes and wipes the numbered directories beside it, by directory."""


_NUMBER = r"(?<=/)\d+(?=/|\Z)"


def pattern(path: str) -> str:
    """Replace the numbers of a path by ``*``."""
    return re.sub(_NUMBER, "*", "/" + path)[1:]


@functools.lru_cache(maxsize=1 << 14)
def row(path: str) -> Row | None:
    """Return the row of a file, by its path below the kdamonds directory, or below a slot of it."""
    given = pattern(path)
    return _BY_PATH.get(given) or _BY_PATH.get(f"*/{given}")


@functools.lru_cache(maxsize=1 << 14)
def default(path: str) -> str:
    """Return what a file holds right after its directory was made.

    As seen on the kernels of ``tests/guest/observed``; where that is wrong for a kernel, the
    read-back after applying says so and the transaction is undone.
    """
    found = row(path)
    return "0" if found is None else found.default
