"""Hints that translate words of the kernel, of damo and of plain English."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fractions import Fraction
from typing import Any, get_args

from damonpolicy.base.diagnostics import closest, did_you_mean
from damonpolicy.base.units import format_duration, format_percent
from damonpolicy.kernel.damon.modules import MODULES, PARAMETERS
from damonpolicy.kernel.damon.words import FOREIGN, WORDS, elsewhere
from damonpolicy.policy.model.filters import IDLE, Page
from damonpolicy.policy.reading import forms, levels
from damonpolicy.policy.reading.forms import EXAMPLES, flow
from damonpolicy.policy.source.nodes import Path

__all__ = (
    "bare_number",
    "is_kernel_filter",
    "kernel_filter",
    "kernel_unit",
    "meant_key",
    "missing",
    "unknown_key",
    "wrong_process",
    "wrong_word",
)

_PAGES = get_args(Page)
_TRUE = ("y", "yes", "true", "1", "on")
_SELECTORS = {
    **{name: name for name in ("pid", "name", "cmdline", "exe", "user", "cgroup")},
    **dict.fromkeys(("pid_target", "target_pid"), "pid"),
    **dict.fromkeys(("memcg", "memcg_path"), "cgroup"),
}
_LINES = {
    ("", "version"): "1",
    ("", "name"): "my-policy",
    ("kdamonds", "name"): "memory",
    ("schemes", "name"): "cold",
    ("schemes", "action"): "stat",
    ("probes", "name"): "pages",
    ("watermarks", "metric"): "free_mem_rate",
    ("goals", "target"): "10ms",
}
"""Example values for a missing key, by its level."""
_UNLIMITED = ("no", "none", "nomax", "max", "inf", "infinite", "infinity", "off")
_FILES = ("file", "file_backed", "file-backed", "filebacked", "pagecache", "page_cache", "cache")
_HUGE = ("hugepage", "hugepages", "huge", "thp", "hugepage_size")
_LONGEST_NUMBER = 19
_SHARES = {"permil": ("permil", 1_000), "bp": ("basis points", 10_000)}
"""The name of a number in the kernel's files, by its unit, and its maximum."""
_TIMES = {"us": ("microseconds", 1), "ms": ("milliseconds", 1_000)}
"""The name of a number in the kernel's files, by its unit, and its microseconds."""
_COUNTS = ("samples", "aggregations")
_NEGATION = re.compile(r"(?:(?:not|non|none|no)[\s_-]+|!\s*)(\w+)", re.IGNORECASE)
_MEANINGS = {
    "pageout": "reclaim swapout swap_out evict swap",
    "stat": "count monitor nothing none merge mergeable",
    "hugepage": "thp",
    "migrate_hot": "promote",
    "migrate_cold": "demote",
    "paddr": "physical",
    "vaddr": "virtual",
    "some_mem_psi_us": "psi",
    "write": "writes",
    "read": "reads",
    "anon": "anonymous",
}
_ALIASES = {name: word for word, names in _MEANINGS.items() for name in names.split()}
"""Our word for each everyday one."""


def kernel_unit(path: Path) -> str:
    """Return the unit of the kernel's file for a place of a policy; empty if there is none."""
    words = [each for each in path if isinstance(each, str) and each not in ("kdamonds", "schemes")]
    if path[:1] == ("modules",):
        parameters = (each for each in PARAMETERS.values() if each.module in words)
        return next((each.unit for each in parameters if each.name == words[-1]), "")
    return next((each.unit for each in WORDS if each.ours == ".".join(words)), "")


