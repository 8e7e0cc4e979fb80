"""Scenes of kdamonds that are started, changed and stopped, and of refusals.

Linux 6.12 stops a kdamond whose commit it refuses; so each commit that may be refused is
followed by whatever starts the kdamond again.
"""

from __future__ import annotations

from tests.guest.inside.answers import Step

from .words import (
    CGROUP,
    COMMANDS,
    LARGE,
    MOST,
    PAGE,
    PLACE,
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
    configured,
    exits,
    listing,
    scene,
    started,
    write,
    writes,
)

__all__ = ("SCENES",)

_NOWHERE = "/no/such"
_AFTER = PLACE + PAGE
_TRIED = ask("update_schemes_stats", f"{S}/stats/nr_tried", "more")
_STAGED = (*started(), *write("0/state", "off"))


Change = tuple[Steps, Steps]
"""Steps that may stage something wrong, and those that take it back."""


def _starts(*changes: Change) -> Steps:
    """Start with what may be wrong."""
    return tuple(
        step for bad, good in changes for step in (*bad, *write("0/state", "on", "off"), *good)
    )


def _commits(*changes: Change) -> Steps:
    """Change a kdamond that is on to what may be wrong; it runs that until the next one."""
    return (
        *write("0/state", "on"),
        *(
            step
            for bad, good in changes
            for step in (*bad, *write("0/state", "commit"), *good, *write("0/state", "on"))
        ),
        *write("0/state", "off"),
    )


def _both(*changes: Change) -> Steps:
    return (*_starts(*changes), *_commits(*changes))


def _value(path: str, bad: object, good: object) -> Change:
    return write(path, bad), write(path, good)


def _spans(*spans: tuple[int, int]) -> Steps:
    """Stage the regions of the first target."""
    return (
        *write(f"{T}/0/regions/nr_regions", len(spans)),
        *(
            step
            for number, (start, end) in enumerate(spans)
            for step in writes(f"{T}/0/regions/{number}", start=start, end=end)
        ),
    )


def _regions(*spans: tuple[int, int]) -> Change:
    return _spans(*spans), _spans((PLACE, _AFTER))


def _first(directory: str, count: str, **files: object) -> Change:
    """Make a numbered directory with these files, and remove it again."""
    return (
        (*write(f"{directory}/{count}", 1), *writes(f"{directory}/0", **files)),
        write(f"{directory}/{count}", 0),
    )


def _filter(layer: str, **files: object) -> Change:
    return _first(f"{S}/{layer}", "nr_filters", **files)


def _goal(**files: object) -> Change:
    return _first(G, "nr_goals", **files)


def _probe(**files: object) -> Change:
    here = f"{A}/probes"
    bad, _ = _first(f"{here}/0/filters", "nr_filters", **files)
    return (*write(f"{here}/nr_probes", 1), *bad), write(f"{here}/nr_probes", 0)


