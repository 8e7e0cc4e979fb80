"""Companion settings: which files a policy may set, and how their contents read."""

from __future__ import annotations

import posixpath
import re

from damonpolicy.kernel import modules
from damonpolicy.kernel.sysfs import ADMIN, Machine, read_or

__all__ = (
    "ADVISOR",
    "ALLOWED",
    "COUPLED",
    "EXTENSION",
    "LIMITS",
    "PAGES",
    "STAYS",
    "TICKS",
    "allowed",
    "beyond",
    "malformed",
    "missing",
    "normalise",
    "paced",
    "refusal",
    "unreadable",
    "usual",
)

ALLOWED = (
    "/sys/kernel/mm/ksm/",
    "/sys/kernel/mm/transparent_hugepage/",
    "/sys/kernel/mm/numa/",
    "/sys/kernel/mm/lru_gen/",
    "/sys/kernel/mm/swap/",
    "/proc/sys/vm/",
)
EXTENSION = "/etc/damonpolicy/settings.allow"
"""An administrator's own list, one directory or file in each line, ``#`` begins a comment."""

ADVISOR = "/sys/kernel/mm/ksm/advisor_mode"
PAGES = "/sys/kernel/mm/ksm/pages_to_scan"
"""While the advisor is on it sets the pages, and nobody else may (mm/ksm.c)."""

TICKS = "/sys/kernel/mm/lru_gen/min_ttl_ms"
"""Kept in the timer's ticks (mm/vmscan.c: min_ttl_ms_store())."""

COUPLED = {
    "/proc/sys/vm/dirty_bytes": "/proc/sys/vm/dirty_ratio",
    "/proc/sys/vm/dirty_background_bytes": "/proc/sys/vm/dirty_background_ratio",
    "/proc/sys/vm/overcommit_kbytes": "/proc/sys/vm/overcommit_ratio",
}
COUPLED |= {other: one for one, other in COUPLED.items()}
"""A write to one of a pair clears the other (mm/page-writeback.c, mm/util.c)."""

_KSM, _THP, _VM = "/sys/kernel/mm/ksm", "/sys/kernel/mm/transparent_hugepage", "/proc/sys/vm"

STAYS = {
    (f"{_KSM}/run", "1", "0"): "pages that KSM has merged stay merged: 2 in"
    f" `{_KSM}/run` parts them",  # mm/ksm.c: run_store()
}
"""What a change of a setting leaves as it is, by path and by what it held and holds then."""

LIMITS: dict[str, tuple[int, int]] = {
    f"{_KSM}/run": (0, 2),  # mm/ksm.c: run_store()
    f"{_KSM}/merge_across_nodes": (0, 1),  # mm/ksm.c: merge_across_nodes_store()
    f"{_THP}/use_zero_page": (0, 1),  # mm/huge_memory.c: single_hugepage_flag_store()
    f"{_THP}/khugepaged/defrag": (0, 1),  # the same
    "/proc/sys/kernel/numa_balancing": (0, 4),  # kernel/sched/core.c: sched_core_sysctls
    f"{_VM}/compact_unevictable_allowed": (0, 1),  # mm/compaction.c: vm_compaction
    f"{_VM}/compaction_proactiveness": (0, 100),  # the same
    f"{_VM}/extfrag_threshold": (0, 1000),  # the same
    f"{_VM}/dirty_background_ratio": (0, 100),  # mm/page-writeback.c: vm_page_writeback_sysctls
    f"{_VM}/dirty_ratio": (0, 100),  # the same
    f"{_VM}/min_slab_ratio": (0, 100),  # mm/page_alloc.c: page_alloc_sysctl_table
    f"{_VM}/min_unmapped_ratio": (0, 100),  # the same
    f"{_VM}/watermark_scale_factor": (1, 3000),  # the same
    f"{_VM}/numa_stat": (0, 1),  # mm/vmstat.c: sysctl_vm_numa_stat_handler()
    f"{_VM}/overcommit_memory": (0, 2),  # mm/util.c: util_sysctl_table
    f"{_VM}/panic_on_oom": (0, 2),  # mm/oom_kill.c: vm_oom_kill_table
    f"{_VM}/swappiness": (0, 200),  # mm/vmscan.c: vmscan_sysctl_table
}
"""The least and the most that every kernel from 5.18 on takes; the others' are the kernel's answer.

zswap's percentages are not here: the kernel takes any number for them (mm/zswap.c).
"""

_WORDS = (
    # mm/huge_memory.c: enabled_store(), defrag_store(); mm/shmem.c: shmem_enabled_store()
    (re.compile(rf"{_THP}/enabled\Z"), ("always", "madvise", "never")),
    (
        re.compile(rf"{_THP}/defrag\Z"),
        ("always", "defer", "defer+madvise", "madvise", "never"),
    ),
    (
        re.compile(rf"{_THP}/shmem_enabled\Z"),
        ("always", "within_size", "advise", "never", "deny", "force"),
    ),
    (
        re.compile(rf"{_THP}/hugepages-\d+kB/enabled\Z"),
        ("always", "inherit", "madvise", "never"),
    ),
    (
        re.compile(rf"{_THP}/hugepages-\d+kB/shmem_enabled\Z"),
        ("always", "inherit", "within_size", "advise", "never"),
    ),
)