def bare_number(unit: str, text: str, hint: str) -> str:
    """Return the hint for a number without a unit, with its meaning in the kernel's file first.

    ``hint`` has the other meanings. A number copied from the kernel's files, or from a program that
    writes them, could otherwise be wrong by a factor of 10 or 1000.
    """
    units = {*_SHARES, *_TIMES, *_COUNTS}
    if unit not in units or not text.isdecimal() or len(text) > _LONGEST_NUMBER:
        return hint
    number, why = int(text), "as the kernel counts"
    times, percent = [f"{text}ms", f"{text}s"], [f"{text}%"] if number <= 100 else []
    if unit in _SHARES:
        name, most = _SHARES[unit]
        if number > most:
            return hint
        kernel, others = format_percent(Fraction(number, most)), percent
        why = f"the kernel's {text} {name}"
    elif unit in _TIMES:
        name, factor = _TIMES[unit]
        kernel, others = format_duration(number * factor), times
        if number % 1_000 == 0:  # then it is written in a larger unit
            why = f"the kernel's {text} {name}"
    else:
        kernel, others = f"{text} {unit}", times if unit == "aggregations" else percent
    rest = [each for each in others if each != kernel]
    listed = "".join(f", `{each}`" for each in rest[:-1])
    return f"write `{kernel}` ({why}){listed}" + (f" or `{rest[-1]}`" if rest else "")


_AT_LEVEL = {
    "targets": {"node": "numa_node", "nid": "numa_node", "numa": "numa_node", "ram": "system_ram",
                "region": "regions", "processes": "process"},
    "process": {"comm": "name", "memcg": "cgroup", "pids": "pid", "uid": "user", "path": "exe",
                "command": "cmdline", "args": "cmdline", "executable": "exe"},
    "allow": {"cgroup": "memcg", "address": "addr", "hugepage": "hugepage_size"},
    "reject": {"cgroup": "memcg", "address": "addr", "hugepage": "hugepage_size"},
    "schemes": {"node": "to", "target_node": "to", "pattern": "access_pattern"},
    "quota": {"per": "every", "interval": "every", "limit": "size", "period": "every"},
    "goals": {"memcg": "cgroup", "value": "target", "numa_node": "node"},
    "accesses": {"type": "kind", "tids": "threads", "cpu": "cpus"},
    "access_pattern": {"rate": "access_rate", "frequency": "access_rate"},
    "region_count": {"minimum": "min", "maximum": "max"},
}  # fmt: skip
"""Keys of other levels, and everyday words, by the level at which they mean one of ours."""


def meant_key(path: Path, known: Iterable[str]) -> str:
    """Return the key of the same level that an unknown one stands for, or nothing."""
    name, words = str(path[-1]), list(known)
    level = next((key for key in reversed(path[:-1]) if isinstance(key, str)), "")
    plain = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower().replace("-", "_").replace(" ", "_")
    for each in (
        _AT_LEVEL.get(level, {}).get(plain, ""), FOREIGN.get(name, ""), plain,
        f"{plain}s", plain.removesuffix("s"),
    ):  # fmt: skip
        if each in words:
            return each
    if levels.place_of(path, "", ()) or elsewhere(name):
        return ""
    return closest(name, words)


def unknown_key(path: Path, value: Any, known: Iterable[str], beside: Iterable[str] = ()) -> str:
    """Return the hint for a key that is unknown at its place."""
    name, words = str(path[-1]), list(known)
    if path[-3:-2] == ("targets",):
        if name in _SELECTORS and isinstance(value, str):
            return f"write `{{process: {{{_SELECTORS[name]}: {_flow(value)}}}}}`"
    if path[-2:-1] in (("allow",), ("reject",)) and name in _PAGES and isinstance(value, str):
        what = name if value.lower() in _TRUE else f"{{not: {name}}}"
        return f"write `{{{path[-2]}: {what}}}`"
    module = next((each for each in MODULES if name in (each, each.removeprefix("damon_"))), "")
    if path[:1] == ("modules",):
        others = [each.module for each in PARAMETERS.values() if each.name == name]
        if module in words:
            return f"did you mean `{module}`?"
        return f"`{others[0]}` has it" if others else did_you_mean(name, words)
    if module and len(path) == 1:
        return f"write it below `modules:`, as `{module}:`"
    if ours := meant_key(path, words):
        return f"did you mean `{ours}`?"
    if there := levels.place_of(path, value, beside):
        return there
    if there := elsewhere(name):
        return f"it is `{there}` in a policy"
    return did_you_mean(name, words)


def _flow(text: str) -> str:
    """Quote a text for use in ``{…}``."""
    return flow(text, 40) or "…"