SCENES = (
    scene(
        "starting and stopping",
        write("nr_kdamonds", 1),
        write("0/state", "on"),
        write("0/contexts/nr_contexts", 1),
        write("0/state", "on", "off", "off"),  # without targets it ends by itself
        write(f"{C}/operations", "paddr"),
        write("0/state", "on", "on"),
        write("nr_kdamonds", 1, "x"),
        write("0/state", "off", "off", "on", "off"),
        configured(),
        write("0/state", "on", "bogus", "", "on\n"),
        _TRIED,
        write("0/state", *COMMANDS, "off\n"),
        write("0/state", *COMMANDS[-4:], *COMMANDS),
        write("0/state", "off", "on", "commit", "off"),
        write("0/contexts/nr_contexts", 1),
        write("0/state", "commit", "update_schemes_stats", "off"),
    ),
    scene(
        "two kdamonds",
        write("nr_kdamonds", 3),
        configured(slot=0),
        configured("vaddr", slot=2),
        write("0/state", "on"),
        write("2/state", "on", "on"),
        write("1/state", "on", "off"),
        write("0/state", "off"),
        write("nr_kdamonds", 1),
        write("0/state", "on"),
        write("2/state", "commit", "off"),
        write("nr_kdamonds", 3),
        write("0/state", "off"),
        write("nr_kdamonds", 3),
    ),
    scene(
        "monitoring attributes that are wrong",
        _STAGED,
        _starts(
            _value(f"{A}/nr_regions/min", 1001, 10),
            _value(f"{I}/sample_us", 20_000, 5000),
            _value(f"{I}/update_us", 1, 1_000_000),
        ),
        _both(
            _value(f"{A}/nr_regions/min", 2, 10),
            _value(f"{I}/sample_us", 20_001, 5000),
            (
                writes(f"{I}/intervals_goal", aggrs=3, min_sample_us=6000, max_sample_us=8000),
                writes(f"{I}/intervals_goal", aggrs=0),
            ),
            _value(f"{C}/operations", "fvaddr", "paddr"),
            _value(f"{C}/addr_unit", 3, 1),
            _value(f"{C}/addr_unit", 2, 1),
        ),
    ),
    scene(
        "targets that are wrong",
        _STAGED,
        _both(
            (
                write(f"{T}/nr_targets", 2),
                (*write(f"{T}/nr_targets", 1), *_spans((PLACE, _AFTER))),
            ),
            _regions((_AFTER, PLACE)),
            _regions((PLACE, _AFTER + 1), (_AFTER, _AFTER + PAGE)),
            _regions((_AFTER, _AFTER + PAGE), (PLACE, _AFTER)),
            _regions((PLACE, _AFTER), (_AFTER, _AFTER + PAGE)),
            _value(f"{T}/0/obsolete_target", "Y", "N"),
            (
                write(f"{T}/nr_targets", 0),
                (*write(f"{T}/nr_targets", 1), *_spans((PLACE, _AFTER))),
            ),
        ),
        # changing these once they run is the end of Linux 6.18
        _starts(_regions((PLACE + 1, PLACE + 100), (PLACE + 200, PLACE + 300))),
    ),
    scene(
        "processes that are wrong",
        started("vaddr"),
        write("0/state", "commit", "off"),
        _both(
            _value(f"{T}/0/pid_target", 0, "pid of one"),
            _value(f"{T}/0/pid_target", 2147483647, "pid of one"),
            (
                write(f"{T}/nr_targets", 2),
                (*write(f"{T}/nr_targets", 1), *write(f"{T}/0/pid_target", "pid of one")),
            ),
            (
                write(f"{T}/nr_targets", 0),
                (*write(f"{T}/nr_targets", 1), *write(f"{T}/0/pid_target", "pid of one")),
            ),
            _value(f"{T}/0/obsolete_target", "Y", "N"),
            _value(f"{C}/operations", "paddr", "vaddr"),
            _value(f"{C}/operations", "fvaddr", "vaddr"),
            _value(f"{C}/addr_unit", 3, 1),
        ),
    ),
    scene(
        "schemes that are wrong",
        _STAGED,
        _starts(
            _value(f"{S}/access_pattern/nr_accesses/min", MOST + 1, 0),
            _value(f"{Q}/weights/sz_permil", 1001, 0),
            _value(f"{S}/action", "hugepage", "stat"),
        ),
        _both(
            _value(f"{S}/access_pattern/sz/min", LARGE, 0),
            _value(f"{Q}/fail_charge_denom", 0, 1),
            _value(f"{S}/action", "migrate_cold", "stat"),
            _first(f"{S}/dests", "nr_dests", id=99, weight=0),
            (write(f"{C}/schemes/nr_schemes", 0), write(f"{C}/schemes/nr_schemes", 1)),
            (write(f"{C}/schemes/nr_schemes", 2), write(f"{C}/schemes/nr_schemes", 1)),
        ),
        _starts(
            (
                writes(W, metric="free_mem_rate", interval_us=100_000, high=1, mid=500, low=2000),
                writes(W, metric="none"),
            ),
        ),
    ),
    scene(
        "filters that are wrong",
        (Step("mkdir", CGROUP),),
        _STAGED,
        _both(
            _filter("filters", type="memcg"),
            _filter("filters", type="memcg", memcg_path=_NOWHERE),
            _filter("filters", type="memcg", memcg_path=f"{CGROUP}\n"),
            _filter("filters", type="addr", addr_start=2, addr_end=1),
            _filter("filters", type="hugepage_size", min=2, max=1),
            _filter("ops_filters", type="memcg", memcg_path=_NOWHERE),
        ),
        _starts(
            _filter("filters", type="memcg", memcg_path=CGROUP),
            _filter("filters", type="memcg", memcg_path=f"{CGROUP}/"),
            _filter("filters", type="memcg", memcg_path=f"/{CGROUP}"),
            _filter("filters", type="memcg", memcg_path=CGROUP[1:]),
            _filter("filters", type="memcg", memcg_path="/"),
            _filter("filters", type="addr", addr_start=1, addr_end=1),
            _filter("filters", type="target", damon_target_idx=7),
            _filter("core_filters", type="addr", addr_start=2, addr_end=1),
            _filter("ops_filters", type="hugepage_size", min=2, max=1),
            _filter("ops_filters", type="unmapped", matching="Y", allow="Y"),
        ),
        (Step("rmdir", CGROUP),),
    ),
    scene(
        "goals and probes that are wrong",
        (Step("mkdir", CGROUP),),
        _STAGED,
        _both(
            _goal(target_value=0),
            _goal(target_metric="node_memcg_used_bp", target_value=9000, path=_NOWHERE),
            _goal(target_metric="node_eligible_mem_bp", target_value=9000),
            _probe(type="memcg", path=_NOWHERE),
            (
                (*write(f"{A}/probes/nr_probes", 1), *write(f"{A}/probes/0/weight", MOST)),
                write(f"{A}/probes/nr_probes", 0),
            ),
        ),
        _starts(
            _goal(target_metric="some_mem_psi_us", target_value=1000),
            _goal(target_metric="node_mem_used_bp", target_value=9000, nid=1),
            _goal(target_metric="node_memcg_free_bp", target_value=9000, path=CGROUP),
            _goal(target_metric="node_memcg_free_bp", target_value=0, path=_NOWHERE),
            _probe(type="memcg", path=CGROUP),
            _probe(type="anon", path=_NOWHERE),
        ),
        writes(C, operations="vaddr"),
        writes(f"{T}/0", pid_target="pid of one"),
        _both(_goal(target_metric="node_eligible_mem_bp", target_value=9000)),
        (Step("rmdir", CGROUP),),
    ),
    scene(
        "directories wiped while it runs",
        started(),
        _TRIED,
        write(f"{S}/filters/nr_filters", 2),
        write(f"{C}/schemes/nr_schemes", 1),
        write("0/state", "commit", "update_schemes_stats"),
        write(f"{C}/schemes/nr_schemes", 3),
        write("0/state", "update_schemes_effective_quotas", "clear_schemes_tried_regions"),
        write("0/state", "commit"),
        write(f"{C}/schemes/nr_schemes", 0),
        write("0/state", "update_schemes_stats", "commit", "update_schemes_stats"),
        write("0/contexts/nr_contexts", 1),
        write("0/state", "update_schemes_stats", "commit", "off"),
        started(),
        write("0/contexts/nr_contexts", 0),
        write("0/state", "commit"),
        listing(C),
        write("0/state", "off", "on"),
    ),
    scene(
        "processes that end",
        started("vaddr"),
        write("0/state", "off"),
        write(f"{T}/nr_targets", 2),
        write(f"{T}/0/pid_target", "pid of one"),
        write(f"{T}/1/pid_target", "pid of two"),
        write("0/state", "on"),
        _TRIED,
        (exits("one"),),
        write("0/state", "update_schemes_stats", "commit"),
        write("0/state", "off", "on"),  # refused: a process that is no more
        write(f"{T}/0/pid_target", "pid of two"),
        write("0/state", "on"),
        write(f"{T}/1/pid_target", "pid of three"),
        write("0/state", "commit"),
        write(f"{T}/0/obsolete_target", "Y"),
        write("0/state", "commit"),
        write(f"{T}/nr_targets", 1),
        write(f"{T}/0/pid_target", "pid of three"),
        write("0/state", "commit"),
        (exits("two"), exits("three")),
        write("0/state", "commit", "update_schemes_stats", "off"),
    ),
)
