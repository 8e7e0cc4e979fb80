"""DAMON's modules: their parameters, the units, and invalid combinations.

DAMON_RECLAIM, DAMON_LRU_SORT and DAMON_STAT run a kdamond of their own, which lets no other run
beside it (mm/damon/core.c: damon_start() with ``exclusive``). Their parameters are files below
/sys/module. A running module reads them again when `COMMIT_INPUTS` is written: newer kernels answer
at once, older ones take them when the kdamond next looks, and on a wrong parameter then stop it
(6.12) or continue unchanged (6.18).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TypeAlias

from damonpolicy.base.lazy import dataclass
from damonpolicy.base.units import U32_MAX, format_duration
from damonpolicy.kernel.system.host import MODULES
from damonpolicy.kernel.system.memory import PAGE

__all__ = (
    "ALL",
    "COMMIT_INPUTS",
    "MODULES",
    "PARAMETERS",
    "REGION",
    "TUNED_AGGREGATION",
    "UNLIMITED",
    "Parameter",
    "Problem",
    "module_of",
    "parameter_path",
    "problems",
    "unwritable",
    "watched",
)

_ROOT = "/sys/module"
_PATH = re.compile(rf"{_ROOT}/(damon_[a-z_]+)/parameters/([a-z0-9_]+)\Z")
_REPORTS = re.compile(
    r"(?:kdamond_pid|nr_\w+|bytes_\w+|estimated_memory_bandwidth|memory_idle_ms_percentiles"
    r"|aggr_interval_us)\Z"
)

COMMIT_INPUTS = "commit_inputs"
"""The file that hands parameters to a running module when ``Y`` is written."""

REGION = ("monitor_region_start", "monitor_region_end")
"""If both are 0, the kernel fills them in when the module takes its parameters."""

UNLIMITED = ("quota_sz", "quota_ms")
"""Parameters for which 0 means no limit."""

TUNED_AGGREGATION = 100_000
"""The start of a module's tuned intervals in microseconds, whatever its parameters."""

_FEWEST_REGIONS = 3
_LARGEST_UNIT = 1 << 20


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter; ``default`` is that of Debian's kernels.

    ``unit`` is that of its file, as in `kernel.damon.words`, and empty for what no policy sets;
    ``feature`` names what brought it (`kernel.damon.features`).
    """

    module: str
    name: str
    unit: str
    default: str
    feature: str

    @property
    def path(self) -> str:
        """The path of its file."""
        return parameter_path(self.module, self.name)

    @property
    def kind(self) -> str:
        """What the file takes; a ``value`` is only read."""
        if self.unit and self.name != "enabled":
            return "bool" if self.unit == "bool" else "ulong"
        return {"enabled": "enabled", "kdamond_pid": "pid", COMMIT_INPUTS: "commit"}.get(
            self.name, "value"
        )


@dataclass(frozen=True, slots=True)
class Problem:
    """An invalid combination of parameters; ``fatal`` if the kernel would not run with it."""

    code: str
    names: tuple[str, ...]
    message: str
    hint: str
    fatal: bool = True


def parameter_path(module: str, name: str) -> str:
    """Return the path of a parameter's file."""
    return f"{_ROOT}/{module}/parameters/{name}"


_Row: TypeAlias = tuple[str, str, str, str]
"""Names, unit, default, and the end of the feature's name; empty for the module's own."""


def _module(module: str, *rows: _Row) -> list[Parameter]:
    base = f"module.{module.removeprefix('damon_')}"
    return [
        Parameter(module, name, unit, default, base + feature)
        for names, unit, default, feature in rows
        for name in names.split()
    ]


def _shared(online: str) -> tuple[_Row, ...]:
    return (
        ("enabled", "bool", "N", ""),
        ("kdamond_pid", "", "-1", ""),
        (COMMIT_INPUTS, "", "N", online),
        ("sample_interval", "us", "5000", ""),
        ("aggr_interval", "us", "100000", ""),
        ("min_nr_regions", "count", "10", ""),
        ("max_nr_regions", "count", "1000", ""),
        ("monitor_region_start monitor_region_end", "address", "0", ""),
        ("quota_ms", "ms", "10", ""),
        ("quota_reset_interval_ms", "ms", "1000", ""),
        ("wmarks_interval", "us", "5000000", ""),
        ("addr_unit", "count", "1", ".addr_unit"),
    )


