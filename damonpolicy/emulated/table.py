"""The table of DAMON's files, and the resulting layout of each kernel.

A file exists if the kernel has the feature that introduced it (`features.by_file`), or if no
feature names it. Defaults are those of `kernel.tree`. Modes, kinds and errnos were compared with
all real kernels of `tests/kernel/observed/`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

from damonpolicy.emulated.profiles import Profile
from damonpolicy.kernel import features
from damonpolicy.kernel.tree import default

__all__ = (
    "BUILD",
    "COMMANDS",
    "FILES",
    "Directory",
    "File",
    "Layout",
    "copy",
    "counted",
    "get",
    "layout",
    "number",
    "numbered",
)

Directory: TypeAlias = dict[str, Any]
"""Names to contents (`str`) or to further directories."""

BUILD = 16_384
"""The most directories before ENOMEM; real kernels fail a little above 500,000."""


@dataclass(frozen=True, slots=True)
class File:
    """A file of the table: a pattern of `tree.pattern`, and its kind."""

    pattern: str
    kind: str
    mode: int = 0o600
    most: int = 1 << 31
    words: tuple[str, ...] = ()


_C = "*/contexts/*"
_A = f"{_C}/monitoring_attrs"
_S = f"{_C}/schemes/*"
_Q = f"{_S}/quotas"
_R = f"{_S}/tried_regions"


def _each(directory: str, kind: str, *names: str, mode: int = 0o600) -> list[File]:
    return [File(f"{directory}/{name}", kind, mode) for name in names]


def _word(pattern: str, *words: str) -> File:
    return File(pattern, "word", words=words)


def _filters(directory: str, *words: str) -> list[File]:
    return [
        File(f"{directory}/nr_filters", "count"),
        _word(f"{directory}/*/type", *words),
        *_each(f"{directory}/*", "bool", "matching", "allow"),
        File(f"{directory}/*/memcg_path", "path"),
        *_each(f"{directory}/*", "ulong", "addr_start", "addr_end", "min", "max"),
        File(f"{directory}/*/damon_target_idx", "int"),
    ]


_CORE = ("addr", "target", "probe_hits_wsum")
_OPS = ("anon", "active", "memcg", "young", "hugepage_size", "unmapped")

FILES: tuple[File, ...] = (
    File("nr_kdamonds", "count"),
    File("*/state", "state"),
    File("*/pid", "pid", 0o400),
    File("*/refresh_ms", "uint"),
    File("*/contexts/nr_contexts", "count", most=1),
    File(f"{_C}/avail_operations", "value", 0o400),
    _word(f"{_C}/operations", "vaddr", "fvaddr", "paddr"),
    File(f"{_C}/addr_unit", "unit"),
    File(f"{_C}/pause", "bool"),
    *_each(f"{_C}/operations_attrs", "bool", "use_reports", "write_only"),
    File(f"{_C}/operations_attrs/cpus", "cpus"),
    File(f"{_C}/operations_attrs/tids", "threads"),
    *_each(f"{_A}/intervals", "ulong", "sample_us", "aggr_us", "update_us"),
    *_each(
        f"{_A}/intervals/intervals_goal", "ulong",
        "access_bp", "aggrs", "min_sample_us", "max_sample_us",
    ),
    *_each(f"{_A}/nr_regions", "ulong", "min", "max"),
    File(f"{_A}/probes/nr_probes", "count", most=4),
    File(f"{_A}/probes/*/weight", "uint"),
    File(f"{_A}/probes/*/filters/nr_filters", "count"),
    _word(
        f"{_A}/probes/*/filters/*/type",
        "anon", "memcg", "pgidle_unset", "pgidle_set", "hugepage_size",
    ),
    *_each(f"{_A}/probes/*/filters/*", "bool", "matching", "allow"),
    File(f"{_A}/probes/*/filters/*/path", "path"),
    *_each(f"{_A}/probes/*/filters/*", "ulong", "min", "max"),
    File(f"{_A}/probes/*/preps/nr_preps", "count"),
    _word(f"{_A}/probes/*/preps/*/prep_action", "set_pgidle"),
    *_each(f"{_A}/sample/primitives", "bool", "page_table", "page_fault"),
    File(f"{_A}/sample/filters/nr_filters", "count"),
    _word(f"{_A}/sample/filters/*/type", "cpumask", "threads", "write"),
    *_each(f"{_A}/sample/filters/*", "bool", "matching", "allow"),
    File(f"{_A}/sample/filters/*/cpumask", "cpus"),
    File(f"{_A}/sample/filters/*/tid_arr", "threads"),
    File(f"{_C}/targets/nr_targets", "count"),
    File(f"{_C}/targets/*/pid_target", "pid_t"),
    File(f"{_C}/targets/*/obsolete_target", "bool"),
    File(f"{_C}/targets/*/regions/nr_regions", "count"),
    *_each(f"{_C}/targets/*/regions/*", "ulong", "start", "end"),
    File(f"{_C}/schemes/nr_schemes", "count"),
    _word(
        f"{_S}/action", "willneed", "cold", "pageout", "hugepage", "nohugepage", "collapse",
        "lru_prio", "lru_deprio", "migrate_hot", "migrate_cold", "stat",
    ),
    File(f"{_S}/apply_interval_us", "ulong"),
    File(f"{_S}/target_nid", "int"),
    *(
        file
        for range_ in ("sz", "nr_accesses", "age")
        for file in _each(f"{_S}/access_pattern/{range_}", "ulong", "min", "max")
    ),
    *_filters(f"{_S}/filters", *_OPS, *_CORE),
    *_filters(f"{_S}/core_filters", *_CORE),
    *_filters(f"{_S}/ops_filters", *_OPS),
    File(f"{_S}/dests/nr_dests", "count"),
    *_each(f"{_S}/dests/*", "uint", "id", "weight"),
    *_each(_Q, "quota", "ms", "bytes", "reset_interval_ms"),
    File(f"{_Q}/effective_bytes", "value", 0o400),
    *_each(_Q, "charge", "fail_charge_num", "fail_charge_denom"),
    _word(f"{_Q}/goal_tuner", "consist", "temporal"),
    *_each(f"{_Q}/weights", "uint", "sz_permil", "nr_accesses_permil", "age_permil"),
    File(f"{_Q}/goals/nr_goals", "count"),
    _word(
        f"{_Q}/goals/*/target_metric", "user_input", "some_mem_psi_us", "node_mem_used_bp",
        "node_mem_free_bp", "node_memcg_used_bp", "node_memcg_free_bp", "active_mem_bp",
        "inactive_mem_bp", "node_eligible_mem_bp", "hugepage_mem_bp",
    ),
    *_each(f"{_Q}/goals/*", "ulong", "target_value", "current_value"),
    File(f"{_Q}/goals/*/nid", "int"),
    File(f"{_Q}/goals/*/complement", "bool"),
    File(f"{_Q}/goals/*/path", "path"),
    _word(f"{_S}/watermarks/metric", "none", "free_mem_rate"),
    *_each(f"{_S}/watermarks", "ulong", "interval_us", "high", "mid", "low"),
    *_each(f"{_S}/stats", "value", "nr_tried", "sz_tried", "nr_applied", "sz_applied", mode=0o400),
    File(f"{_S}/stats/qt_exceeds", "value", 0o400),
    File(f"{_S}/stats/sz_ops_filter_passed", "value", 0o400),
    File(f"{_S}/stats/nr_snapshots", "value", 0o400),
    File(f"{_S}/stats/max_nr_snapshots", "ulong"),
    File(f"{_R}/total_bytes", "value", 0o400),
    *_each(f"{_R}/*", "value", "start", "end", "nr_accesses", "age", mode=0o400),
    File(f"{_R}/*/sz_filter_passed", "value", 0o400),
    File(f"{_R}/*/probes/*/hits", "value", 0o400),
)  # fmt: skip

COMMANDS = (
    "on",
    "off",
    "commit",
    "commit_schemes_quota_goals",
    "update_schemes_stats",
    "update_schemes_tried_bytes",
    "update_schemes_tried_regions",
    "clear_schemes_tried_regions",
    "update_schemes_effective_quotas",
    "update_tuned_intervals",
)


@dataclass(frozen=True, slots=True)
class Layout:
    """The files of one kernel, and the initial content of every numbered directory.

    ``templates`` has the directories by pattern: ``*`` for a kdamond's, ``*/contexts/*``
    for a context's; the topmost one is "".
    """

    files: dict[str, File]
    templates: dict[str, Directory]
    commands: tuple[str, ...]

    def fresh(self, pattern: str) -> Directory:
        """Return a new directory with defaults."""
        return copy(self.templates[pattern])


def copy(directory: Directory) -> Directory:
    """Return a copy that shares nothing mutable."""
    return {
        name: value if isinstance(value, str) else copy(value) for name, value in directory.items()
    }


@cache
def layout(profile: Profile) -> Layout:
    """Return the layout of a kernel, cached."""
    files = {}
    for file in FILES:
        if _there(file, profile):
            words = tuple(each for each in file.words if _knows(profile, file.pattern, each))
            files[file.pattern] = File(file.pattern, file.kind, file.mode, file.most, words)
    templates: dict[str, Directory] = {"": {}}
    for pattern in files:
        parts = pattern.split("/")
        here, where = templates[""], ""
        for index, part in enumerate(parts[:-1]):
            where = "/".join(parts[: index + 1])
            here = templates.setdefault(where, {}) if part == "*" else here.setdefault(part, {})
        here[parts[-1]] = default(pattern)
    if f"{_C}/avail_operations" in files:
        templates[_C]["avail_operations"] = "\n".join(files[f"{_C}/operations"].words)
    commands = tuple(each for each in COMMANDS if _knows(profile, "*/state", each))
    return Layout(files, templates, commands)


def _there(file: File, profile: Profile) -> bool:
    feature = features.by_file(file.pattern)
    return feature is None or profile.has(feature.name)


def _knows(profile: Profile, pattern: str, word: str) -> bool:
    """Return whether a file accepts a word; the filters' layers accept the words of ``filters``."""
    usual = pattern.replace("core_filters", "filters").replace("ops_filters", "filters")
    feature = features.by_word(usual, word)
    return feature is None or profile.has(feature.name)


def counted(pattern: str) -> str:
    """Return the pattern of the numbered directories that a count file makes."""
    directory = pattern.rpartition("/")[0]
    return f"{directory}/*" if directory else "*"


def get(directory: Directory, path: str, default: str = "") -> str:
    """Return the content of a file of a directory tree, ``default`` if it is missing."""
    here: Any = directory
    for part in path.split("/"):
        if part not in here:
            return default
        here = here[part]
    return str(here)


def number(directory: Directory, path: str) -> int:
    """Return the number in a file, 0 if it is missing."""
    return int(get(directory, path, "0"))


def numbered(directory: Directory) -> list[Directory]:
    """Return the numbered directories of a directory, in order."""
    found: list[Directory] = []
    while str(len(found)) in directory:
        found.append(directory[str(len(found))])
    return found
