"""Typed view of DAMON's tree: each file by the policy's word for it.

``Kdamond(tree).schemes[0].quota.goals[1].target`` is a `File`: its path below the tree, and what it
holds there. Without a tree, the view gives paths. ``tests/kernel/damon/test_view.py`` compares it
with the rows of the schema.
"""

from __future__ import annotations

from collections.abc import Mapping

from damonpolicy.kernel.damon.directory import NO_TREE, Below, D, Directory, Entries, File, Numbered

__all__ = (
    "Dest",
    "EarlyAccesses",
    "Filter",
    "Goal",
    "Intervals",
    "IntervalsGoal",
    "Kdamond",
    "Kdamonds",
    "Pattern",
    "Probe",
    "ProbeFilter",
    "Quota",
    "Range",
    "Region",
    "Sample",
    "SampleFilter",
    "Scheme",
    "Stats",
    "Target",
    "TriedRegion",
    "Watermarks",
    "Weights",
)


def _file(name: str) -> Below[File]:
    return Below(name, File)


def _numbered(name: str, kind: type[D]) -> Below[Numbered[D]]:
    return Below(name, lambda tree, path: Numbered(tree, path, kind))


def _entries(name: str, kind: type[D]) -> Below[Entries[D]]:
    return Below(name, lambda tree, path: Entries(tree, path, kind))


class Range(Directory):
    """Two bounds."""

    __slots__ = ()
    min, max = _file("min"), _file("max")


class Region(Directory):
    """A region of a target."""

    __slots__ = ()
    start, end = _file("start"), _file("end")


class Target(Directory):
    """A target."""

    __slots__ = ()
    pid, obsolete = _file("pid_target"), _file("obsolete_target")
    regions = _numbered("regions", Region)


class IntervalsGoal(Directory):
    """What the kernel tunes intervals toward."""

    __slots__ = ()
    observe, aggregations = _file("access_bp"), _file("aggrs")
    min_sample, max_sample = _file("min_sample_us"), _file("max_sample_us")


class Intervals(Directory):
    """Intervals."""

    __slots__ = ()
    sample, aggregation, update = _file("sample_us"), _file("aggr_us"), _file("update_us")
    auto_tune = Below("intervals_goal", IntervalsGoal)


class ProbeFilter(Directory):
    """A filter of a probe."""

    __slots__ = ()
    type, matching, allow = _file("type"), _file("matching"), _file("allow")
    memcg, min, max = _file("path"), _file("min"), _file("max")


class Prep(Directory):
    """What a probe does before each look."""

    __slots__ = ()
    action = _file("prep_action")


class Probe(Directory):
    """A probe."""

    __slots__ = ()
    weight = _file("weight")
    filters = _numbered("filters", ProbeFilter)
    preps = _numbered("preps", Prep)


class SampleFilter(Directory):
    """A filter of accesses."""

    __slots__ = ()
    type, matching, allow = _file("type"), _file("matching"), _file("allow")
    cpus, threads = _file("cpumask"), _file("tid_arr")


class Sample(Directory):
    """Which accesses count."""

    __slots__ = ()
    page_table, page_fault = _file("primitives/page_table"), _file("primitives/page_fault")
    filters = _numbered("filters", SampleFilter)


class EarlyAccesses(Directory):
    """Which accesses count, in the form that the development tree had first."""

    __slots__ = ()
    use_reports, write_only = _file("use_reports"), _file("write_only")
    cpus, threads = _file("cpus"), _file("tids")


class Dest(Directory):
    """A node that migrated pages go to."""

    __slots__ = ()
    node, weight = _file("id"), _file("weight")


class Pattern(Directory):
    """Which regions a scheme takes."""

    __slots__ = ()
    size = Below("sz", Range)
    access_rate = Below("nr_accesses", Range)
    age = Below("age", Range)


class Weights(Directory):
    """How a quota ranks regions."""

    __slots__ = ()
    size, access_rate, age = _file("sz_permil"), _file("nr_accesses_permil"), _file("age_permil")


class Goal(Directory):
    """A goal of a quota."""

    __slots__ = ()
    metric, target, current = _file("target_metric"), _file("target_value"), _file("current_value")
    node, complement, cgroup = _file("nid"), _file("complement"), _file("path")


