"""Scenes beside DAMON's tree: its modules, and settings of policies."""

from __future__ import annotations

from .words import BOOLEANS, NUMBERS, Steps, configured, read, scene, write

__all__ = ("SCENES",)

_MM = "/sys/kernel/mm"
_KSM = f"{_MM}/ksm"
_THP = f"{_MM}/transparent_hugepage"
_VM = "/proc/sys/vm"


def _module(name: str, parameter: str, *texts: object) -> Steps:
    return write(f"/sys/module/damon_{name}/parameters/{parameter}", *texts)


def _setting(path: str, *texts: object) -> Steps:
    """Write a setting; the last text is what it holds at boot."""
    return (*read(path), *write(path, *texts))


def _parameters(name: str) -> Steps:
    """Write a module's parameters, switch it on with good ones and bad ones, and off again."""
    return (
        *_module(name, "sample_interval", *NUMBERS, 5000),
        *_module(name, "wmarks_low", 0, 1001, 50),
        *_module(name, "kdamond_pid", 1),
        *_module(name, "nope", 1),
        *_module(name, "enabled", *BOOLEANS, "N"),
        *_module(name, "commit_inputs", "x", "N", "Y", "N"),
        *_module(name, "min_nr_regions", 2),
        *_module(name, "enabled", "Y"),
        *_module(name, "min_nr_regions", 1001),
        *_module(name, "enabled", "Y"),
        *_module(name, "min_nr_regions", 10),
        *_module(name, "aggr_interval", 4999),
        *_module(name, "enabled", "Y"),
        *_module(name, "aggr_interval", 100_000),
        *_module(name, "enabled", "Y", "Y", "N", "N"),
    )


SCENES = (
    scene("DAMON_RECLAIM", _parameters("reclaim")),
    scene("DAMON_LRU_SORT", _parameters("lru_sort")),
    scene(
        "modules beside kdamonds",
        _module("stat", "enabled", "Y", "Y", "N", "N", "x"),
        write("nr_kdamonds", 2),
        configured(slot=0),
        write("0/state", "on"),
        *(_module(each, "enabled", "Y", "N") for each in ("stat", "reclaim", "lru_sort")),
        write("0/state", "off"),
        _module("reclaim", "enabled", "Y"),
        _module("lru_sort", "enabled", "Y", "N"),
        _module("stat", "enabled", "Y", "N"),
        write("0/state", "on", "update_schemes_stats"),
        write("nr_kdamonds", 2),
        _module("reclaim", "enabled", "N"),
        configured(slot=0),
        write("0/state", "on"),
    ),
    scene(
        "page merging",
        _setting(f"{_KSM}/run", 3, -1, "x", "1\n", "01", 2, 0),
        _setting(f"{_KSM}/pages_to_scan", "0x10", "", "x", -1, 1 << 32, 1 << 64, 200, 100),
        _setting(f"{_KSM}/sleep_millisecs", 0, "1s", " 1", 1 << 32, 20),
        _setting(f"{_KSM}/merge_across_nodes", 2, 0, 1),
        _setting(f"{_KSM}/use_zero_pages", "enable", "x", 1, 0),
        _setting(f"{_KSM}/max_page_sharing", 1, 0, "x", 2, 256),
        _setting(f"{_KSM}/advisor_mode", "scan-time"),
        write(f"{_KSM}/pages_to_scan", 300),
        _setting(f"{_KSM}/advisor_mode", "x", "none\n"),
        read(f"{_KSM}/pages_to_scan"),
        write(f"{_KSM}/pages_shared", 1),
        write(f"{_KSM}/nope", 1),
    ),
    scene(
        "huge pages",
        _setting(f"{_THP}/enabled", "madvise", "[never]", "x", "never\n", "always"),
        _setting(f"{_THP}/defrag", "defer+madvise", "defer", "X", "madvise"),
        _setting(f"{_THP}/khugepaged/pages_to_scan", 0, "x", 8192, 4096),
        _setting(f"{_THP}/khugepaged/max_ptes_none", 512, 0, 511),
        _setting(f"{_THP}/khugepaged/defrag", 2, 0, 1),
        write(f"{_THP}/hpage_pmd_size", 1),
    ),
    scene(
        "other settings",
        _setting("/proc/sys/kernel/numa_balancing", 0, 5, -1, "x", "0x1", "1 1", " 0 ", 1),
        _setting(f"{_MM}/numa/demotion_enabled", "1", "x", "Y", "false"),
        _setting(f"{_MM}/lru_gen/min_ttl_ms", 1000, "x", 1 << 32, 0),
        _setting(f"{_VM}/swappiness", 201, -1, "x", "", 200, 60),
        _setting(f"{_VM}/zone_reclaim_mode", "1\n", "-", 0),
        _setting(f"{_VM}/watermark_scale_factor", 0, 3001, 100, 10),
        read(f"{_VM}/drop_caches"),
        write(f"{_VM}/nope", 1),
    ),
)
