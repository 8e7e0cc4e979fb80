"""Valid values of the files of known settings, and the canonical form of each value.

Kernels read a number by its first digits (010 is 8 in one file, 10 in another), and a yes or no by
its first letter. Here every value has one form, so that the checked text is the one written and
read back. Ranges and words are those of kernels 5.18 and newer; a test compares every file, form
and value with every emulated kernel, and a long one with real kernels.
"""

from __future__ import annotations

import re
from typing import TypeAlias

from damonpolicy.base.lazy import dataclass
from damonpolicy.kernel.damon import modules

__all__ = ("Form", "canonical", "form_of", "like", "plain", "problem", "truth", "unsettable")

_INT = (1 << 31) - 1
_U32 = (1 << 32) - 1
_U64 = (1 << 64) - 1
_SECONDS = _INT // 1000
"""The limit of values kept in timer ticks, of which a second has at most 1000."""

_TRUTH = {
    **dict.fromkeys(("1", "y", "yes", "true", "on"), True),
    **dict.fromkeys(("0", "n", "no", "false", "off"), False),
}
"""The texts that every kernel reads as yes or no (lib/kstrtox.c: kstrtobool())."""

_DECIMAL = r"0|-?[1-9][0-9]{0,19}"
_ODD = r"[+-]?0*([0-9]{1,20})"
_HEX = r"0[xX][0-9a-fA-F]{1,16}"


@dataclass(frozen=True, slots=True)
class Number:
    """A whole number from ``least`` to ``most``, or one of ``also``."""

    least: int = 0
    most: int = _U32
    also: tuple[int, ...] = ()

    def canonical(self, text: str) -> str:
        """Return the form in which ``text`` is written; empty where it is not taken."""
        if not re.fullmatch(_DECIMAL, text):
            return ""
        value = int(text)
        return text if self.least <= value <= self.most or value in self.also else ""

    def __str__(self) -> str:
        if self.most - self.least > _U64:
            return "it takes a number"
        also = "".join(f"{each} or " for each in self.also)
        return f"it takes {also}{self.least} to {self.most}"


@dataclass(frozen=True, slots=True)
class Truth:
    """Yes or no, as the file shows them."""

    no: str
    yes: str

    def canonical(self, text: str) -> str:
        """Return the form in which ``text`` is written; empty where it is not taken."""
        value = truth(text)
        return "" if value is None else self.yes if value else self.no

    def __str__(self) -> str:
        return f"it takes `{self.yes}` or `{self.no}`"


@dataclass(frozen=True, slots=True)
class Words:
    """One of some words."""

    words: tuple[str, ...]

    def canonical(self, text: str) -> str:
        """Return the form in which ``text`` is written; empty where it is not taken."""
        return text if text in self.words else ""

    def __str__(self) -> str:
        return "it takes " + " or ".join(f"`{each}`" for each in self.words)


@dataclass(frozen=True, slots=True)
class Numbers:
    """A row of numbers, such as one for each zone of memory; a count of 0 means any."""

    count: int = 0
    most: int = _INT

    def canonical(self, text: str) -> str:
        """Return the form in which ``text`` is written; empty where it is not taken."""
        parts, each = text.split(), Number(0, self.most)
        right = len(parts) == (self.count or max(len(parts), 1))
        return "\t".join(parts) if right and all(map(each.canonical, parts)) else ""

    def __str__(self) -> str:
        return f"it takes {self.count or 'several'} numbers"


@dataclass(frozen=True, slots=True)
class Parts:
    """A bit mask of the enabled parts of something."""

    bits: int

    def canonical(self, text: str) -> str:
        """Return the form in which ``text`` is written; empty where it is not taken."""
        if text.lower() in ("y", "n"):
            value = self.bits if text.lower() == "y" else 0
        elif re.fullmatch(_DECIMAL, text):
            value = int(text)
        elif re.fullmatch(_HEX, text):
            value = int(text, 16)
        else:
            return ""
        return f"0x{value:04x}" if 0 <= value <= self.bits else ""

    def __str__(self) -> str:
        return f"it takes `y`, `n`, or 0 to {self.bits}"


Form: TypeAlias = Number | Truth | Words | Numbers | Parts

_KSM, _THP, _VM = "/sys/kernel/mm/ksm", "/sys/kernel/mm/transparent_hugepage", "/proc/sys/vm"
_ZSWAP, _SCAN = "/sys/module/zswap/parameters", f"{_THP}/khugepaged"
_FLAG = Number(0, 1)


def _all(directory: str, form: Form, *names: str) -> dict[str, Form]:
    return {f"{directory}/{name}": form for name in names}


