"""Scenes without a running kdamond: every file gets right and wrong values."""

from __future__ import annotations

from .words import (
    BOOLEANS,
    COMMANDS,
    COUNTS,
    INTEGERS,
    LARGE,
    NUMBERS,
    PATHS,
    A,
    C,
    F,
    G,
    I,
    Q,
    S,
    Steps,
    T,
    W,
    listing,
    read,
    scene,
    write,
    writes,
)

__all__ = ("SCENES",)

_SCHEME: Steps = (
    *write("nr_kdamonds", 1),
    *write("0/contexts/nr_contexts", 1),
    *write(f"{C}/schemes/nr_schemes", 1),
)
_TYPES = ("anon", "active", "memcg", "young", "hugepage_size", "unmapped", "addr", "target")
_METRICS = (
    "some_mem_psi_us", "node_mem_used_bp", "node_mem_free_bp", "node_memcg_used_bp",
    "node_memcg_free_bp", "active_mem_bp", "inactive_mem_bp", "node_eligible_mem_bp",
    "hugepage_mem_bp", "user_input",
)  # fmt: skip


def _filter_layer(name: str) -> Steps:
    """Write all files of one of the three directories of filters."""
    here = f"{S}/{name}"
    return (
        *write(f"{here}/nr_filters", *COUNTS, 2),
        *write(f"{here}/0/type", *_TYPES, "Anon", "anon ", "", "pgidle_unset", "addr\n", "young\n"),
        *write(f"{here}/0/matching", *BOOLEANS),
        *write(f"{here}/0/allow", "1", "enable", "x"),
        *write(f"{here}/0/pass", "Y"),
        *write(f"{here}/1/memcg_path", *PATHS),
        *(step for name in ("addr_start", "addr_end", "min", "max")
          for step in write(f"{here}/1/{name}", 8192, "-1", LARGE, "1K")),
        *write(f"{here}/1/damon_target_idx", *INTEGERS),
        *write(f"{here}/nr_filters", 2, 1, 0),
    )  # fmt: skip


