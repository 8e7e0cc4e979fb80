"""The one table of what kernels can do: feature, files or words, BTF name, version, commit.

Versions are for people and for emulated kernels; whether a feature is there is decided by
presence alone (`capabilities.py`). Paths are those of `tree.pattern`: below the kdamonds
directory, with ``*`` for numbers; parameters of DAMON's modules have absolute ones. Commits
are those of torvalds/linux. How kernels differ in behaviour is in `quirks.py`; no other
place knows a version.
"""

from __future__ import annotations

from damonpolicy.kernel.feature import ATTRIBUTES as _A
from damonpolicy.kernel.feature import CONTEXT as _C
from damonpolicy.kernel.feature import (
    DEVELOPMENT,
    Feature,
    action,
    below,
    filter_type,
    goal,
    module,
    probe,
    sample,
)
from damonpolicy.kernel.feature import QUOTAS as _Q
from damonpolicy.kernel.feature import REGIONS as _R
from damonpolicy.kernel.feature import SCHEME as _S

__all__ = (
    "FEATURES",
    "NEWEST",
    "WORDS",
    "by_file",
    "by_word",
    "first_kernel",
    "needed",
    "siblings",
)

NEWEST = "7.3"
"""The newest released kernel that the table knows: an example for hints."""

WORDS = {
    f"{_S}/action": "DAMOS_STAT",
    f"{_C}/operations": "DAMON_OPS_VADDR",
    "*/state": "DAMON_SYSFS_CMD_ON",
}
"""Names of words that all kernels take, by file."""

_FILTER_FILES = ("type", "matching", "memcg_path", "addr_start", "addr_end", "damon_target_idx")
_LAYERS = ("core_filters", "ops_filters")
_MODULE_FILES = (
    "enabled", "kdamond_pid", "sample_interval", "aggr_interval",
    "min_nr_regions", "max_nr_regions", "monitor_region_start", "monitor_region_end",
    "quota_ms", "quota_reset_interval_ms", "wmarks_interval", "wmarks_high", "wmarks_mid",
    "wmarks_low",
)  # fmt: skip

