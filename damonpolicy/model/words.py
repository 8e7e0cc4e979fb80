"""The table of names: our words, the kernel's files, damo's options.

Hints, plans and docs use it. Standard library only, so that plans can be shown without the model.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

from damonpolicy.kernel.tree import pattern

__all__ = ("FOREIGN", "WORDS", "Word", "by_kernel", "elsewhere", "rank")

_C = "contexts/*"
_A = f"{_C}/monitoring_attrs"
_S = f"{_C}/schemes/*"
_Q = f"{_S}/quotas"


@dataclass(frozen=True, slots=True)
class Word:
    """One setting under its three names.

    ``ours`` is the path in a policy below its kdamond, scheme, target or probe; ``kernel`` the
    pattern below the kdamond's directory; ``unit`` that of the kernel's file.
    """

    ours: str
    kernel: str
    unit: str = "text"
    damo: str = ""


def _pair(ours: str, kernel: str, unit: str, damo: str = "") -> tuple[Word, Word]:
    return (
        Word(f"{ours}.min", f"{kernel}/min", unit, damo),
        Word(f"{ours}.max", f"{kernel}/max", unit, damo),
    )


def _filter(directory: str) -> tuple[Word, ...]:
    base = f"{_S}/{directory}/*"
    return (
        Word("filters.type", f"{base}/type", damo="--damos_filter"),
        Word("filters.not", f"{base}/matching", "negated"),
        Word("filters.allow", f"{base}/allow", "bool"),
        Word("filters.memcg", f"{base}/memcg_path"),
        Word("filters.addr.start", f"{base}/addr_start", "address"),
        Word("filters.addr.end", f"{base}/addr_end", "address"),
        Word("filters.target", f"{base}/damon_target_idx", "count"),
        Word("filters.hugepage_size.min", f"{base}/min", "bytes"),
        Word("filters.hugepage_size.max", f"{base}/max", "bytes"),
    )


WORDS: tuple[Word, ...] = (
    Word("refresh", "refresh_ms", "ms", "--refresh_stat"),
    Word("ops", f"{_C}/operations", damo="--ops"),
    Word("addr_unit", f"{_C}/addr_unit", "count", "--damon_addr_unit"),
    Word("paused", f"{_C}/pause", "bool", "--pause_ctx"),
    Word("targets", f"{_C}/targets/*/pid_target", "pid", "--target_pid"),
    Word("targets.obsolete", f"{_C}/targets/*/obsolete_target", "bool", "--obsolete_targets"),
    Word("targets.regions.start", f"{_C}/targets/*/regions/*/start", "address", "--regions"),
    Word("targets.regions.end", f"{_C}/targets/*/regions/*/end", "address", "--regions"),
    Word("intervals.sample", f"{_A}/intervals/sample_us", "us", "--sample"),
    Word("intervals.aggregation", f"{_A}/intervals/aggr_us", "us", "--aggr"),
    Word("intervals.update", f"{_A}/intervals/update_us", "us", "--updr"),
    Word(
        "intervals.auto_tune.observe", f"{_A}/intervals/intervals_goal/access_bp", "bp",
        "--monitoring_intervals_goal",
    ),
    Word("intervals.auto_tune.aggregations", f"{_A}/intervals/intervals_goal/aggrs", "count"),
    Word("intervals.auto_tune.min_sample", f"{_A}/intervals/intervals_goal/min_sample_us", "us"),
    Word("intervals.auto_tune.max_sample", f"{_A}/intervals/intervals_goal/max_sample_us", "us"),
    *_pair("region_count", f"{_A}/nr_regions", "count", "--monitoring_nr_regions_range"),
    Word("probes.weight", f"{_A}/probes/*/weight", "count", "--probe_weight"),
    Word("probes.filters.type", f"{_A}/probes/*/filters/*/type", damo="--probe_filter"),
    Word("probes.filters.not", f"{_A}/probes/*/filters/*/matching", "negated"),
    Word("probes.filters.allow", f"{_A}/probes/*/filters/*/allow", "bool"),
    Word("probes.filters.memcg", f"{_A}/probes/*/filters/*/path"),
    Word("probes.filters.hugepage_size.min", f"{_A}/probes/*/filters/*/min", "bytes"),
    Word("probes.filters.hugepage_size.max", f"{_A}/probes/*/filters/*/max", "bytes"),
    Word("probes.preps", f"{_A}/probes/*/preps/*/prep_action", damo="--probe_prep"),
    Word("accesses.page_table", f"{_A}/sample/primitives/page_table", "bool"),
    Word(
        "accesses.page_fault", f"{_A}/sample/primitives/page_fault", "bool", "--sample_primitives"
    ),
    Word("accesses.type", f"{_A}/sample/filters/*/type", damo="--exp_ops_write_only"),
    Word("accesses.not", f"{_A}/sample/filters/*/matching", "negated"),
    Word("accesses.allow", f"{_A}/sample/filters/*/allow", "bool"),
    Word("accesses.cpus", f"{_A}/sample/filters/*/cpumask", damo="--exp_ops_cpus"),
    Word("accesses.threads", f"{_A}/sample/filters/*/tid_arr", damo="--exp_ops_tids"),
    Word(
        "accesses.primitive", f"{_C}/operations_attrs/use_reports", "bool",
        "--exp_ops_use_reports",
    ),
    Word("accesses.kind", f"{_C}/operations_attrs/write_only", "bool"),
    Word("accesses.cpus", f"{_C}/operations_attrs/cpus"),
    Word("accesses.threads", f"{_C}/operations_attrs/tids"),
    Word("action", f"{_S}/action", damo="--damos_action"),
    Word("to", f"{_S}/target_nid", "count"),
    Word("to.node", f"{_S}/dests/*/id", "count"),
    Word("to.weight", f"{_S}/dests/*/weight", "count"),
    Word("apply_every", f"{_S}/apply_interval_us", "us", "--damos_apply_interval"),
    *_pair("access_pattern.size", f"{_S}/access_pattern/sz", "bytes", "--damos_sz_region"),
    *_pair(
        "access_pattern.access_rate", f"{_S}/access_pattern/nr_accesses", "samples",
        "--damos_access_rate",
    ),
    *_pair("access_pattern.age", f"{_S}/access_pattern/age", "aggregations", "--damos_age"),
    Word("quota.size", f"{_Q}/bytes", "bytes", "--damos_quota_space"),
    Word("quota.time", f"{_Q}/ms", "ms", "--damos_quota_time"),
    Word("quota.every", f"{_Q}/reset_interval_ms", "ms", "--damos_quota_interval"),
    Word("quota.weights.size", f"{_Q}/weights/sz_permil", "count", "--damos_quota_weights"),
    Word("quota.weights.access_rate", f"{_Q}/weights/nr_accesses_permil", "count"),
    Word("quota.weights.age", f"{_Q}/weights/age_permil", "count"),
    Word("quota.tuner", f"{_Q}/goal_tuner", damo="--damos_quota_goal_tuner"),
    Word(
        "quota.fail_charge", f"{_Q}/fail_charge_num", "count", "--damos_quota_fail_charge_ratio"
    ),
    Word("quota.fail_charge.of", f"{_Q}/fail_charge_denom", "count"),
    Word("quota.goals.metric", f"{_Q}/goals/*/target_metric", damo="--damos_quota_goal"),
    Word("quota.goals.target", f"{_Q}/goals/*/target_value", "goal"),
    Word("quota.goals.current", f"{_Q}/goals/*/current_value", "count"),
    Word("quota.goals.node", f"{_Q}/goals/*/nid", "count"),
    Word("quota.goals.complement", f"{_Q}/goals/*/complement", "bool"),
    Word("quota.goals.cgroup", f"{_Q}/goals/*/path"),
    *_filter("filters"),
    *_filter("core_filters"),
    *_filter("ops_filters"),
    Word("watermarks.metric", f"{_S}/watermarks/metric", damo="--damos_wmarks"),
    Word("watermarks.every", f"{_S}/watermarks/interval_us", "us"),
    Word("watermarks.high", f"{_S}/watermarks/high", "permil"),
    Word("watermarks.mid", f"{_S}/watermarks/mid", "permil"),
    Word("watermarks.low", f"{_S}/watermarks/low", "permil"),
    Word(
        "max_snapshots", f"{_S}/stats/max_nr_snapshots", "count", "--damos_max_nr_snapshots"
    ),
)  # fmt: skip

_BY_KERNEL = {word.kernel: word for word in WORDS}
_RANKS = {word.kernel: rank for rank, word in enumerate(WORDS)}

_WHOLES = {
    "damos_filter": "filters",
    "damos_quota_goal": "quota.goals",
    "damos_quota_weights": "quota.weights",
    "damos_quotas": "quota",
    "damos_wmarks": "watermarks",
    "exp_ops_write_only": "accesses.kind",
    "intervals_goal": "intervals.auto_tune",
    "monitoring_attrs": "intervals` and `region_count",
    "monitoring_intervals": "intervals",
    "monitoring_intervals_goal": "intervals.auto_tune",
    "primitives": "accesses",
    "quotas": "quota",
    "sample_primitives": "accesses",
}
"""Directories, and options that set all of one."""

_BETWEEN = re.compile(r"\.(?:min|max|type|not|allow|of|page_table|page_fault)$")
"""Suffixes of ``Word.ours`` that distinguish files, but are not keys."""

_NOWHERE = ("targets.obsolete", "quota.goals.current")

FOREIGN = {
    "sample_us": "sample",
    "sampling": "sample",
    "aggr": "aggregation",
    "aggr_us": "aggregation",
    "update_us": "update",
    "updr": "update",
    "ops_update": "update",
    "ops_update_us": "update",
    "intervals_goal": "auto_tune",
    "autotune": "auto_tune",
    "access_bp": "observe",
    "aggrs": "aggregations",
    "min_sample_us": "min_sample",
    "max_sample_us": "max_sample",
    "nr_regions": "region_count",
    "operations": "ops",
    "pause": "paused",
    "refresh_ms": "refresh",
    "sample_control": "accesses",
    "contexts": "kdamonds",
    "sz": "size",
    "sz_bytes": "size",
    "sz_region": "size",
    "bytes": "size",
    "space": "size",
    "nr_accesses": "access_rate",
    "frequency": "access_rate",
    "apply_interval": "apply_every",
    "apply_interval_us": "apply_every",
    "quotas": "quota",
    "ms": "time",
    "time_ms": "time",
    "reset_interval": "every",
    "reset_interval_ms": "every",
    "interval": "every",
    "interval_us": "every",
    "sz_permil": "size",
    "nr_accesses_permil": "access_rate",
    "age_permil": "age",
    "goal_tuner": "tuner",
    "target_metric": "metric",
    "target_value": "target",
    "nid": "node",
    "memcg_path": "memcg",
    "target_nid": "to",
    "dests": "to",
    "max_nr_snapshots": "max_snapshots",
    "pid_target": "process",
    "pid": "process",
    "wmarks": "watermarks",
    "deny": "reject",
    "block": "reject",
    "pass": "allow",
    "address": "addr",
    "cpumask": "cpus",
    "tid_arr": "threads",
    "foreach": "for_each",
}
"""Keys of kernel files and damo's configuration files, and our names for them."""


def elsewhere(name: str) -> str:
    """Return the policy key for a kernel file or an option of damo.

    Empty if there is none, or several.
    """
    given = name.removeprefix("--")
    return _WHOLES.get(given) or _elsewhere().get(given, "")


@functools.cache
def _elsewhere() -> dict[str, str]:
    theirs: set[str] = set()
    places: dict[str, set[str]] = {}
    for word in WORDS:
        if word.ours in _NOWHERE:
            continue
        place = _BETWEEN.sub("", word.ours)
        file = word.kernel.removesuffix("/min").removesuffix("/max").rpartition("/")[2]
        names = {word.damo.removeprefix("--"), file} - {"", "*", place}
        theirs |= names
        # ours counts too: `start` may mean any that we have
        for name in names | {place.rpartition(".")[2]}:
            places.setdefault(name, set()).add(place)
    return {name: min(places[name]) for name in theirs if len(places[name]) == 1}


def by_kernel(path: str) -> Word | None:
    """Return the word for a kernel file, by its path below the kdamond's directory."""
    return _BY_KERNEL.get(pattern(path))


def rank(path: str) -> int:
    """Return the position of a kernel file in the order of a policy."""
    return _RANKS.get(pattern(path), len(WORDS))