_PATTERNS = (
    re.compile(r"/sys/module/(damon_[a-z_]+|zswap)/parameters/[a-z0-9_]+\Z"),
    re.compile(r"/proc/sys/kernel/numa_balancing[a-zA-Z_]*\Z"),
)
_TRUTH = {
    **dict.fromkeys(("y", "yes", "true", "on"), "1"),
    **dict.fromkeys(("n", "no", "false", "off"), "0"),
}
"""What the kernel reads as a truth (lib/kstrtox.c: kstrtobool())."""

_NUMBER = re.compile(r"-?\d+")
_CHOSEN = re.compile(r"\[([^\]]*)\]")


def allowed(machine: Machine) -> tuple[str, ...]:
    """Return the directories and files that settings may lie in, the extension included."""
    lines = (line.split("#")[0].strip() for line in read_or(machine, EXTENSION).splitlines())
    return ALLOWED + tuple(line for line in lines if line.startswith("/"))


def malformed(path: str) -> str:
    """Return why no machine could take ``path`` for a setting, or an empty text."""
    if not path.startswith("/"):
        return "a setting is named by its absolute path"
    if posixpath.normpath(path) != path:
        return "the path of a setting holds no `..`, `.` or `//`"
    if path.startswith(ADMIN.removesuffix("admin")):
        return "DAMON's own tree is not set by hand: use `kdamonds:`"
    return modules.unwritable(path.rpartition("/")[2]) if modules.module_of(path) else ""


def usual(path: str) -> bool:
    """Tell whether every machine takes ``path`` for a setting."""
    return _within(path, ALLOWED)


def refusal(machine: Machine, path: str) -> str:
    """Return why a policy may not set ``path`` on a machine, or an empty text."""
    reason = malformed(path)
    if reason:
        return reason
    places = allowed(machine)
    if not _within(path, places):
        return "this file is not on the list of settings"
    real = machine.resolve(path)
    if real != path and not _within(real, places):
        return f"it leads to `{real}`, which is not on the list of settings"
    return ""


_SIZES = rf"{_THP}/hugepages-\d+kB"
_MISSING = (
    (re.compile(r"/sys/module/damon_[a-z_]+/parameters/enabled"), "0"),
    (re.compile(r"/sys/module/zswap/parameters/(enabled|shrinker_enabled)"), "0"),
    (re.compile(r"/proc/sys/kernel/numa_balancing"), "0"),
    (re.compile(r"/sys/kernel/mm/numa/demotion_enabled"), "0"),
    (re.compile(r"/sys/kernel/mm/lru_gen/enabled"), "0"),
    (re.compile(rf"{_KSM}/(run|smart_scan|use_zero_pages)"), "0"),
    (re.compile(rf"{_KSM}/advisor_mode"), "none"),
    (re.compile(rf"({_THP}|{_SIZES})/(shmem_)?enabled"), "never"),
    (re.compile(rf"{_THP}/defrag"), "never"),
    (re.compile(rf"{_THP}/(khugepaged/defrag|use_zero_page|shrink_underused)"), "0"),
    (re.compile(rf"{_VM}/(zone_reclaim_mode|compaction_proactiveness|defrag_mode)"), "0"),
    (re.compile(rf"{_VM}/nr_(overcommit_)?hugepages"), "0"),
)
"""What kernels do that have not even the file: what it switches is not there."""


def missing(path: str, value: str) -> bool:
    """Tell whether a kernel without a file does what ``value`` in it would ask for."""
    counts = (off for pattern, off in _MISSING if pattern.fullmatch(path))
    return normalise(value) in counts


def _within(path: str, places: tuple[str, ...]) -> bool:
    return any(pattern.match(path) for pattern in _PATTERNS) or any(
        path.startswith(place) if place.endswith("/") else path == place for place in places
    )


def normalise(text: str) -> str:
    """Reduce a setting's content to what it means, so that equal ones compare equal.

    ``always [madvise] never`` is ``madvise``, ``Y`` is ``1``, white space does not count.
    """
    words = " ".join(text.split())
    found = _CHOSEN.search(words)
    if found:
        return found[1]
    if words.lower() in _TRUTH:
        return _TRUTH[words.lower()]
    if re.fullmatch(r"0x[0-9a-f]+", words.lower()):
        return str(int(words, 16))
    return words


def beyond(path: str, value: str) -> str:
    """Return what a file takes on every kernel where ``value`` is not of it, or an empty text."""
    meaning = normalise(value)
    for pattern, words in _WORDS:
        if pattern.match(path) and meaning not in words:
            return "it takes " + " or ".join(f"`{each}`" for each in words)
    limits = LIMITS.get(path)
    if limits and not _among(meaning, *limits):
        return f"it takes {limits[0]} to {limits[1]}"
    return ""


def _among(text: str, least: int, most: int) -> bool:
    short = re.fullmatch("[0-9]{1,9}", text)
    return short is not None and least <= int(text) <= most


def unreadable(content: str, value: str) -> str:
    """Return why a file that holds ``content`` cannot take ``value``, or an empty text.

    Only by its form: where limits are the same everywhere, `beyond` knows them.
    """
    meaning = normalise(value)
    if _CHOSEN.search(content):
        words = content.replace("[", "").replace("]", "").split()
        return "" if meaning in words else "it takes " + " or ".join(f"`{each}`" for each in words)
    if content.strip().lower() in _TRUTH:
        return "" if meaning in ("0", "1") else "it takes `Y` or `N`"
    if _NUMBER.fullmatch(content.strip()) and not _NUMBER.fullmatch(meaning):
        return "it takes a number"
    return ""


def paced(mode: str) -> bool:
    """Tell by the content of `ADVISOR` whether KSM's advisor sets `PAGES`."""
    return normalise(mode) not in ("", "none")