FEATURES: tuple[Feature, ...] = (
    Feature("sysfs", "DAMON's sysfs interface", "5.18", "c951cd3b8901", files=("nr_kdamonds",),
        btf="damon_sysfs_kdamonds.nr"),
    Feature(
        "ops.fvaddr", "fixed virtual address ranges", "5.19", "b82434471cd2",
        words=((f"{_C}/operations", "fvaddr"),), btf="DAMON_OPS_FVADDR",
        results=(f"{_C}/avail_operations",),
    ),
    Feature(
        "commit", "changing a running kdamond", "5.19", "adc286e6bdd3",
        words=(("*/state", "commit"),), btf="DAMON_SYSFS_CMD_COMMIT",
    ),
    action("lru_prio", "6.0", ""),
    action("lru_deprio", "6.0", ""),
    Feature(
        "scheme.tried_regions", "the regions that a scheme tried", "6.2",
        words=(
            ("*/state", "update_schemes_tried_regions"),
            ("*/state", "clear_schemes_tried_regions"),
        ),
        results=below(f"{_R}/*", "start", "end", "nr_accesses", "age"),
        btf="damon_sysfs_scheme.tried_regions",
    ),
    Feature(
        "filters", "DAMOS filters", "6.3",
        files=below(f"{_S}/filters", "nr_filters", *(f"*/{each}" for each in _FILTER_FILES[:3])),
        btf="damon_sysfs_scheme.filters",
    ),
    filter_type("anon", "6.3"),
    filter_type("memcg", "6.3"),
    Feature(
        "scheme.tried_bytes", "the size of the regions that a scheme tried", "6.6",
        words=(("*/state", "update_schemes_tried_bytes"),),
        results=(f"{_R}/total_bytes",),
        btf="damon_sysfs_scheme_regions.total_bytes",
    ),
    filter_type("addr", "6.6"),
    filter_type("target", "6.6"),
    Feature(
        "filter.ranges", "files for address ranges and targets of filters", "6.6",
        files=below(f"{_S}/filters/*", *_FILTER_FILES[3:]),
        btf="damon_sysfs_scheme_filter.addr_range",
    ),
    Feature(
        "scheme.apply_every", "an interval of its own for each scheme", "6.7",
        files=(f"{_S}/apply_interval_us",), btf="damon_sysfs_scheme.apply_interval_us",
    ),
    Feature(
        "quota.goals", "quotas that tune themselves toward goals", "6.8",
        words=(("*/state", "commit_schemes_quota_goals"),),
        files=below(f"{_Q}/goals", "nr_goals", "*/target_value", "*/current_value"),
        btf="damon_sysfs_quotas.goals",
    ),
    Feature(
        "quota.effective_bytes", "the quota in effect", "6.9",
        words=(("*/state", "update_schemes_effective_quotas"),),
        files=(f"{_Q}/effective_bytes",), btf="damon_sysfs_quotas.effective_sz",
    ),
    Feature(
        "quota.goal.metric", "a choice of metrics for goals", "6.9",
        files=(f"{_Q}/goals/*/target_metric",), btf="damos_sysfs_quota_goal.metric",
    ),
    goal("user_input", "6.8", ""),
    goal("some_mem_psi_us", "6.9", ""),
    filter_type("young", "6.10"),
    action("migrate_hot", "6.11", ""),
    action("migrate_cold", "6.11", ""),
    Feature(
        "scheme.target_nid", "the node that pages migrate to", "6.11",
        files=(f"{_S}/target_nid",), btf="damon_sysfs_scheme.target_nid",
    ),
    Feature(
        "scheme.filter_passed", "bytes that passed the page-level filters", "6.14", "626ffabe67c2",
        files=(f"{_S}/stats/sz_ops_filter_passed",),
        results=(f"{_R}/*/sz_filter_passed",),
        btf="damon_sysfs_stats.sz_ops_filter_passed",
    ),
    Feature(
        "filter.allow", "filters that allow", "6.14",
        files=(f"{_S}/filters/*/allow",), btf="damon_sysfs_scheme_filter.allow",
    ),
    filter_type("hugepage_size", "6.15", "0431c4262261"),
    filter_type("unmapped", "6.15"),
    filter_type("active", "6.15", "3b23a44f1f19"),
    Feature(
        "filter.sizes", "files for the size range of filters", "6.15", "0431c4262261",
        files=below(f"{_S}/filters/*", "min", "max"), btf="damon_sysfs_scheme_filter.sz_range",
    ),
    Feature(
        "filters.layers", "core and page-level filters in directories of their own", "6.15",
        files=tuple(
            path
            for layer in _LAYERS
            for path in below(
                f"{_S}/{layer}", "nr_filters",
                *(f"*/{each}" for each in (*_FILTER_FILES, "allow", "min", "max")),
            )
        ),
        btf="damon_sysfs_scheme.core_filters",
    ),
    Feature(
        "intervals.auto_tune", "intervals that tune themselves", "6.15", "1eb3471bf574",
        files=below(
            f"{_A}/intervals/intervals_goal",
            "access_bp", "aggrs", "min_sample_us", "max_sample_us",
        ),
        btf="damon_sysfs_intervals.intervals_goal",
    ),
    Feature(
        "commit.checked", "commits that refuse what is invalid and leave the kdamond running",
        "6.16", btf="damon_sysfs_schemes_walk_data.sysfs_kdamond",
    ),
    Feature(
        "commit.tuned_intervals", "reading tuned intervals back", "6.15",
        words=(("*/state", "update_tuned_intervals"),), btf="DAMON_SYSFS_CMD_UPDATE_TUNED_INTERVALS",
    ),
    goal("node_mem_used_bp", "6.16", "0e1c773b501f"),
    goal("node_mem_free_bp", "6.16", "0e1c773b501f"),
    Feature(
        "quota.goal.node", "goals on one node", "6.16", "0e1c773b501f",
        files=(f"{_Q}/goals/*/nid",), btf="damos_sysfs_quota_goal.nid",
    ),
    Feature(
        "migrate.destinations", "several weighted nodes to migrate to", "6.17", "a2c24eae5a15",
        files=below(f"{_S}/dests", "nr_dests", "*/id", "*/weight"),
        btf="damon_sysfs_scheme.dests",
    ),
    Feature(
        "migrate.vaddr", "migration of virtual address ranges", "6.17",
        btf="damos_va_migrate_private.scheme",
    ),
    Feature(
        "refresh", "statistics that refresh themselves", "6.17",
        files=("*/refresh_ms",), btf="damon_sysfs_kdamond.refresh_ms",
    ),
    Feature(
        "filters.vaddr_stat", "page-level filters for stat on virtual addresses", "6.18",
        btf="damos_va_stat_private.scheme",
    ),
    Feature(
        "addr_unit", "address units", "6.18", "09a616cbb371",
        files=(f"{_C}/addr_unit",), btf="damon_sysfs_context.addr_unit",
    ),
    goal("node_memcg_used_bp", "6.19", "6a18bbe48361"),
    goal("node_memcg_free_bp", "6.19", "6a18bbe48361"),
    Feature(
        "quota.goal.path", "goals on one cgroup", "6.19", "6a18bbe48361",
        files=(f"{_Q}/goals/*/path",), btf="damos_sysfs_quota_goal.path",
    ),
    Feature(
        "target.obsolete", "removing one target of a running kdamond", "6.19",
        files=(f"{_C}/targets/*/obsolete_target",), btf="damon_sysfs_target.obsolete",
    ),
    Feature(
        "scheme.max_snapshots", "schemes that stop after a number of snapshots", "7.0",
        "4a6ceb7c9744",
        files=below(f"{_S}/stats", "nr_snapshots", "max_nr_snapshots"),
        btf="damon_sysfs_stats.max_nr_snapshots",
    ),
    goal("active_mem_bp", "7.0", "4a6ceb7c9744"),
    goal("inactive_mem_bp", "7.0", "4a6ceb7c9744"),
    Feature(
        "quota.tuner", "a choice of tuners for goals", "7.1", "8719c59c4b928",
        files=(f"{_Q}/goal_tuner",), btf="damon_sysfs_quotas.goal_tuner",
    ),
    action("collapse", "7.2", "58996503b631"),
    goal("node_eligible_mem_bp", "7.2", "9138e27a3bc3"),
    Feature(
        "pause", "pausing a kdamond", "7.2", "3b9e3cc0405b4",
        files=(f"{_C}/pause",), btf="damon_sysfs_context.pause",
    ),
    Feature(
        "quota.fail_charge", "charging failed attempts less", "7.2", "c7ec7d5f6b3d1",
        files=below(_Q, "fail_charge_num", "fail_charge_denom"),
        btf="damon_sysfs_quotas.fail_charge_num",
    ),
    Feature(
        "probes", "probes of data attributes", "7.2", "45c49d9fd6089",
        files=below(
            f"{_A}/probes", "nr_probes", "*/filters/nr_filters", "*/filters/*/type",
            "*/filters/*/matching", "*/filters/*/allow", "*/filters/*/path",
        ),
        results=(f"{_R}/*/probes/*/hits",),
        btf="damon_sysfs_attrs.probes",
    ),
    probe("anon", "probes on anonymous memory", "7.2", "8caba1448278"),
    probe("memcg", "probes on a cgroup's memory", "7.2", "c71f8e13462d"),
    Feature(
        "probe.weight", "probes that take the place of access checks", "7.3", "37aae41c1056",
        files=(f"{_A}/probes/*/weight",), btf="damon_sysfs_probe.weight",
    ),
    Feature(
        "probe.preps", "preparations of probes", DEVELOPMENT,
        files=below(f"{_A}/probes/*/preps", "nr_preps", "*/prep_action"),
        btf="damon_sysfs_probe.preps",
    ),
    probe("pgidle_unset", "probes on touched pages", DEVELOPMENT),
    probe("pgidle_set", "probes on untouched pages", DEVELOPMENT),
    probe("hugepage_size", "probes on the size of pages", DEVELOPMENT, seen=False),
    Feature(
        "probe.sizes", "files for the size range of probes", DEVELOPMENT,
        files=below(f"{_A}/probes/*/filters/*", "min", "max"),
    ),
    filter_type("probe_hits_wsum", DEVELOPMENT, seen=False),
    Feature(
        "quota.goal.complement", "goals on the complement of a metric", DEVELOPMENT,
        files=(f"{_Q}/goals/*/complement",),
    ),
    Feature(
        "quota.goal.hugepage_mem_bp", "quota goals on hugepage_mem_bp", DEVELOPMENT,
        words=((f"{_Q}/goals/*/target_metric", "hugepage_mem_bp"),),
        btf="DAMOS_QUOTA_HUGEPAGE_MEM_BP",
    ),
    Feature(
        "sample", "choosing which accesses count", DEVELOPMENT,
        files=(
            *below(f"{_A}/sample/primitives", "page_table", "page_fault"),
            *below(
                f"{_A}/sample/filters", "nr_filters", "*/type", "*/matching", "*/allow",
                "*/cpumask", "*/tid_arr",
            ),
        ),
        btf="damon_sysfs_attrs.sample",
    ),
    sample("write", "write", "counting writes or reads only"),
    sample("cpus", "cpumask", "counting accesses of some CPUs only"),
    sample("threads", "threads", "counting accesses of some threads only"),
    Feature(
        "operations_attrs", "choosing which accesses count, in an early form", DEVELOPMENT,
        files=below(f"{_C}/operations_attrs", "use_reports", "write_only", "cpus", "tids"),
    ),
    module("reclaim", "", "proactive reclaim by a module", "5.16", *_MODULE_FILES,
        "min_age", "quota_sz"),
    module("reclaim", ".online", "changing the reclaiming module while it runs", "5.19",
        "commit_inputs"),
    module("lru_sort", "", "sorting of the LRU lists by a module", "6.0", *_MODULE_FILES,
        "commit_inputs", "hot_thres_access_freq", "cold_min_age"),
    module("reclaim", ".skip_anon", "a reclaiming module that leaves anonymous pages alone", "6.3",
        "skip_anon"),
    module("reclaim", ".goals", "goals of the reclaiming module", "6.9",
        "quota_mem_pressure_us", "quota_autotune_feedback"),
    module("stat", "", "statistics by a module", "6.17",
        "enabled", "estimated_memory_bandwidth", "memory_idle_ms_percentiles"),
    module("reclaim", ".addr_unit", "address units of the reclaiming module", "6.18",
        "addr_unit"),
    module("lru_sort", ".addr_unit", "address units of the sorting module", "6.18",
        "addr_unit"),
    module("stat", ".interval", "the tuned interval of the counting module", "6.18",
        "aggr_interval_us"),
    module("lru_sort", ".goals", "goals of the sorting module", "7.0",
        "active_mem_bp", "autotune_monitoring_intervals", "filter_young_pages"),
    module("reclaim", ".auto_tune", "intervals of the reclaiming module that tune themselves",
        "7.2", "autotune_monitoring_intervals"),
    module("stat", ".pid", "the counting module's thread", "7.2", "kdamond_pid"),
)  # fmt: skip