_FORMS: dict[str, Form] = {
    f"{_KSM}/run": Number(0, 2),  # mm/ksm.c: run_store()
    f"{_KSM}/merge_across_nodes": _FLAG,  # mm/ksm.c: merge_across_nodes_store()
    f"{_KSM}/max_page_sharing": Number(2, _INT),  # mm/ksm.c: max_page_sharing_store()
    f"{_KSM}/advisor_mode": Words(("none", "scan-time")),  # mm/ksm.c: advisor_mode_store()
    f"{_KSM}/advisor_target_scan_time": Number(1, _U64),  # mm/ksm.c: its store
    **_all(_KSM, Number(0, _U64), "advisor_min_pages_to_scan", "advisor_max_pages_to_scan"),
    **_all(
        _KSM, Number(), "pages_to_scan", "sleep_millisecs", "advisor_max_cpu",
        "stable_node_chains_prune_millisecs",
    ),
    **_all(_KSM, Truth("0", "1"), "use_zero_pages", "smart_scan"),
    # mm/huge_memory.c: enabled_store(), defrag_store(); mm/shmem.c: shmem_enabled_store()
    f"{_THP}/enabled": Words(("always", "madvise", "never")),
    f"{_THP}/defrag": Words(("always", "defer", "defer+madvise", "madvise", "never")),
    f"{_THP}/shmem_enabled": Words(
        ("always", "within_size", "advise", "never", "deny", "force")
    ),
    f"{_THP}/use_zero_page": _FLAG,  # mm/huge_memory.c: single_hugepage_flag_store()
    f"{_THP}/shrink_underused": Truth("0", "1"),  # mm/huge_memory.c: split_underused_thp_store()
    f"{_SCAN}/defrag": _FLAG,  # mm/huge_memory.c: single_hugepage_flag_store()
    # mm/khugepaged.c: the stores of their names; a huge page of x86-64 has 512 pages
    f"{_SCAN}/pages_to_scan": Number(1),
    **_all(_SCAN, Number(), "alloc_sleep_millisecs", "scan_sleep_millisecs"),
    **_all(_SCAN, Number(0, 511), "max_ptes_none", "max_ptes_shared", "max_ptes_swap"),
    "/sys/kernel/mm/numa/demotion_enabled": Truth("false", "true"),
    "/sys/kernel/mm/swap/vma_ra_enabled": Truth("false", "true"),
    "/sys/kernel/mm/lru_gen/enabled": Parts(7),  # mm/vmscan.c: enabled_store()
    "/sys/kernel/mm/lru_gen/min_ttl_ms": Number(0, _INT),
    **_all(
        _ZSWAP, Truth("N", "Y"), "enabled", "shrinker_enabled", "same_filled_pages_enabled",
        "non_same_filled_pages_enabled", "exclusive_loads",
    ),
    # mm/zswap.c: it checks no percentage
    **_all(_ZSWAP, Number(), "max_pool_percent", "accept_threshold_percent"),
    # kernel/sched/core.c: sched_core_sysctls; kernel/sched/fair.c: sched_fair_sysctls
    "/proc/sys/kernel/numa_balancing": Number(0, 4),
    "/proc/sys/kernel/numa_balancing_promote_rate_limit_MBps": Number(0, _INT),
    f"{_VM}/lowmem_reserve_ratio": Numbers(),
    f"{_VM}/percpu_pagelist_high_fraction": Number(8, _INT, (0,)),  # mm/page_alloc.c: its handler
    f"{_VM}/vfs_cache_pressure_denom": Number(100, _INT),  # fs/dcache.c: vm_dcache_sysctls
    **_all(
        _VM, _FLAG, "compact_unevictable_allowed", "defrag_mode", "numa_stat",
        "enable_soft_offline", "hugetlb_optimize_vmemmap", "memory_failure_early_kill",
        "memory_failure_recovery", "unprivileged_userfaultfd",
    ),
    # mm/page-writeback.c: vm_page_writeback_sysctls; mm/page_alloc.c: page_alloc_sysctl_table
    **_all(
        _VM, Number(0, 100), "compaction_proactiveness", "dirty_background_ratio", "dirty_ratio",
        "min_slab_ratio", "min_unmapped_ratio",
    ),
    f"{_VM}/dirty_background_bytes": Number(1, _U64),
    f"{_VM}/dirty_bytes": Number(8192, _U64),  # two pages
    f"{_VM}/extfrag_threshold": Number(0, 1000),  # mm/compaction.c: vm_compaction
    f"{_VM}/watermark_scale_factor": Number(1, 3000),
    **_all(_VM, Number(0, 2), "overcommit_memory", "panic_on_oom"),
    f"{_VM}/page-cluster": Number(0, 31),  # mm/swap.c: swap_sysctl_table
    f"{_VM}/swappiness": Number(0, 200),  # mm/vmscan.c: vmscan_sysctl_table
    **_all(_VM, Number(-_SECONDS, _SECONDS), "laptop_mode", "stat_interval"),
    **_all(
        _VM, Number(-_INT - 1, _INT), "dirty_writeback_centisecs", "oom_dump_tasks",
        "oom_kill_allocating_task", "overcommit_ratio",
    ),
    **_all(
        _VM, Number(0, _U64), "admin_reserve_kbytes", "nr_overcommit_hugepages",
        "overcommit_kbytes", "user_reserve_kbytes",
    ),
    **_all(
        _VM, Number(0, _INT), "dirty_expire_centisecs", "dirtytime_expire_seconds",
        "max_map_count", "min_free_kbytes", "page_lock_unfairness", "vfs_cache_pressure",
        "watermark_boost_factor", "zone_reclaim_mode",
    ),
    **{
        path: Truth("N", "Y") if each.unit == "bool" else
        Number(1 if each.name == "addr_unit" else 0, _U64)
        for path, each in modules.PARAMETERS.items()
    },
}  # fmt: skip