SCENES = (
    scene(
        "kdamonds",
        write(
            "nr_kdamonds", 2, "x", "-1", "0x1", "01", "08", "+1", "++1", "1\n", "1\n\n", "1 ", " 1",
            "1x", "2147483648", "4294967297", "9" * 30, "1\0x", "", 0,
        ),
        read("0/state", "nope", ""),
        listing("0", "nr_kdamonds", "nope", ""),
        write("0/state", "on"),
        write("nr_kdamonds", 3),
        read("2/state", "3/state", "0", "0/state/x", "0/contexts/0", "2/contexts/nr_contexts"),
        listing("3", "0/contexts", "0/contexts/0", "0/state"),
        write("0", "x"),
        write("0/nope", "x"),
        write("0/state/x", "x"),
        write("0/pid", "1", ""),
        write("0/refresh_ms", *NUMBERS, "4294967295", "4294967296", 0),
        write("1/contexts/nr_contexts", 1),
        write("nr_kdamonds", 3, 2, 0),
    ),
    scene(
        "commands without anything to command",
        write("nr_kdamonds", 1),
        write("0/state", "on", "off", "commit", "update_schemes_stats", "", "ON", "on ", " on", "on\n", "on\n\n", "bogus"),
        write("0/state", "update_schemes", "commit\n"),
        write("0/contexts/nr_contexts", 1),
        write("0/state", "off", *COMMANDS),
    ),
    scene(
        "contexts",
        write("nr_kdamonds", 2),
        write("1/contexts/nr_contexts", *COUNTS, 0, 1),
        write("0/contexts/nr_contexts", 1),
        write(f"{C}/operations", "fvaddr", "paddr", "vaddr", "paddr\n", "paddr ", "PADDR", "x", ""),
        write(f"{C}/avail_operations", "vaddr"),
        write(f"{C}/addr_unit", *NUMBERS, 4096, 3, 0),
        write(f"{C}/pause", *BOOLEANS, "n"),
        write("0/contexts/nr_contexts", 1),
        read(f"{C}/operations", f"{C}/avail_operations"),
        write("0/contexts/nr_contexts", 2),
        listing(C),
        write("0/contexts/nr_contexts", 0),
        listing(C),
        write(f"{C}/operations", "vaddr"),
    ),
    scene(
        "monitoring attributes",
        write("nr_kdamonds", 1),
        write("0/contexts/nr_contexts", 1),
        write(f"{I}/sample_us", *NUMBERS, "+5", "1 ", " 1", "1K", "1e3", "0x", "0b1", ""),
        write(f"{I}/aggr_us", *NUMBERS),
        write(f"{I}/update_us", *NUMBERS),
        write(f"{I}/intervals_goal/access_bp", *NUMBERS),
        write(f"{I}/intervals_goal/aggrs", *NUMBERS),
        write(f"{I}/intervals_goal/min_sample_us", *NUMBERS),
        write(f"{I}/intervals_goal/max_sample_us", *NUMBERS),
        write(f"{A}/nr_regions/min", 0, 2, *NUMBERS),
        write(f"{A}/nr_regions/max", 0, *NUMBERS),
        listing(f"{A}/sample", f"{A}/probes"),
        write(f"{A}/sample/filters/nr_filters", 1),
    ),
    scene(
        "probes",
        write("nr_kdamonds", 1),
        write("0/contexts/nr_contexts", 1),
        write(f"{A}/probes/nr_probes", *COUNTS, 4, 5, 2),
        write(f"{A}/probes/0/weight", *NUMBERS, "4294967295", "4294967296"),
        write(f"{A}/probes/0/filters/nr_filters", *COUNTS),
        write(f"{A}/probes/0/filters/0/type", "memcg", *_TYPES, "pgidle_unset", "x", "memcg\n"),
        write(f"{A}/probes/0/filters/0/matching", *BOOLEANS),
        write(f"{A}/probes/0/filters/0/allow", *BOOLEANS),
        write(f"{A}/probes/0/filters/0/path", *PATHS),
        write(f"{A}/probes/0/preps/nr_preps", 1),
        write(f"{A}/probes/0/filters/nr_filters", 1, 0),
        write(f"{A}/probes/nr_probes", 2, 0),
    ),
    scene(
        "targets",
        write("nr_kdamonds", 1),
        write("0/contexts/nr_contexts", 1),
        write(f"{T}/nr_targets", *COUNTS, 2),
        write(f"{T}/0/pid_target", 1, 0, -1, "2147483647", "2147483648", "9" * 20, "x", "1 ", "07"),
        write(f"{T}/1/obsolete_target", *BOOLEANS),
        write(f"{T}/1/regions/nr_regions", *COUNTS, 2),
        write(f"{T}/1/regions/0/start", *NUMBERS),
        write(f"{T}/1/regions/1/end", *NUMBERS),
        write(f"{T}/1/regions/nr_regions", 3),
        write(f"{T}/nr_targets", 2, 1),
        listing(f"{T}/1"),
        write(f"{T}/nr_targets", 0),
        listing(f"{T}/0"),
    ),
    scene(
        "schemes",
        write("nr_kdamonds", 1),
        write("0/contexts/nr_contexts", 1),
        write(f"{C}/schemes/nr_schemes", *COUNTS, 2),
        write(
            f"{C}/schemes/1/action", "willneed", "cold", "pageout", "hugepage", "nohugepage",
            "collapse", "lru_prio", "lru_deprio", "migrate_hot", "migrate_cold", "stat",
            "Stat", "stat ", "cold\n", "mergeable", "",
        ),
        write(f"{S}/apply_interval_us", *NUMBERS),
        write(f"{S}/target_nid", *INTEGERS, 0, -2, 99),
        *(
            write(f"{S}/access_pattern/{name}/{end}", 5, "4294967296", LARGE, "-1", "10%", 3)
            for name in ("sz", "nr_accesses", "age")
            for end in ("min", "max")
        ),
        *(
            write(f"{S}/stats/{name}", 0)
            for name in ("nr_tried", "sz_applied", "qt_exceeds", "sz_ops_filter_passed",
                         "nr_snapshots")
        ),
        write(f"{S}/stats/max_nr_snapshots", *NUMBERS),
        write(f"{S}/tried_regions/total_bytes", 0),
        write(f"{S}/tried_regions/nr_regions", 0),
        listing(f"{S}/tried_regions", f"{S}/tried_regions/0"),
        write(f"{C}/schemes/nr_schemes", 2, 1),
        listing(f"{C}/schemes/1"),
        write(f"{C}/schemes/nr_schemes", 0),
    ),
    scene(
        "quotas",
        _SCHEME,
        write(f"{Q}/ms", *NUMBERS),
        write(f"{Q}/bytes", *NUMBERS, "1G"),
        write(f"{Q}/reset_interval_ms", *NUMBERS),
        write(f"{Q}/effective_bytes", 1),
        write(f"{Q}/fail_charge_num", *NUMBERS, "4294967296"),
        write(f"{Q}/fail_charge_denom", *NUMBERS, 0),
        write(f"{Q}/goal_tuner", "temporal", "consist", "Consist", "consist\n", "x", ""),
        *(
            write(f"{Q}/weights/{name}_permil", 1000, 1001, "4294967295", "4294967296", -1, "x")
            for name in ("sz", "nr_accesses", "age")
        ),
    ),
    scene(
        "goals",
        _SCHEME,
        write(f"{G}/nr_goals", *COUNTS, 2),
        write(f"{G}/1/target_metric", *_METRICS, "user_input\n", "USER_INPUT", "x", ""),
        write(f"{G}/0/target_value", *NUMBERS),
        write(f"{G}/0/current_value", *NUMBERS),
        write(f"{G}/0/nid", *INTEGERS),
        write(f"{G}/0/path", *PATHS),
        write(f"{G}/nr_goals", 2, 1, 0),
    ),
    scene(
        "destinations and watermarks",
        _SCHEME,
        write(f"{S}/dests/nr_dests", *COUNTS, 2),
        write(f"{S}/dests/1/id", *NUMBERS, "4294967295", "4294967296"),
        write(f"{S}/dests/1/weight", *NUMBERS, "4294967295"),
        write(f"{S}/dests/nr_dests", 2, 0),
        write(f"{W}/metric", "free_mem_rate", "FREE_MEM_RATE", "none\n", "x", "", "free_mem_rate"),
        write(f"{W}/interval_us", *NUMBERS),
        write(f"{W}/high", *NUMBERS, 1001),
        write(f"{W}/mid", *NUMBERS),
        write(f"{W}/low", *NUMBERS),
        writes(C, operations="paddr"),
        write(f"{C}/schemes/nr_schemes", 1),
    ),
    scene("filters", _SCHEME, _filter_layer("filters")),
    scene("core filters", _SCHEME, _filter_layer("core_filters")),
    scene("ops filters", _SCHEME, _filter_layer("ops_filters")),
    scene("a filter that was wiped", _SCHEME, write(f"{F}/0/type", "anon"), listing(F)),
)  # fmt: skip