_BY_NAME = {feature.name: feature for feature in FEATURES}
_BY_FILE = {path: each for each in FEATURES for path in (*each.files, *each.results)}
_BY_WORD = {pair: each for each in FEATURES for pair in each.words}


def by_file(pattern: str) -> Feature | None:
    """Return the feature that brought a file, or None for the first kernels' files."""
    return _BY_FILE.get(pattern)


def by_word(pattern: str, word: str) -> Feature | None:
    """Return the feature that brought a word of a file, or None."""
    return _BY_WORD.get((pattern, word))


def needed(pattern: str, word: str) -> list[Feature]:
    """Return the features that a file, and a word in it, need."""
    shared = pattern.replace("core_filters", "filters").replace("ops_filters", "filters")
    found = (by_file(pattern), by_word(pattern, word), by_word(shared, word))
    return [feature for feature in dict.fromkeys(found) if feature is not None]


def siblings(feature: Feature) -> frozenset[str]:
    """Return the names of all words that the same files take.

    A kernel that has none of them uses other names, so that one is missing says nothing.
    """
    patterns = {where for where, _ in feature.words}
    others = (each for each in FEATURES if any(where in patterns for where, _ in each.words))
    names = {each.btf for each in others} | {WORDS.get(where, "") for where in patterns}
    return frozenset(name for name in names if name and "." not in name)


def first_kernel(name: str) -> str:
    """Say since when kernels have a feature, for messages."""
    since = _BY_NAME[name].since
    return "only the development tree has it" if since == DEVELOPMENT else f"Linux {since} has it"
