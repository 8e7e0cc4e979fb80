"""Scenes about the results of a running kdamond: statistics, quotas, regions, intervals."""

from __future__ import annotations

from .words import (
    LARGE,
    A,
    C,
    G,
    I,
    Q,
    S,
    Steps,
    T,
    W,
    ask,
    listing,
    read,
    scene,
    started,
    write,
    writes,
)

__all__ = ("SCENES",)

_R = f"{S}/tried_regions"
_HOUR = 3_600_000
_STATS = "update_schemes_stats"
_EFFECTIVE = "update_schemes_effective_quotas"
_REGIONS = "update_schemes_tried_regions"
_BYTES = "update_schemes_tried_bytes"
_CLEAR = "clear_schemes_tried_regions"
_TRIED = ask(_STATS, f"{S}/stats/nr_tried", "more")
_EFFECT: Steps = (_TRIED, *write("0/state", _EFFECTIVE))
_STAGED: Steps = (*started(), *write("0/state", "off"))


def _goal(target: int, current: int) -> Steps:
    return writes(f"{G}/0", target_value=target, current_value=current)


SCENES = (
    scene(
        "statistics",
        started(),
        _TRIED,
        write("0/state", "commit", _STATS),
        write(f"{C}/schemes/nr_schemes", 1),
        write("0/state", "commit", _STATS, "off", "on", _STATS),  # nothing is 0 bytes large
    ),
    scene(
        "statistics of a process",
        started("vaddr"),
        _TRIED,
    ),
    scene(
        "a scheme that ends after some snapshots",
        _STAGED,
        write(f"{S}/stats/max_nr_snapshots", 1),
        write("0/state", "on"),
        _TRIED,
        write("0/state", _STATS, "commit", "off"),
    ),
    scene(
        "tried regions",
        started(),
        write("0/state", _REGIONS),
        listing(f"{_R}/0", f"{_R}/0/probes"),
        write(f"{_R}/0/start", 1),
        write("0/state", _BYTES, _REGIONS, _REGIONS, _CLEAR),
        read(f"{_R}/0/age", f"{_R}/1/age"),
        write("0/state", "off", _CLEAR, "on", _CLEAR),
        write(f"{S}/access_pattern/sz/min", 8192),
        write("0/state", "commit", _REGIONS, _BYTES),
        write(f"{C}/schemes/nr_schemes", 2),
        write("0/state", "commit", _REGIONS, _CLEAR),
        write(f"{C}/schemes/nr_schemes", 0),
        write("0/state", "commit", _REGIONS, _BYTES, _CLEAR),
    ),
    scene(
        "tried regions of a process' addresses",
        started("fvaddr"),
        write("0/state", _REGIONS),
        write(f"{S}/ops_filters/nr_filters", 1),
        write(f"{S}/ops_filters/0/type", "anon"),
        write("0/state", "commit", _REGIONS, _CLEAR),
        write(f"{S}/filters/nr_filters", 1),
        writes(f"{S}/filters/0", type="target", matching="Y"),
        write("0/state", "commit", _REGIONS),
        write(f"{S}/filters/0/damon_target_idx", 1),
        write("0/state", "commit", _REGIONS),
    ),
    scene(
        "a pause",
        started(),
        _TRIED,
        write(f"{C}/pause", "Y"),
        write("0/state", "commit", _STATS),
        write(f"{C}/pause", "N"),
        write("0/state", "commit", _REGIONS),
    ),
    scene(
        "watermarks that let no scheme work",
        _STAGED,
        writes(W, metric="free_mem_rate", interval_us=50_000, high=0, mid=0, low=0),
        write("0/state", "on", _STATS, _EFFECTIVE, _REGIONS, _BYTES, _CLEAR, "off"),
        writes(W, high=1000, mid=1000),
        write("0/state", "on", _REGIONS, "commit"),
    ),
    scene(
        "quotas of sizes",
        _STAGED,
        writes(Q, bytes=1_000_000, reset_interval_ms=40),
        write("0/state", "on"),
        (ask(_EFFECTIVE, f"{Q}/effective_bytes", 1_000_000),),
        write(f"{Q}/bytes", 4096),
        write("0/state", _EFFECTIVE, "commit"),
        (ask(_EFFECTIVE, f"{Q}/effective_bytes", 4096),),
        write("0/state", "off"),
        write(f"{Q}/bytes", LARGE),
        write("0/state", "on"),
        (ask(_EFFECTIVE, f"{Q}/effective_bytes", LARGE),),
    ),
    scene(
        "the first window of a quota",
        _STAGED,
        writes(Q, bytes=1_000_000, reset_interval_ms=_HOUR),
        write("0/state", "on"),
        _EFFECT,
        write(f"{Q}/bytes", 4096),
        write("0/state", "commit"),
        ask(_EFFECTIVE, f"{Q}/effective_bytes", 4096),  # some never say so
        write("0/state", "off"),
        writes(Q, bytes=0, ms=10),
        write("0/state", "on"),
        _EFFECT,
        write("0/state", "off"),
        writes(Q, bytes=5000),
        write("0/state", "on"),
        _EFFECT,
    ),
    scene(
        "a quota for less than a page",
        _STAGED,
        writes(Q, bytes=1, reset_interval_ms=40),
        write("0/state", "on"),
        ask(_EFFECTIVE, f"{Q}/effective_bytes", 1),
        _TRIED,
        write("0/state", _REGIONS, _BYTES),
    ),
    scene(
        "goals that are fed",
        _STAGED,
        writes(Q, bytes=64, reset_interval_ms=40),
        write(f"{G}/nr_goals", 1),
        _goal(10_000, 10_000),
        write("0/state", "on"),
        (ask(_EFFECTIVE, f"{Q}/effective_bytes", 1),),
        _goal(10_000, 20_000),
        write("0/state", "commit_schemes_quota_goals", _EFFECTIVE),
        _goal(10_000, 0),
        write("0/state", "commit_schemes_quota_goals"),
        (ask(_EFFECTIVE, f"{Q}/effective_bytes", 64),),
        write("0/state", "off"),
        write(f"{Q}/goal_tuner", "temporal"),
        write("0/state", "on"),
        (ask(_EFFECTIVE, f"{Q}/effective_bytes", 64),),
        write(f"{G}/nr_goals", 0),
        write("0/state", "commit_schemes_quota_goals", "commit"),
    ),
    scene(
        "goals on what is not there",
        started(),
        write(f"{G}/nr_goals", 1),
        writes(f"{G}/0", target_metric="node_memcg_used_bp", target_value=1, path="/no/such"),
        write("0/state", "commit_schemes_quota_goals", "off"),
    ),
    scene(
        "tuned intervals",
        _STAGED,
        writes(
            f"{I}/intervals_goal", access_bp=400, aggrs=1, min_sample_us=5000, max_sample_us=5000
        ),
        write("0/state", "on", "update_tuned_intervals"),
        writes(I, sample_us=7000, aggr_us=28_000),
        write("0/state", "update_tuned_intervals"),
        writes(I, sample_us=7000, aggr_us=28_000),
        write("0/state", "commit"),
        writes(f"{I}/intervals_goal", min_sample_us=7000, max_sample_us=7000),
        write("0/state", "off", "on", "update_tuned_intervals"),
    ),
    scene(
        "results that come by themselves",
        _STAGED,
        write(f"{S}/apply_interval_us", 2_000_000),  # not before we have looked
        writes(Q, bytes=1_000_000, reset_interval_ms=40),
        write("0/refresh_ms", 20),
        write("0/state", "on"),
        (ask("", f"{Q}/effective_bytes", 1_000_000),),
    ),
    scene(
        "other units of addresses",
        _STAGED,
        write(f"{C}/addr_unit", 4096),
        writes(f"{T}/0/regions/0", start=4096, end=4097),
        write("0/state", "on", _REGIONS),
        write(f"{C}/addr_unit", 1),
        write("0/state", "commit"),
    ),
    scene(
        "a probe",
        started(),
        write(f"{A}/probes/nr_probes", 1),
        write(f"{A}/probes/0/filters/nr_filters", 1),
        writes(f"{A}/probes/0/filters/0", type="anon", matching="Y", allow="Y"),
        write("0/state", "commit", _REGIONS),
        write(f"{A}/probes/nr_probes", 0),
        write("0/state", "commit", _REGIONS),
    ),
)
