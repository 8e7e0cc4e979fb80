"""Settings beside DAMON: KSM, huge pages, NUMA, LRU generations, swap, zswap, /proc/sys/vm.

Names, defaults, ranges, errnos and side effects on other files were read from Linux 6.12, 6.18 and
7.3. Only the files that a policy is likely to set, within `kernel.settings`, are here.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from functools import cache

from damonpolicy.base.errors import UsageError
from damonpolicy.base.lazy import dataclass
from damonpolicy.emulated import values
from damonpolicy.emulated.files import Content, Index
from damonpolicy.emulated.profiles import Profile
from damonpolicy.emulated.values import Refusal
from damonpolicy.emulated.world import World
from damonpolicy.kernel.settings import ADVISOR, COUPLED, PAGES

__all__ = ("SETTINGS", "Setting", "Settings")

_KSM = "/sys/kernel/mm/ksm"
_THP = "/sys/kernel/mm/transparent_hugepage"
_VM = "/proc/sys/vm"
_KERNEL = "/proc/sys/kernel"
_ZSWAP = "/sys/module/zswap/parameters"
_INT = (1 << 31) - 1
_U32 = (1 << 32) - 1
_U64 = (1 << 64) - 1
_TICK = 4
"""Milliseconds of a timer tick: CONFIG_HZ is 250 in Debian's kernels."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A file: its kind, its value at boot, its limits or words.

    If ``quirk`` names one of `kernel.damon.quirks`, only its kernels have the file.
    """

    path: str
    kind: str
    default: str
    least: int = 0
    most: int = _U32
    words: tuple[str, ...] = ()
    mode: int = 0o644
    quirk: str = ""


def _ksm(name: str, kind: str, default: str, least: int = 0, most: int = _U32) -> Setting:
    return Setting(f"{_KSM}/{name}", kind, default, least, most)


def _counts(directory: str, *names: str) -> tuple[Setting, ...]:
    return tuple(Setting(f"{directory}/{name}", "value", "0", mode=0o444) for name in names)


def _vm(name: str, default: str, least: int = 0, most: int = _INT, quirk: str = "") -> Setting:
    return Setting(f"{_VM}/{name}", "sysctl", default, least, most, quirk=quirk)


def _chosen(path: str, default: str, *words: str) -> Setting:
    return Setting(path, "chosen", default, words=words)


_SIZES = (16, 32, 64, 128, 256, 512, 1024, 2048)
_KHUGEPAGED = f"{_THP}/khugepaged"

SETTINGS: tuple[Setting, ...] = (
    _ksm("run", "decimal", "0", 0, 2),
    _ksm("pages_to_scan", "decimal", "100"),
    _ksm("sleep_millisecs", "decimal", "20"),
    _ksm("max_page_sharing", "signed10", "256", 2, _INT),
    _ksm("merge_across_nodes", "switch", "1", 0, 1),
    _ksm("use_zero_pages", "bool", "0"),
    _ksm("smart_scan", "bool", "1"),
    _ksm("stable_node_chains_prune_millisecs", "decimal", "2000"),
    _chosen(ADVISOR, "none", "none", "scan-time"),
    _ksm("advisor_max_cpu", "truncated", "70", 0, _U64),
    _ksm("advisor_min_pages_to_scan", "decimal", "500", 0, _U64),
    _ksm("advisor_max_pages_to_scan", "decimal", "30000", 0, _U64),
    _ksm("advisor_target_scan_time", "decimal", "200", 1, _U64),
    *_counts(
        _KSM, "full_scans", "general_profit", "ksm_zero_pages", "pages_scanned", "pages_shared",
        "pages_sharing", "pages_skipped", "pages_unshared", "pages_volatile",
        "stable_node_chains", "stable_node_dups",
    ),
    _chosen(f"{_THP}/enabled", "always", "always", "madvise", "never"),
    _chosen(
        f"{_THP}/defrag", "madvise", "always", "defer", "defer+madvise", "madvise", "never"
    ),
    _chosen(
        f"{_THP}/shmem_enabled", "never",
        "always", "within_size", "advise", "never", "deny", "force",
    ),
    Setting(f"{_THP}/use_zero_page", "switch", "1", 0, 1),
    Setting(f"{_THP}/shrink_underused", "bool", "1"),
    Setting(f"{_THP}/hpage_pmd_size", "value", "2097152", mode=0o444),
    Setting(f"{_KHUGEPAGED}/alloc_sleep_millisecs", "decimal", "60000"),
    Setting(f"{_KHUGEPAGED}/scan_sleep_millisecs", "decimal", "10000"),
    Setting(f"{_KHUGEPAGED}/defrag", "switch", "1", 0, 1),
    Setting(f"{_KHUGEPAGED}/pages_to_scan", "decimal", "4096", 1),
    Setting(f"{_KHUGEPAGED}/max_ptes_none", "decimal", "511", 0, 511),
    Setting(f"{_KHUGEPAGED}/max_ptes_shared", "decimal", "256", 0, 511),
    Setting(f"{_KHUGEPAGED}/max_ptes_swap", "decimal", "64", 0, 511),
    *_counts(_KHUGEPAGED, "full_scans", "pages_collapsed"),
    *(
        _chosen(
            f"{_THP}/hugepages-{size}kB/enabled", "inherit" if size == 2048 else "never",
            "always", "inherit", "madvise", "never",
        )
        for size in _SIZES
    ),
    *(
        _chosen(
            f"{_THP}/hugepages-{size}kB/shmem_enabled", "inherit" if size == 2048 else "never",
            "always", "inherit", "within_size", "advise", "never",
        )
        for size in (8, *_SIZES)
    ),
    Setting("/sys/kernel/mm/numa/demotion_enabled", "truth", "false"),
    Setting("/sys/kernel/mm/swap/vma_ra_enabled", "truth", "true"),
    Setting("/sys/kernel/mm/lru_gen/enabled", "generations", "0x0007"),
    Setting("/sys/kernel/mm/lru_gen/min_ttl_ms", "ticks", "0"),
    Setting(f"{_ZSWAP}/enabled", "yes", "N", quirk="zswap"),
    Setting(f"{_ZSWAP}/shrinker_enabled", "yes", "N", quirk="zswap"),
    Setting(f"{_ZSWAP}/compressor", "name", "lzo", quirk="zswap"),
    Setting(f"{_ZSWAP}/max_pool_percent", "unsigned", "20", quirk="zswap"),
    Setting(f"{_ZSWAP}/accept_threshold_percent", "unsigned", "90", quirk="zswap"),
    Setting(f"{_KERNEL}/numa_balancing", "sysctl", "1", 0, 4),
    Setting(f"{_KERNEL}/numa_balancing_promote_rate_limit_MBps", "sysctl", "65536", 0, _INT),
    _vm("admin_reserve_kbytes", "8192", 0, _U64),
    _vm("compact_unevictable_allowed", "1", 0, 1),
    _vm("compaction_proactiveness", "20", 0, 100),
    _vm("defrag_mode", "0", 0, 1, "vm.defrag_mode"),
    _vm("dirty_background_bytes", "0", 1, _U64),
    _vm("dirty_background_ratio", "10", 0, 100),
    _vm("dirty_bytes", "0", 8192, _U64),
    _vm("dirty_expire_centisecs", "3000"),
    _vm("dirty_ratio", "20", 0, 100),
    _vm("dirty_writeback_centisecs", "500", -1 << 31),
    _vm("dirtytime_expire_seconds", "43200"),
    _vm("extfrag_threshold", "500", 0, 1000),
    _vm("laptop_mode", "0", -(_INT // 250), _INT // 250),
    Setting(f"{_VM}/lowmem_reserve_ratio", "five", "256\t256\t32\t0\t0", 0, _INT),
    _vm("max_map_count", "65530"),
    _vm("min_free_kbytes", "67584"),
    _vm("min_slab_ratio", "5", 0, 100),
    _vm("min_unmapped_ratio", "1", 0, 100),
    _vm("nr_overcommit_hugepages", "0", 0, _U64),
    _vm("numa_stat", "1", 0, 1),
    _vm("oom_dump_tasks", "1", -1 << 31),
    _vm("oom_kill_allocating_task", "0", -1 << 31),
    _vm("overcommit_kbytes", "0", 0, _U64),
    _vm("overcommit_memory", "0", 0, 2),
    _vm("overcommit_ratio", "50", -1 << 31),
    _vm("page-cluster", "3", 0, 31),
    _vm("page_lock_unfairness", "5"),
    _vm("panic_on_oom", "0", 0, 2),
    _vm("percpu_pagelist_high_fraction", "0"),
    _vm("stat_interval", "1", -(_INT // 250), _INT // 250),
    _vm("swappiness", "60", 0, 200),
    _vm("user_reserve_kbytes", "46227", 0, _U64),
    _vm("vfs_cache_pressure", "100"),
    _vm("vfs_cache_pressure_denom", "100", 100, _INT, "vm.denominator"),
    _vm("watermark_boost_factor", "15000"),
    _vm("watermark_scale_factor", "10", 1, 3000),
    _vm("zone_reclaim_mode", "0"),
    Setting(f"{_VM}/compact_memory", "act", "", 1, 1, mode=0o200),
    Setting(f"{_VM}/drop_caches", "act", "", 1, 4, mode=0o200),
)  # fmt: skip


@cache
def _of(profile: Profile, without: frozenset[str]) -> tuple[dict[str, Setting], Index]:
    there = (each for each in SETTINGS if not each.quirk or profile.quirk(each.quirk))
    found = {each.path: each for each in there if each.path not in without}
    return found, Index(found)


class Settings:
    """The settings of one machine; only differences from the defaults are stored."""

    roots = (
        *(f"/sys/kernel/mm/{name}" for name in ("ksm", "transparent_hugepage", "numa", "swap")),
        "/sys/kernel/mm/lru_gen",
        "/sys/module/zswap",
        _VM,
        f"{_KERNEL}/numa_balancing",
    )

    def __init__(self, world: World) -> None:
        self.world = world
        self.known, self._index = _of(world.profile, world.spec.without)

    def file(self, path: str) -> Content | None:
        setting = self.known.get(path)
        if setting is None:
            return None
        return Content(
            setting.mode,
            lambda: f"{self.show(setting)}\n",
            (lambda text: self._write(setting, text)) if setting.mode & 0o200 else None,
        )

    def names(self, path: str) -> dict[str, bool] | None:
        return self._index.directories.get(path)

    def boot(self) -> None:
        """Write the description's values; raises UsageError for those that the kernel refuses."""
        for path, text in self.world.spec.settings.items():
            try:
                if path not in self.known:
                    raise Refusal(errno.ENOENT)
                self._write(self.known[path], text)
            except Refusal as refusal:
                why = os.strerror(refusal.errno)
                raise UsageError(f"the machine's setting `{path}` cannot be: {why}") from refusal

    def _get(self, path: str) -> str:
        found: str = self.world.state["settings"].get(path, self.known[path].default)
        return found

    def _set(self, path: str, value: str) -> None:
        self.world.state["settings"][path] = value

    def show(self, setting: Setting) -> str:
        """Return the content of a file: all words, with the chosen one in brackets."""
        value = self._get(setting.path)
        if setting.kind == "chosen":
            return " ".join(f"[{each}]" if each == value else each for each in setting.words)
        return value

    def _write(self, setting: Setting, text: str) -> None:
        if setting.path == PAGES and self._get(ADVISOR) != "none":
            raise Refusal(errno.EINVAL)
        if setting.kind in ("sysctl", "five", "act"):
            self._write_sysctl(setting, text)
            return
        value = self._value(setting, text)
        self._set(setting.path, value)
        if setting.path == ADVISOR:
            # mm/ksm.c: set_advisor_defaults() takes over, or hands back, the number of pages
            self._set(PAGES, self._get(f"{_KSM}/advisor_min_pages_to_scan")
                      if value == "scan-time" else "100")  # fmt: skip

    def _value(self, setting: Setting, text: str) -> str:
        """Return a file's value after a write; raises Refusal."""
        if setting.kind in _DECIMALS:
            bits, overflow = _DECIMALS[setting.kind]
            value = values.decimal(text, bits, overflow=overflow)
            if not setting.least <= value <= setting.most:
                raise Refusal(errno.EINVAL)
            return str(value)
        if setting.kind in _TRUTHS:
            truth = values.boolean(text, able=self.world.profile.quirk("bool.able"))
            return _TRUTHS[setting.kind][truth]
        if setting.kind == "chosen":
            return values.word(text, setting.words)
        return _READERS[setting.kind](text)

    def _write_sysctl(self, setting: Setting, text: str) -> None:
        count = 5 if setting.kind == "five" else 1
        found, complete = values.sysctl(text, count, setting.least, setting.most)
        if setting.path.endswith("percpu_pagelist_high_fraction") and 0 < found[0] < 8:
            raise Refusal(errno.EINVAL)
        if setting.kind == "five":
            before = self._get(setting.path).split("\t")
            self._set(setting.path, "\t".join([*map(str, found), *before[len(found) :]]))
        elif setting.kind == "sysctl":
            self._set(setting.path, str(found[0]))
            if setting.path in COUPLED:
                self._set(COUPLED[setting.path], "0")
        if not complete:
            raise Refusal(errno.EIO, "short write: the kernel took the first number only")