ALL: tuple[Parameter, ...] = (
    *_module(
        "damon_stat",
        ("enabled", "bool", "N", ""),
        ("kdamond_pid", "", "-1", ".pid"),
        ("estimated_memory_bandwidth", "", "0", ""),
        ("memory_idle_ms_percentiles", "", ",".join(["0"] * 101), ""),
        ("aggr_interval_us", "", "0", ".interval"),
    ),
    *_module(
        "damon_reclaim", *_shared(".online"),
        ("min_age", "us", "120000000", ""),
        ("quota_sz", "bytes", "134217728", ""),
        ("quota_mem_pressure_us", "us", "0", ".goals"),
        ("quota_autotune_feedback", "count", "0", ".goals"),
        ("skip_anon", "bool", "N", ".skip_anon"),
        ("autotune_monitoring_intervals", "bool", "N", ".auto_tune"),
        ("wmarks_high", "permil", "500", ""),
        ("wmarks_mid", "permil", "400", ""),
        ("wmarks_low", "permil", "200", ""),
        ("nr_quota_exceeds nr_reclaim_tried_regions nr_reclaimed_regions", "", "0", ""),
        ("bytes_reclaim_tried_regions bytes_reclaimed_regions", "", "0", ""),
    ),
    *_module(
        "damon_lru_sort", *_shared(""),
        ("hot_thres_access_freq", "permil", "500", ""),
        ("cold_min_age", "us", "120000000", ""),
        ("active_mem_bp", "bp", "0", ".goals"),
        ("autotune_monitoring_intervals filter_young_pages", "bool", "N", ".goals"),
        ("wmarks_high", "permil", "200", ""),
        ("wmarks_mid", "permil", "150", ""),
        ("wmarks_low", "permil", "50", ""),
        ("nr_cold_quota_exceeds nr_hot_quota_exceeds", "", "0", ""),
        ("nr_lru_sort_tried_cold_regions nr_lru_sort_tried_hot_regions", "", "0", ""),
        ("nr_lru_sorted_cold_regions nr_lru_sorted_hot_regions", "", "0", ""),
        ("bytes_lru_sort_tried_cold_regions bytes_lru_sort_tried_hot_regions", "", "0", ""),
        ("bytes_lru_sorted_cold_regions bytes_lru_sorted_hot_regions", "", "0", ""),
    ),
)  # fmt: skip
"""Every parameter."""

PARAMETERS: Mapping[str, Parameter] = {each.path: each for each in ALL if each.unit}
"""Every settable parameter, by the path of its file."""


def module_of(path: str) -> str:
    """Return the module of DAMON that a parameter's file belongs to, empty for any other file."""
    found = _PATH.match(path)
    return found[1] if found and found[1] in MODULES else ""


def unwritable(name: str) -> str:
    """Return why a policy may not set a parameter, or an empty text."""
    if name == COMMIT_INPUTS:
        return "damonpolicy writes it itself, once the parameters have changed"
    return "it only reports what the module does" if _REPORTS.match(name) else ""


def watched(paths: set[str]) -> set[str]:
    """Return all files that show the state of the modules of some settings."""
    modules = {module for path in paths if (module := module_of(path))}
    files = {path for path, each in PARAMETERS.items() if each.module in modules}
    return files | {parameter_path(module, COMMIT_INPUTS) for module in modules}


def problems(module: str, contents: Mapping[str, str]) -> Iterator[Problem]:
    """Yield invalid combinations of a module's parameters.

    ``contents`` are those of its files, by name; missing ones are not checked.
    """
    known = {name: int(text) for name, text in contents.items() if text.isdecimal()}
    tuned = contents.get("autotune_monitoring_intervals") in ("Y", "1")
    yield from _zeros(known)
    yield from _attributes(module, known, tuned=tuned)
    yield from _region(known)
    marks = [name for name in ("wmarks_high", "wmarks_mid", "wmarks_low") if name in known]
    values = [known[name] for name in marks]
    if values != sorted(values, reverse=True):
        message = "the watermarks are not in the order " + " ≥ ".join(f"`{n}`" for n in marks)
        hint = "asleep above `wmarks_high` and below `wmarks_low`, awake from `wmarks_mid` down"
        yield Problem("DP0206", tuple(marks), message, hint, fatal=False)
    if "wmarks_mid" in known and known["wmarks_mid"] == known.get("wmarks_low"):
        message = "`wmarks_mid` and `wmarks_low` are the same: once it is asleep, it never wakes"
        hint = "it is awake between them: write a smaller `wmarks_low`, or a larger `wmarks_mid`"
        yield Problem("DP0259", ("wmarks_mid", "wmarks_low"), message, hint, fatal=False)
    yield from _quotas(known)
    aggregation = TUNED_AGGREGATION if tuned else known.get("aggr_interval", 0)
    for name in ("min_age", "cold_min_age"):
        if 0 < known.get(name, 0) < aggregation:
            message = f"`{name}` is shorter than an aggregation and becomes 0"
            hint = f"write at least one aggregation ({format_duration(aggregation)})"
            yield Problem("DP0220", (name, "aggr_interval"), message, hint, fatal=False)
        # mm/damon/reclaim.c: damon_reclaim_new_pageout_scheme() divides into an unsigned int
        if known.get(name, 0) // (aggregation or TUNED_AGGREGATION) > U32_MAX:
            message = f"`{name}` is more aggregations than the kernel's 32 bits can count"
            longest = format_duration(U32_MAX * (aggregation or TUNED_AGGREGATION))
            hint = f"write at most `{longest}`"
            yield Problem("DP0261", (name, "aggr_interval"), message, hint, fatal=False)