def wrong_word(path: Path, given: str, words: list[str]) -> str:
    """Return the hint for the word that was meant."""
    if "schemes" in path:  # filters of schemes have fewer words than those of probes
        words = [each for each in words if each not in IDLE]
    inverted = _NEGATION.fullmatch(given)
    if inverted and inverted[1] in words and path[-1] in ("allow", "reject"):
        return f"write `{{not: {inverted[1]}}}`"
    if words == ["unlimited"]:
        if given.lower() in _UNLIMITED or closest(given, words):
            return "write `unlimited`"
        return forms.form(path, given)
    if given.lower() in _FILES and path[-1] in ("allow", "reject") and "anon" in words:
        return "write `{not: anon}`"
    if given.lower() in _HUGE and path[-1] in ("allow", "reject"):
        return "write for example `{hugepage_size: {min: 2MiB, max: 2MiB}}`"
    plain = re.sub(r"[\s-]+", "_", given.lower()).removeprefix("damos_").removeprefix("damon_ops_")
    for meant in (_ALIASES.get(plain, ""), plain, plain.replace("_", "")):
        if meant in words:
            return f"did you mean `{meant}`?"
    return did_you_mean(given, words)


def missing(path: Path, names: list[str], given: Any) -> str:
    """Return the hint for missing keys, beside the ``given`` ones."""
    if path and path[-1] in ("watermarks", "auto_tune") and len(names) > 1:
        return f"write for example `{path[-1]}: {EXAMPLES[path[-1]]}`"
    return "add " + " and ".join(f"`{_line(path, name, given)}`" for name in names)


def _line(path: Path, name: str, given: Any) -> str:
    """Return a line with a missing key, and a value if one can be guessed."""
    level = next((key for key in reversed(path) if isinstance(key, str)), "")
    values = given if isinstance(given, dict) else {}
    example = _LINES.get((level, name), "")
    if name == "ops":
        targets = values.get("targets")
        processes = isinstance(targets, list) and any(
            isinstance(each, dict) and "process" in each for each in targets
        )
        example = "vaddr" if processes else "paddr"
    if (level, name) == ("goals", "metric"):
        target = values.get("target", "")
        bp = "node_mem_free_bp" if "node" in values else "active_mem_bp"
        example = bp if isinstance(target, str) and target.endswith("%") else "some_mem_psi_us"
    return f"{name}: {example}" if example else f"{name}:"


def wrong_process(given: str) -> str:
    """Return the hint with the selector that a bare value stands for."""
    key = "pid" if given.isdecimal() else "exe" if given.startswith("/") else "name"
    return f"write `{{{key}: {_flow(given)}}}`"


def is_kernel_filter(item: Any) -> bool:
    """Return whether a filter uses the kernel's file names, such as `{type: anon, …}`."""
    return isinstance(item, dict) and not {"type", "matching"}.isdisjoint(item)


def kernel_filter(item: dict[str, Any]) -> str:
    """Return the hint with a filter in our form for one with the kernel's file names."""
    texts = {key: value for key, value in item.items() if isinstance(value, str)}
    what = _what(texts)
    if not what or "matching" not in texts:
        return "write for example `{reject: anon}`, or `{reject: {not: anon}}`"
    if texts["matching"].lower() not in _TRUE:
        what = f"{{not: {what}}}"
    verb = "allow" if texts.get("allow", "").lower() in _TRUE else "reject"
    return f"write `{{{verb}: {what}}}`"


def _what(texts: dict[str, str]) -> str:
    kind = texts.get("type", "")
    if kind in _PAGES:
        return kind
    keys: dict[str, tuple[str, ...]] = {
        "memcg": ("memcg_path", "path"),
        "target": ("damon_target_idx", "target_idx"),
    }
    given = next((texts[key] for key in keys.get(kind, ()) if key in texts), "")
    if given:
        return f"{{{kind}: {_flow(given)}}}"
    if kind == "addr" and {"addr_start", "addr_end"} <= texts.keys():
        start, end = _flow(texts["addr_start"]), _flow(texts["addr_end"])
        return f"{{addr: {{start: {start}, end: {end}}}}}"
    return ""