def _truncated(text: str) -> str:
    """Cut a number to 32 bits: mm/ksm.c reads an `unsigned long` into an `unsigned int`."""
    return str(values.decimal(text, overflow=errno.EINVAL) & _U32)


def _generations(text: str) -> str:
    """Read n, y or three bits (mm/vmscan.c: enabled_store())."""
    first = text[:1].lower()
    if first in ("n", "y"):
        return "0x0000" if first == "n" else "0x0007"
    return f"0x{values.unsigned(text, 32, overflow=errno.EINVAL) & 7:04x}"


def _ticks(text: str) -> str:
    """Round milliseconds up to timer ticks; a signed overflow gives the maximum."""
    value = values.unsigned(text, 32, overflow=errno.EINVAL)
    ticks = (1 << 30) - 2 if value > _INT else -(-value // _TICK)
    return str(ticks * _TICK)


_DECIMALS = {
    "decimal": (64, errno.EINVAL),
    "signed10": (31, errno.ERANGE),
    "switch": (64, errno.ERANGE),
}
"""The bits, and the errno of overflow, of limited decimal numbers."""

_TRUTHS = {"bool": ("0", "1"), "truth": ("false", "true"), "yes": ("N", "Y")}
"""The displayed form of booleans."""

_READERS: dict[str, Callable[[str], str]] = {
    "truncated": _truncated,
    "generations": _generations,
    "ticks": _ticks,
    "unsigned": lambda text: str(values.unsigned(text, 32)),
    "name": str.strip,
}
