"""The one table of what kernels can do: feature, files or word, BTF name, version, commit.

Versions are for people; whether a feature is there is decided by presence alone
(`capabilities.py`). Paths are those of `tree.pattern`: below the kdamonds directory, with
``*`` for numbers. Commits are those of torvalds/linux.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ("DEVELOPMENT", "FEATURES", "Feature", "by_file", "by_word", "first_kernel", "needed")

_K = "*"
_C = f"{_K}/contexts/*"
_A = f"{_C}/monitoring_attrs"
_S = f"{_C}/schemes/*"
_Q = f"{_S}/quotas"

DEVELOPMENT = "damon/next"
"""In no released kernel: only in the development tree."""


@dataclass(frozen=True, slots=True)
class Feature:
    """One thing that some kernels have.

    ``files`` are complete patterns; ``word`` is a pattern and a word that its file takes;
    ``btf`` is a name as `btf.damon_names` gives it; ``since`` a version or `DEVELOPMENT`.
    """

    name: str
    what: str
    since: str
    commit: str = ""
    files: tuple[str, ...] = ()
    word: tuple[str, str] = ("", "")
    btf: str = ""


def _goal(metric: str, since: str, commit: str) -> Feature:
    return Feature(
        f"quota.goal.{metric}",
        f"quota goals on {metric}",
        since,
        commit,
        word=(f"{_Q}/goals/*/target_metric", metric),
        btf=f"DAMOS_QUOTA_{metric.upper()}",
    )


def _filter(name: str, since: str, commit: str = "") -> Feature:
    return Feature(
        f"filter.{name}",
        f"DAMOS filters on {name}",
        since,
        commit,
        word=(f"{_S}/filters/*/type", name),
        btf=f"DAMOS_FILTER_TYPE_{name.upper()}",
    )


def _action(name: str, since: str, commit: str) -> Feature:
    return Feature(
        f"action.{name}",
        f"the action {name}",
        since,
        commit,
        word=(f"{_S}/action", name),
        btf=f"DAMOS_{name.upper()}",
    )


def _files(directory: str, *names: str) -> tuple[str, ...]:
    return tuple(f"{directory}/{name}" for name in names)


_FILTER_FILES = ("type", "matching", "memcg_path", "addr_start", "addr_end", "damon_target_idx")
_LAYERS = ("core_filters", "ops_filters")

FEATURES: tuple[Feature, ...] = (
    Feature("sysfs", "DAMON's sysfs interface", "5.18", "c951cd3b8901", files=("nr_kdamonds",),
        btf="damon_sysfs_kdamonds.nr"),
    Feature(
        "ops.fvaddr", "fixed virtual address ranges", "5.19", "b82434471cd2",
        word=(f"{_C}/operations", "fvaddr"), btf="DAMON_OPS_FVADDR",
    ),
    Feature(
        "commit", "changing a running kdamond", "5.19", "adc286e6bdd3",
        word=("*/state", "commit"), btf="DAMON_SYSFS_CMD_COMMIT",
    ),
    Feature(
        "scheme.tried_regions", "the regions that a scheme tried", "6.2",
        btf="damon_sysfs_scheme.tried_regions",
    ),
    Feature(
        "filters", "DAMOS filters", "6.3",
        files=_files(f"{_S}/filters", "nr_filters", *(f"*/{each}" for each in _FILTER_FILES[:3])),
        btf="damon_sysfs_scheme.filters",
    ),
    _filter("anon", "6.3"),
    _filter("memcg", "6.3"),
    Feature(
        "scheme.tried_bytes", "the size of the regions that a scheme tried", "6.6",
        btf="damon_sysfs_scheme_regions.total_bytes",
    ),
    _filter("addr", "6.6"),
    _filter("target", "6.6"),
    Feature(
        "filter.ranges", "files for address ranges and targets of filters", "6.6",
        files=_files(f"{_S}/filters/*", *_FILTER_FILES[3:]),
        btf="damon_sysfs_scheme_filter.addr_range",
    ),
    Feature(
        "scheme.apply_every", "an interval of its own for each scheme", "6.7",
        files=(f"{_S}/apply_interval_us",), btf="damon_sysfs_scheme.apply_interval_us",
    ),
    Feature(
        "quota.goals", "quotas that tune themselves toward goals", "6.8",
        files=_files(f"{_Q}/goals", "nr_goals", "*/target_value", "*/current_value"),
        btf="damon_sysfs_quotas.goals",
    ),
    Feature(
        "quota.effective_bytes", "the quota in effect", "6.9",
        files=(f"{_Q}/effective_bytes",), btf="damon_sysfs_quotas.effective_sz",
    ),
    Feature(
        "quota.goal.metric", "a choice of metrics for goals", "6.9",
        files=(f"{_Q}/goals/*/target_metric",), btf="damos_sysfs_quota_goal.metric",
    ),
    _goal("user_input", "6.8", ""),
    _goal("some_mem_psi_us", "6.9", ""),
    _filter("young", "6.10"),
    _action("migrate_hot", "6.11", ""),
    _action("migrate_cold", "6.11", ""),
    Feature(
        "scheme.target_nid", "the node that pages migrate to", "6.11",
        files=(f"{_S}/target_nid",), btf="damon_sysfs_scheme.target_nid",
    ),
    Feature(
        "scheme.filter_passed", "bytes that passed the page-level filters", "6.14", "626ffabe67c2",
        files=(f"{_S}/stats/sz_ops_filter_passed",),
        btf="damon_sysfs_stats.sz_ops_filter_passed",
    ),
    Feature(
        "filter.allow", "filters that allow", "6.14",
        files=(f"{_S}/filters/*/allow",), btf="damon_sysfs_scheme_filter.allow",
    ),
    _filter("hugepage_size", "6.15", "0431c4262261"),
    _filter("unmapped", "6.15"),
    _filter("active", "6.15", "3b23a44f1f19"),
    Feature(
        "filter.sizes", "files for the size range of filters", "6.15", "0431c4262261",
        files=_files(f"{_S}/filters/*", "min", "max"), btf="damon_sysfs_scheme_filter.sz_range",
    ),
    Feature(
        "filters.layers", "core and page-level filters in directories of their own", "6.15",
        files=tuple(
            path
            for layer in _LAYERS
            for path in _files(
                f"{_S}/{layer}", "nr_filters",
                *(f"*/{each}" for each in (*_FILTER_FILES, "allow", "min", "max")),
            )
        ),
        btf="damon_sysfs_scheme.core_filters",
    ),
    Feature(
        "intervals.auto_tune", "intervals that tune themselves", "6.15", "1eb3471bf574",
        files=_files(
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
        word=("*/state", "update_tuned_intervals"), btf="DAMON_SYSFS_CMD_UPDATE_TUNED_INTERVALS",
    ),
    _goal("node_mem_used_bp", "6.16", "0e1c773b501f"),
    _goal("node_mem_free_bp", "6.16", "0e1c773b501f"),
    Feature(
        "quota.goal.node", "goals on one node", "6.16", "0e1c773b501f",
        files=(f"{_Q}/goals/*/nid",), btf="damos_sysfs_quota_goal.nid",
    ),
    Feature(
        "migrate.destinations", "several weighted nodes to migrate to", "6.17", "a2c24eae5a15",
        files=_files(f"{_S}/dests", "nr_dests", "*/id", "*/weight"),
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
    _goal("node_memcg_used_bp", "6.19", "6a18bbe48361"),
    _goal("node_memcg_free_bp", "6.19", "6a18bbe48361"),
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
        files=_files(f"{_S}/stats", "nr_snapshots", "max_nr_snapshots"),
        btf="damon_sysfs_stats.max_nr_snapshots",
    ),
    _goal("active_mem_bp", "7.0", "4a6ceb7c9744"),
    _goal("inactive_mem_bp", "7.0", "4a6ceb7c9744"),
    Feature(
        "quota.tuner", "a choice of tuners for goals", "7.1", "8719c59c4b928",
        files=(f"{_Q}/goal_tuner",), btf="damon_sysfs_quotas.goal_tuner",
    ),
    _action("collapse", "7.2", "58996503b631"),
    _goal("node_eligible_mem_bp", "7.2", "9138e27a3bc3"),
    Feature(
        "pause", "pausing a kdamond", "7.2", "3b9e3cc0405b4",
        files=(f"{_C}/pause",), btf="damon_sysfs_context.pause",
    ),
    Feature(
        "quota.fail_charge", "charging failed attempts less", "7.2", "c7ec7d5f6b3d1",
        files=_files(_Q, "fail_charge_num", "fail_charge_denom"),
        btf="damon_sysfs_quotas.fail_charge_num",
    ),
    Feature(
        "probes", "probes of data attributes", "7.2", "45c49d9fd6089",
        files=_files(
            f"{_A}/probes", "nr_probes", "*/filters/nr_filters", "*/filters/*/type",
            "*/filters/*/matching", "*/filters/*/allow", "*/filters/*/path",
        ),
        btf="damon_sysfs_attrs.probes",
    ),
    Feature(
        "probe.anon", "probes on anonymous memory", "7.2", "8caba1448278",
        word=(f"{_A}/probes/*/filters/*/type", "anon"), btf="DAMON_FILTER_TYPE_ANON",
    ),
    Feature(
        "probe.memcg", "probes on a cgroup's memory", "7.2", "c71f8e13462d",
        word=(f"{_A}/probes/*/filters/*/type", "memcg"), btf="DAMON_FILTER_TYPE_MEMCG",
    ),
    Feature(
        "probe.weight", "probes that take the place of access checks", "7.3", "37aae41c1056",
        files=(f"{_A}/probes/*/weight",), btf="damon_sysfs_probe.weight",
    ),
    Feature(
        "probe.preps", "preparations of probes", DEVELOPMENT,
        files=_files(f"{_A}/probes/*/preps", "nr_preps", "*/prep_action"),
        btf="damon_sysfs_probe.preps",
    ),
    Feature(
        "probe.pgidle_unset", "probes on touched pages", DEVELOPMENT,
        word=(f"{_A}/probes/*/filters/*/type", "pgidle_unset"),
        btf="DAMON_FILTER_TYPE_PGIDLE_UNSET",
    ),
    Feature(
        "sample", "choosing which accesses count", DEVELOPMENT,
        files=(
            *_files(f"{_A}/sample/primitives", "page_table", "page_fault"),
            *_files(
                f"{_A}/sample/filters", "nr_filters", "*/type", "*/matching", "*/allow",
                "*/cpumask", "*/tid_arr",
            ),
        ),
        btf="damon_sysfs_attrs.sample",
    ),
    Feature(
        "sample.write", "counting writes or reads only", DEVELOPMENT,
        word=(f"{_A}/sample/filters/*/type", "write"), btf="DAMON_SAMPLE_FILTER_TYPE_WRITE",
    ),
    Feature(
        "sample.cpus", "counting accesses of some CPUs only", DEVELOPMENT,
        word=(f"{_A}/sample/filters/*/type", "cpumask"), btf="DAMON_SAMPLE_FILTER_TYPE_CPUMASK",
    ),
    Feature(
        "sample.threads", "counting accesses of some threads only", DEVELOPMENT,
        word=(f"{_A}/sample/filters/*/type", "threads"), btf="DAMON_SAMPLE_FILTER_TYPE_THREADS",
    ),
)  # fmt: skip

_BY_NAME = {feature.name: feature for feature in FEATURES}


def by_file(pattern: str) -> Feature | None:
    """Return the feature that brought a file, or None for the first kernels' files."""
    return next((feature for feature in FEATURES if pattern in feature.files), None)


def by_word(pattern: str, word: str) -> Feature | None:
    """Return the feature that brought a word of a file, or None."""
    return next((feature for feature in FEATURES if feature.word == (pattern, word)), None)


def needed(pattern: str, word: str) -> list[Feature]:
    """Return the features that a file, and a word in it, need."""
    shared = pattern.replace("core_filters", "filters").replace("ops_filters", "filters")
    found = (by_file(pattern), by_word(pattern, word), by_word(shared, word))
    return [feature for feature in dict.fromkeys(found) if feature is not None]


def first_kernel(name: str) -> str:
    """Say since when kernels have a feature, for messages."""
    since = _BY_NAME[name].since
    return "only the development tree has it" if since == DEVELOPMENT else f"Linux {since} has it"