def _quotas(known: Mapping[str, int]) -> Iterator[Problem]:
    """Yield limits that allow nothing, and limits without effect."""
    if 0 < known.get("quota_sz", 0) < PAGE and known.get("addr_unit", 1) == 1:
        message = "`quota_sz` is less than a page, so it never lets anything pass"
        yield Problem("DP0259", ("quota_sz",), message, "write at least `4KiB`", fatal=False)
    window = known.get("quota_reset_interval_ms", 0) * 1_000
    if not window:
        return
    each = format_duration(window)
    if known.get("quota_ms", 0) * 1_000 >= window:
        names = ("quota_ms", "quota_reset_interval_ms")
        message = f"a kdamond has no more than {each} in each {each}, so `quota_ms` limits nothing"
        hint = f"write less than `{each}`, or `unlimited`"
        yield Problem("DP0260", names, message, hint, fatal=False)
    if known.get("quota_mem_pressure_us", 0) > window:
        names = ("quota_mem_pressure_us", "quota_reset_interval_ms")
        message = f"no task can wait for more than {each} in each {each}: the goal is never met"
        yield Problem("DP0260", names, message, f"write less than `{each}`", fatal=False)


def _zeros(known: Mapping[str, int]) -> Iterator[Problem]:
    for name in ("sample_interval", "aggr_interval", "wmarks_interval"):
        if known.get(name) == 0:
            message = f"`{name}` is 0, and the kernel would never rest"
            hint = "write for example `5s`" if name == "wmarks_interval" else "write at least `1us`"
            yield Problem("DP0222", (name,), message, hint)
    if known.get("quota_reset_interval_ms") == 0:
        message = "`quota_reset_interval_ms: 0` means no limit to the kernel"
        hint = "write `1s`; `quota_sz: unlimited` and `quota_ms: unlimited` limit nothing"
        yield Problem("DP0219", ("quota_reset_interval_ms",), message, hint, fatal=False)


def _attributes(module: str, known: Mapping[str, int], *, tuned: bool) -> Iterator[Problem]:
    low, high = known.get("min_nr_regions"), known.get("max_nr_regions")
    if low is not None and low < _FEWEST_REGIONS:
        message = f"`min_nr_regions` is below {_FEWEST_REGIONS}, and `{module}` would not start"
        yield Problem("DP0202", ("min_nr_regions",), message, "write at least 3")
    if low is not None and high is not None and low > high:
        message = f"`min_nr_regions` ({low}) is above `max_nr_regions` ({high})"
        hint = "choose the first no larger than the second"
        yield Problem("DP0201", ("min_nr_regions", "max_nr_regions"), message, hint)
    elif high is not None and high < _FEWEST_REGIONS:
        message = f"`max_nr_regions` is below {_FEWEST_REGIONS}, and `{module}` would not start"
        yield Problem("DP0202", ("max_nr_regions",), message, "write at least 3")
    sample, aggregation = known.get("sample_interval", 0), known.get("aggr_interval")
    if aggregation and sample > aggregation and not tuned:
        yield Problem(
            "DP0203",
            ("sample_interval", "aggr_interval"),
            f"`sample_interval` ({format_duration(sample)}) is above"
            f" `aggr_interval` ({format_duration(aggregation)})",
            "an aggregation sums up samples, 20 of them by default",
        )
    if aggregation and sample and aggregation // sample > U32_MAX and not tuned:
        message = (
            f"{aggregation // sample} samples an aggregation are more than the kernel's 32 bits"
        )
        hint = "make `aggr_interval` shorter, or `sample_interval` longer"
        yield Problem("DP0261", ("aggr_interval", "sample_interval"), message, hint, fatal=False)
    unit = known.get("addr_unit", 1)
    if unit == 0 or unit & (unit - 1) or unit > _LARGEST_UNIT:
        message = f"`addr_unit` is a power of two up to {_LARGEST_UNIT}"
        hint = "leave it out: only 32-bit machines with much memory need it"
        yield Problem("DP0236", ("addr_unit",), message, hint)


def _region(known: Mapping[str, int]) -> Iterator[Problem]:
    start, end = (known.get(name) for name in REGION)
    if start is None or end is None or start < end or start == end == 0:
        return
    message = f"the region ends ({end:#x}) before it starts ({start:#x})"
    hint = "the end is the first address that no longer belongs to it"
    yield Problem("DP0204", tuple(reversed(REGION)), message, hint)
