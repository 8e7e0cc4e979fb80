"""Hints that show how to write what the kernel, damo or plain English call otherwise."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from damonpolicy.diagnostics import did_you_mean
from damonpolicy.kernel.modules import MODULES, PARAMETERS
from damonpolicy.model.filters import IDLE
from damonpolicy.model.words import FOREIGN, elsewhere
from damonpolicy.source.nodes import Path

__all__ = (
    "flow",
    "is_kernel_filter",
    "kernel_filter",
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
