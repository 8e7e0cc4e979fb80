"""The figures of DAMON's modules."""

from __future__ import annotations

from damonpolicy.observe.collect.modules import ModuleStatus
from damonpolicy.observe.watermarks import Watch


def test_figures_of_each_module_in_words():
    reclaim = ModuleStatus(
        "damon_reclaim",
        Watch(300, 500, 400, 200),
        {
            "nr_reclaim_tried_regions": 3, "bytes_reclaim_tried_regions": 3 << 20,
            "nr_reclaimed_regions": 2, "bytes_reclaimed_regions": 2 << 20, "nr_quota_exceeds": 4,
        },
    )  # fmt: skip
    assert reclaim.lines == [
        "awake: 30% of memory is free, below mid 40% (asleep above 50% and below 20%)",
        "tried 3MiB in 3 regions, reclaimed 2MiB, quota exceeded 4 times",
    ]
    numbers = {
        f"{prefix}_{each}_regions": 1 << 20
        for prefix in ("nr", "bytes")
        for each in ("lru_sort_tried_hot", "lru_sorted_hot")
    }
    sort = ModuleStatus("damon_lru_sort", None, {**numbers, "nr_hot_quota_exceeds": 0})
    assert sort.lines == [
        "hot: tried 1MiB in 1048576 regions, sorted 1MiB, quota exceeded 0 times"
    ], "of the cold nothing is told"


def test_idle_times_of_memory_and_of_what_is_in_use():
    idle = [-200] * 30 + [5_000] * 40 + [90_000] * 31
    stat = ModuleStatus("damon_stat", None, {"estimated_memory_bandwidth": 5 << 20}, idle)

    assert stat.lines == [
        "memory bandwidth about 5MiB/s",
        "idle for no longer than: 25% in use for 200ms, 50% 5s, 75% 1m30s of memory",
    ]
    assert stat.to_json()["idle_ms_percentiles"] == idle


def test_what_nobody_has_measured_yet_is_not_said():
    stat = ModuleStatus("damon_stat", None, {"estimated_memory_bandwidth": 0}, [0] * 101)

    assert stat.lines == []
    assert ModuleStatus("damon_stat", None).to_json()["idle_ms_percentiles"] is None
