"""Settings beside DAMON's: the files that a policy may set, and the meaning of their contents."""

from __future__ import annotations

import posixpath
import re

from damonpolicy.base import etc
from damonpolicy.kernel import forms
from damonpolicy.kernel.damon import modules
from damonpolicy.kernel.system.machine import ADMIN, Machine, read_or

__all__ = (
    "ADVISOR",
    "ALLOWED",
    "COUPLED",
    "EXTENSION",
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
    "written",
)

ALLOWED = (
    "/sys/kernel/mm/ksm/",
    "/sys/kernel/mm/transparent_hugepage/",
    "/sys/kernel/mm/numa/",
    "/sys/kernel/mm/lru_gen/",
    "/sys/kernel/mm/swap/",
    "/proc/sys/vm/",
)
EXTENSION = etc.SETTINGS
"""An administrator's own list: one directory or file per line; ``#`` begins a comment."""

ADVISOR = "/sys/kernel/mm/ksm/advisor_mode"
PAGES = "/sys/kernel/mm/ksm/pages_to_scan"
"""KSM's advisor; while it is on, only it may set the pages (mm/ksm.c)."""

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
"""What a change of a setting leaves behind, by path, earlier value and new value."""

_PATTERNS = (
    r"/sys/module/(damon_[a-z_]+|zswap)/parameters/[a-z0-9_]+\Z",
    r"/proc/sys/kernel/numa_balancing[a-zA-Z_]*\Z",
)
_CHOSEN = r"\[([^\]]*)\]"


def allowed(machine: Machine) -> tuple[str, ...]:
    """Return the directories and files of allowed settings, including the extension.

    Raises Untrusted if others than root can change this machine's own list.
    """
    if not machine.here:
        return ALLOWED + etc.paths(read_or(machine, EXTENSION))
    try:
        return ALLOWED + etc.named(EXTENSION)
    except OSError:
        return ALLOWED


def malformed(path: str) -> str:
    """Return why ``path`` can be a setting on no machine, or an empty text."""
    if not path.startswith("/"):
        return "a setting is named by its absolute path"
    if posixpath.normpath(path) != path:
        return "the path of a setting holds no `..`, `.` or `//`"
    if path.startswith(ADMIN.removesuffix("admin")):
        return "DAMON's own tree is not set by hand: use `kdamonds:`"
    if modules.module_of(path):
        return modules.unwritable(path.rpartition("/")[2])
    return forms.unsettable(path)


def usual(path: str) -> bool:
    """Return whether ``path`` is an allowed setting on every machine."""
    return _within(path, ALLOWED)


def refusal(machine: Machine, path: str) -> str:
    """Return why a policy may not set ``path`` on a machine, or an empty text."""
    reason = malformed(path)
    if reason:
        return reason
    real = machine.resolve(path)
    if usual(path) and usual(real):
        return ""
    places = allowed(machine)
    if not _within(path, places):
        return "this file is not on the list of settings"
    if real != path and not _within(real, places):
        return f"it leads to `{real}`, which is not on the list of settings"
    return ""


_SIZES = rf"{_THP}/hugepages-\d+kB"
_MISSING = (
    (r"/sys/module/damon_[a-z_]+/parameters/enabled", "0"),
    (r"/sys/module/zswap/parameters/(enabled|shrinker_enabled)", "0"),
    (r"/proc/sys/kernel/numa_balancing", "0"),
    (r"/sys/kernel/mm/numa/demotion_enabled", "0"),
    (r"/sys/kernel/mm/lru_gen/enabled", "0"),
    (rf"{_KSM}/(run|smart_scan|use_zero_pages)", "0"),
    (rf"{_KSM}/advisor_mode", "none"),
    (rf"({_THP}|{_SIZES})/(shmem_)?enabled", "never"),
    (rf"{_THP}/defrag", "never"),
    (rf"{_THP}/(khugepaged/defrag|use_zero_page|shrink_underused)", "0"),
    (rf"{_VM}/(zone_reclaim_mode|compaction_proactiveness|defrag_mode)", "0"),
    (rf"{_VM}/nr_(overcommit_)?hugepages", "0"),
)
"""The value equivalent to a missing file, by path, as its feature is missing."""


def missing(path: str, value: str) -> bool:
    """Return whether a kernel without a file behaves as with ``value`` in it."""
    counts = (off for pattern, off in _MISSING if re.fullmatch(pattern, path))
    return normalise(value) in counts


def _within(path: str, places: tuple[str, ...]) -> bool:
    return any(re.match(pattern, path) for pattern in _PATTERNS) or any(
        path.startswith(place) if place.endswith("/") else path == place for place in places
    )


def normalise(text: str) -> str:
    """Reduce a setting's content to its meaning, so that equal ones compare equal.

    ``always [madvise] never`` is ``madvise``, ``Y`` is ``1``, white space does not count.
    """
    words = " ".join(text.split())
    found = re.search(_CHOSEN, words)
    if found:
        return found[1]
    if (truth := forms.truth(words)) is not None:
        return str(int(truth))
    if re.fullmatch(r"0x[0-9a-f]{1,16}", words.lower()):
        return str(int(words, 16))
    return words


def beyond(path: str, value: str) -> str:
    """Return a file's valid values on all kernels if ``value`` is not one, or an empty text."""
    return forms.problem(path, value)


def unreadable(path: str, content: str, value: str) -> str:
    """Return why a file that holds ``content`` cannot take ``value``, or an empty text.

    Only the form is checked; limits that are equal on all kernels are checked by `beyond`.
    """
    form = forms.like(content)
    return "" if form is None or form.canonical(forms.canonical(path, value)) else str(form)


def written(path: str, value: str, content: str = "") -> str:
    """Return the text to write for a policy's value to a file that holds ``content``."""
    text = forms.canonical(path, value)
    form = forms.like(content) if forms.form_of(path) is None else None
    return (form.canonical(text) if form is not None else "") or text


def paced(mode: str) -> bool:
    """Return whether KSM's advisor sets `PAGES`, from the content of `ADVISOR`."""
    return normalise(mode) not in ("", "none")