_PATTERNS: tuple[tuple[str, Form], ...] = (
    (
        rf"{_THP}/hugepages-[0-9]+kB/enabled",
        Words(("always", "inherit", "madvise", "never")),
    ),
    (
        rf"{_THP}/hugepages-[0-9]+kB/shmem_enabled",
        Words(("always", "inherit", "within_size", "advise", "never")),
    ),
)

_COMMANDS = frozenset(f"{_VM}/{name}" for name in ("compact_memory", "drop_caches", "stat_refresh"))
_REPORTS = (
    (
        rf"{_KSM}/(?:full_scans|general_profit|ksm_zero_pages|pages_[a-z]+"
        r"|stable_node_(?:chains|dups))"
    ),
    rf"{_THP}/(?:hpage_pmd_size|khugepaged/(?:full_scans|pages_collapsed))",
    rf"{_THP}/hugepages-[0-9]+kB/stats/[a-z_]+",
)


def form_of(path: str) -> Form | None:
    """Return the form of a known file, None for an unknown file."""
    found = _FORMS.get(path)
    if found is None and path.startswith(f"{_THP}/hugepages-"):
        found = next((form for pattern, form in _PATTERNS if re.fullmatch(pattern, path)), None)
    return found


def unsettable(path: str) -> str:
    """Return why a listed file cannot be a setting, or an empty text."""
    if path in _COMMANDS:
        return "it is a command: it holds nothing that could be put back"
    if any(re.fullmatch(pattern, path) for pattern in _REPORTS):
        return "it only reports what the kernel does"
    return ""


def truth(text: str) -> bool | None:
    """Read yes or no as kernels do; None for anything else."""
    return _TRUTH.get(text.lower())


def plain(value: str) -> str:
    """Return the canonical form of a number in another form; empty for anything else.

    ``010`` is 10: in a policy it never means the 8 that some files read.
    """
    if re.fullmatch(_DECIMAL, value):
        return ""
    if re.fullmatch(_HEX, value):
        return str(int(value, 16))
    odd = re.fullmatch(_ODD, value)
    return (f"-{odd[1]}" if value[0] == "-" and odd[1] != "0" else odd[1]) if odd else ""


def problem(path: str, value: str) -> str:
    """Return the valid values of a file if ``value`` is not one of them, or an empty text."""
    form, text = form_of(path), value.strip()
    if form is None:
        rest = plain(text)
        if not text:
            return "write what the file is to hold"
        # an unknown file may count in hexadecimal, and may read leading zeros as octal
        return f"write `{rest}`" if rest and not re.fullmatch(_HEX, text) else ""
    if form.canonical(text):
        return ""
    meant = plain(text)
    if not meant and (known := truth(text)) is not None:
        meant = "1" if known else "0"
    if isinstance(form, Number) and meant and form.canonical(meant):
        return f"write `{meant}`: {form}"
    return str(form)


def canonical(path: str, value: str) -> str:
    """Return the canonical form of a value; values of unknown files stay as they are."""
    form, text = form_of(path), value.strip()
    return (form.canonical(text) if form is not None else "") or text


def like(content: str) -> Form | None:
    """Return the form that a file's present content suggests; None if it suggests none."""
    text = content.strip()
    if re.search(r"\[[^\]]*\]", text):
        return Words(tuple(text.replace("[", "").replace("]", "").split()))
    for no, yes in (("N", "Y"), ("n", "y"), ("false", "true"), ("off", "on"), ("no", "yes")):
        if text in (no, yes):
            return Truth(no, yes)
    numbers = text.split()
    if len(numbers) > 1 and all(re.fullmatch(_DECIMAL, each) for each in numbers):
        return Numbers(len(numbers), _U64)
    return Number(-_U64, _U64) if re.fullmatch(_DECIMAL, text) else None