class Quota(Directory):
    """A quota."""

    __slots__ = ()
    size, time, every = _file("bytes"), _file("ms"), _file("reset_interval_ms")
    effective_bytes, tuner = _file("effective_bytes"), _file("goal_tuner")
    fail_charge, fail_charge_of = _file("fail_charge_num"), _file("fail_charge_denom")
    weights = Below("weights", Weights)
    goals = _numbered("goals", Goal)


class Filter(Directory):
    """A filter of a scheme."""

    __slots__ = ()
    type, matching, allow = _file("type"), _file("matching"), _file("allow")
    memcg, target = _file("memcg_path"), _file("damon_target_idx")
    start, end, min, max = _file("addr_start"), _file("addr_end"), _file("min"), _file("max")


class Watermarks(Directory):
    """Watermarks."""

    __slots__ = ()
    metric, every = _file("metric"), _file("interval_us")
    high, mid, low = _file("high"), _file("mid"), _file("low")


class Stats(Directory):
    """What a scheme did so far."""

    __slots__ = ()
    nr_tried, sz_tried = _file("nr_tried"), _file("sz_tried")
    nr_applied, sz_applied = _file("nr_applied"), _file("sz_applied")
    sz_ops_filter_passed, qt_exceeds = _file("sz_ops_filter_passed"), _file("qt_exceeds")
    nr_snapshots, max_snapshots = _file("nr_snapshots"), _file("max_nr_snapshots")


class Hits(Directory):
    """What a probe found in a region."""

    __slots__ = ()
    hits = _file("hits")


class TriedRegion(Directory):
    """A region that a scheme tried."""

    __slots__ = ()
    start, end, nr_accesses, age = _file("start"), _file("end"), _file("nr_accesses"), _file("age")
    filter_passed = _file("sz_filter_passed")
    probes = _entries("probes", Hits)


class Scheme(Directory):
    """A scheme."""

    __slots__ = ()
    action, to, apply_every = _file("action"), _file("target_nid"), _file("apply_interval_us")
    dests = _numbered("dests", Dest)
    access_pattern = Below("access_pattern", Pattern)
    quota = Below("quotas", Quota)
    filters = _numbered("filters", Filter)
    core_filters = _numbered("core_filters", Filter)
    ops_filters = _numbered("ops_filters", Filter)
    watermarks = Below("watermarks", Watermarks)
    stats = Below("stats", Stats)
    tried_bytes = _file("tried_regions/total_bytes")
    tried_regions = _entries("tried_regions", TriedRegion)


_CONTEXT = "contexts/0"
_ATTRIBUTES = f"{_CONTEXT}/monitoring_attrs"


class Kdamond(Directory):
    """The directory of one kdamond, with its one context: a slot."""

    __slots__ = ()
    state, pid, refresh = _file("state"), _file("pid"), _file("refresh_ms")
    contexts = _file("contexts/nr_contexts")
    available_ops = _file(f"{_CONTEXT}/avail_operations")
    ops = _file(f"{_CONTEXT}/operations")
    addr_unit = _file(f"{_CONTEXT}/addr_unit")
    paused = _file(f"{_CONTEXT}/pause")
    targets = _numbered(f"{_CONTEXT}/targets", Target)
    intervals = Below(f"{_ATTRIBUTES}/intervals", Intervals)
    region_count = Below(f"{_ATTRIBUTES}/nr_regions", Range)
    probes = _numbered(f"{_ATTRIBUTES}/probes", Probe)
    sample = Below(f"{_ATTRIBUTES}/sample", Sample)
    early_accesses = Below(f"{_CONTEXT}/operations_attrs", EarlyAccesses)
    schemes = _numbered(f"{_CONTEXT}/schemes", Scheme)


class Kdamonds(Numbered[Kdamond]):
    """The whole tree: numbered kdamonds."""

    __slots__ = ()

    def __init__(self, tree: Mapping[str, str] = NO_TREE) -> None:
        super().__init__(tree, "", Kdamond)

    @property
    def count(self) -> File:
        """The number of kdamonds."""
        return File(self.tree, "nr_kdamonds")
