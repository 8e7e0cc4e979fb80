"""Hints that show how to write what the kernel, damo or plain English call otherwise."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fractions import Fraction
from typing import Any

from damonpolicy.diagnostics import did_you_mean
from damonpolicy.kernel.modules import MODULES, PARAMETERS
from damonpolicy.model.filters import IDLE
from damonpolicy.model.words import FOREIGN, WORDS, elsewhere
from damonpolicy.source.nodes import Path
from damonpolicy.units import format_duration, format_percent

__all__ = (
    "bare_number",
    "flow",
    "is_kernel_filter",
    "kernel_filter",
    "kernel_unit",
    "missing",
    "unknown_key",
    "wrong_process",
    "wrong_word",
)

_PAGES = ("anon", "active", "young", "unmapped", "pgidle_unset", "pgidle_set")
_TRUE = ("y", "yes", "true", "1", "on")
_SELECTORS = {
    "pid": "pid",
    "pid_target": "pid",
    "target_pid": "pid",
    "name": "name",
    "cmdline": "cmdline",
    "exe": "exe",
    "user": "user",
    "cgroup": "cgroup",
}
_EXAMPLES = {
    "watermarks": "{metric: free_mem_rate, every: 5s, high: 50%, mid: 40%, low: 20%}",
    "auto_tune": "{observe: 4%, aggregations: 3, min_sample: 5ms, max_sample: 10s}",
}
_LONGEST_NUMBER = 19
_COUNTED = {
    "us": ("microseconds", 0),
    "ms": ("milliseconds", 0),
    "permil": ("permil", 1_000),
    "bp": ("basis points", 10_000),
    "samples": ("samples", 0),
    "aggregations": ("aggregations", 0),
}
"""How a number of the kernel's files is called, by its unit, and what of it is all."""
_NEGATION = re.compile(r"(?:(?:not|non|none|no)[\s_-]+|!\s*)(\w+)", re.IGNORECASE)
_ALIASES = {
    "reclaim": "pageout",
    "swap": "pageout",
    "thp": "hugepage",
    "promote": "migrate_hot",
    "demote": "migrate_cold",
    "merge": "stat",
    "mergeable": "stat",
    "physical": "paddr",
    "virtual": "vaddr",
    "psi": "some_mem_psi_us",
    "writes": "write",
    "reads": "read",
    "anonymous": "anon",
    "nomax": "unlimited",
    "none": "unlimited",
}


def flow(text: str, most: int = 40) -> str:
    """Write a text so that it can stand in ``{…}``."""
    if len(text) > most:
        return "…"
    if re.fullmatch(r"[\w./+-]+", text):
        return text
    return "'" + text.replace("'", "''") + "'"


def kernel_unit(path: Path) -> str:
    """Return what the kernel's file counts that a place of a policy is for; empty where none is."""
    words = [each for each in path if isinstance(each, str) and each not in ("kdamonds", "schemes")]
    if path[:1] == ("modules",):
        parameters = (each for each in PARAMETERS.values() if each.module in words)
        return next((each.unit for each in parameters if each.name == words[-1]), "")
    return next((each.unit for each in WORDS if each.ours == ".".join(words)), "")


def bare_number(unit: str, text: str, hint: str) -> str:
    """Tell what to write for a number without a unit: first what it is to the kernel's file.

    ``hint`` is what else it could be. Who copies from the kernel's files, or from a program that
    writes them, would else be wrong by a factor of 10 or 1000.
    """
    if unit not in _COUNTED or not text.isdecimal() or len(text) > _LONGEST_NUMBER:
        return hint
    number, (counted, scale) = int(text), _COUNTED[unit]
    if scale:
        share = Fraction(number, scale)
        kernel, others = format_percent(share), [f"{text}%"] if number <= 100 else []
        if share > 1:
            return hint
    elif counted.endswith("seconds"):
        kernel = format_duration(number * (1_000 if unit == "ms" else 1))
        others = [f"{text}ms", f"{text}s"]
    else:
        kernel = f"{text} {unit}"
        others = [f"{text}ms", f"{text}s"] if unit == "aggregations" else [f"{text}%"]
        others = others if unit == "aggregations" or number <= 100 else []
    why = "as the kernel counts" if kernel.endswith(unit) else f"the kernel's {text} {counted}"
    rest = [each for each in others if each != kernel]
    listed = "".join(f", `{each}`" for each in rest[:-1])
    return f"write `{kernel}` ({why}){listed}" + (f" or `{rest[-1]}`" if rest else "")


def unknown_key(path: Path, value: Any, known: Iterable[str]) -> str:
    """Tell what was meant by a key that is not known at its place."""
    name, words = str(path[-1]), list(known)
    if name in _SELECTORS and path[-3:-2] == ("targets",) and isinstance(value, str):
        return f"write `{{process: {{{_SELECTORS[name]}: {flow(value)}}}}}`"
    module = next((each for each in MODULES if name in (each, each.removeprefix("damon_"))), "")
    if path[:1] == ("modules",):
        others = [each.module for each in PARAMETERS.values() if each.name == name]
        if module in words:
            return f"did you mean `{module}`?"
        return f"`{others[0]}` has it" if others else did_you_mean(name, words)
    if module and len(path) == 1:
        return f"write it below `modules:`, as `{module}:`"
    ours, there = FOREIGN.get(name, ""), elsewhere(name)
    if ours in words:
        return f"did you mean `{ours}`?"
    if there:
        return f"it is `{there}` in a policy"
    return did_you_mean(name, words)


def wrong_word(path: Path, given: str, words: list[str]) -> str:
    """Tell which of the words was meant."""
    if "schemes" in path:  # whose filters know fewer words than those of probes
        words = [each for each in words if each not in IDLE]
    inverted = _NEGATION.fullmatch(given)
    if inverted and inverted[1] in words and path[-1] in ("allow", "reject"):
        return f"write `{{not: {inverted[1]}}}`"
    meant = _ALIASES.get(given.lower(), "")
    return f"did you mean `{meant}`?" if meant in words else did_you_mean(given, words)


def missing(path: Path, names: list[str]) -> str:
    """Tell what to add where keys are missing."""
    example = _EXAMPLES.get(str(path[-1])) if path else None
    if example and len(names) > 1:
        return f"write for example `{path[-1]}: {example}`"
    return "add " + " and ".join(f"`{name}:`" for name in names)


def wrong_process(given: str) -> str:
    """Show the selector that a bare value stands for."""
    key = "pid" if given.isdecimal() else "exe" if given.startswith("/") else "name"
    return f"write `{{{key}: {flow(given)}}}`"


def is_kernel_filter(item: Any) -> bool:
    """Tell whether a filter is written by the kernel's files, such as `{type: anon, …}`."""
    return isinstance(item, dict) and not {"type", "matching"}.isdisjoint(item)


def kernel_filter(item: dict[str, Any]) -> str:
    """Show a filter that is written by the kernel's files as one of ours."""
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
        return f"{{{kind}: {flow(given)}}}"
    if kind == "addr" and {"addr_start", "addr_end"} <= texts.keys():
        start, end = flow(texts["addr_start"]), flow(texts["addr_end"])
        return f"{{addr: {{start: {start}, end: {end}}}}}"
    return ""
