"""Hints with the right form of a value: a mapping instead of a word or a list."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, get_args

from damonpolicy.base import units
from damonpolicy.base.units import UnitError
from damonpolicy.policy.model.filters import Page
from damonpolicy.policy.model.scalars import correction, read_age, read_rate
from damonpolicy.policy.source.nodes import Path

__all__ = ("EXAMPLES", "filter_item", "flow", "form", "rate_of")

_READERS: Mapping[str, Callable[[str], Any]] = {
    "size": units.read_bytes,
    "access_rate": read_rate,
    "age": read_age,
    "region_count": units.read_count,
}
EXAMPLES = {
    "size": "{min: 2MiB}",
    "access_rate": "{max: 0%}",
    "age": "{min: 2m}",
    "region_count": "{min: 10, max: 1000}",
    "intervals": "{sample: 5ms, aggregation: 100ms}",
    "accesses": "{kind: write}",
    "quota": "{size: 128MiB, every: 1s}",
    "watermarks": "{metric: free_mem_rate, every: 5s, high: 50%, mid: 40%, low: 20%}",
    "auto_tune": "{observe: 4%, aggregations: 3, min_sample: 5ms, max_sample: 10s}",
    "weights": "{access_rate: 1, age: 1}",
    "temperature": "{access_rate: 1, age: 1}",
    "process": "{name: mysqld}",
    "targets": "[{system_ram: true}]",
    "filters": "[{reject: anon}]",
    "goals": "[{metric: some_mem_psi_us, target: 10ms}]",
    "regions": "[{start: 4GiB, end: 8GiB}]",
    "addr": "{start: 4GiB, end: 8GiB}",
    "hugepage_size": "{min: 2MiB, max: 2MiB}",
    "vars": "{name: value}",
    "settings": "{/sys/kernel/mm/ksm/run: 1}",
}
_TRUTH = dict.fromkeys(("0", "n", "no", "off", "false"), "false")
_LOWER, _UPPER = (">=", ">", "min", "at least", "from"), ("<=", "<", "max", "at most", "up to")
_SIGN = re.compile(rf"({'|'.join((*_LOWER, *_UPPER))})\s*(\S.*)")
_BETWEEN = r"(\S+?)\s*(?:-|–|\.\.+|\bto\b)\s*(\S+)"
_RATE = r"(.+?)\s*(?:/\s*|\bper\s+)(.+)"


def flow(value: Any, most: int = 60) -> str:
    """Write plain data for use in `{…}`; empty if it is too long to show."""
    if isinstance(value, str):
        plain = re.fullmatch(r"[\w./+%<>*-]+", value)
        text = value if plain else "'" + value.replace("'", "''") + "'"
    elif isinstance(value, dict):
        pairs = [(key, flow(each, most)) for key, each in value.items()]
        text = "{" + ", ".join(f"{key}: {each}" for key, each in pairs) + "}"
        text = text if all(each for _, each in pairs) else ""
    elif isinstance(value, list):
        items = [flow(each, most) for each in value]
        text = "[" + ", ".join(items) + "]" if all(items) else ""
    else:
        text = ""
    return text if len(text) <= most else ""


def form(path: Path, value: Any) -> str:
    """Return the hint with the right form of the value at a place."""
    names = [key for key in path if isinstance(key, str)]
    key = names[-1] if names else ""
    item = bool(path) and isinstance(path[-1], int)
    if key == "targets":
        return _targets(value, item=item)
    if key == "filters":
        return _filters(value, item=item)
    if isinstance(value, list) and len(names) > 1 and names[-2] in ("allow", "reject", "filters"):
        return _apart(names, value)
    meant = ""
    if key == "regions":
        return _regions(value, item=item)
    if key == "cpus" and isinstance(value, list):
        numbers = ",".join(each for each in value if isinstance(each, str))
        return f'write `cpus: "{numbers}"`' if numbers else ""
    if key in _READERS and names[-2:-1] != ["quota"]:
        meant = _bounds(key, value)
    elif key == "quota" and isinstance(value, str):
        meant = _quota(value)
    elif key == "intervals":
        meant = _intervals(value)
    elif key == "accesses" and isinstance(value, str):
        word = value.lower().removesuffix("s")
        meant = f"{{kind: {word}}}" if word in ("write", "read", "any") else ""
    elif key == "when" and isinstance(value, str):
        meant = f"{{feature: {flow(value)}}}"
    elif names[:1] == ["modules"] and len(names) == 2 and isinstance(value, str):
        truth = correction(value, units.read_bool) or _TRUTH.get(value.lower(), "true")
        meant = f"{{enabled: {truth}}}"
    if meant:
        return f"write `{key}: {meant}`"
    if isinstance(value, dict) and key in ("kdamonds", "schemes", "probes", "tuning"):
        first = next(iter(value.items()), ("name", key[:-1]))
        return f"begin each item with `- `, such as `- {first[0]}: {flow(first[1]) or '…'}`"
    if isinstance(value, dict) and flow(value):
        return f"write `{key}: [{flow(value)}]`"
    return f"write for example `{key}: {EXAMPLES[key]}`" if key in EXAMPLES else ""


def _reads(read: Callable[[str], Any], text: str) -> str:
    """Return a text that ``read`` accepts: the given one, or a correction."""
    try:
        read(text)
    except UnitError:
        return correction(text, read)
    return text


def _bounds(key: str, value: Any) -> str:
    read = _READERS[key]
    if isinstance(value, list):
        ends = [_reads(read, each) for each in value if isinstance(each, str)]
        whole = len(value) == 2 and all(ends) and len(ends) == 2
        return f"{{min: {ends[0]}, max: {ends[1]}}}" if whole else ""
    if not isinstance(value, str):
        return ""
    if found := _SIGN.fullmatch(value):
        end = "min" if found[1] in _LOWER else "max"
        text = _reads(read, found[2])
        return f"{{{end}: {text}}}" if text else ""
    if text := _reads(read, value):
        upper = key == "region_count" or (key == "access_rate" and text in ("0", "0%"))
        return f"{{{'max' if upper else 'min'}: {text}}}"
    if found := re.fullmatch(_BETWEEN, value):
        last = _reads(read, found[2])
        unit = last.lstrip("0123456789. ")
        first = _reads(read, found[1]) or _reads(read, found[1] + unit)
        return f"{{min: {first}, max: {last}}}" if first and last else ""
    return ""


def rate_of(text: str) -> tuple[str, str, str] | None:
    """Return a rate such as an amount per time: the key of the amount, it, and the time."""
    found = re.fullmatch(_RATE, text.strip())
    if not found:
        return None
    key, amount = _amount(found[1])
    every = units.meant_duration(found[2] if found[2][:1].isdigit() else f"1{found[2]}")
    return (key, amount, every) if amount and every else None


def _amount(text: str) -> tuple[str, str]:
    """Return an amount of memory or time in our units, with its key in a quota."""
    size = units.meant_bytes(text)
    return ("size", size) if size else ("time", units.meant_duration(text))


def _quota(text: str) -> str:
    """Write a bare amount, or an amount per time, as a quota."""
    key, amount, every = rate_of(text) or (*_amount(text), "1s")
    return f"{{{key}: {amount}, every: {every}}}" if amount else ""


def _intervals(value: Any) -> str:
    listed = value if isinstance(value, list) else [value]
    times = [units.meant_duration(each) for each in listed if isinstance(each, str)]
    if not times or not all(times) or len(times) != len(listed) or len(times) > 3:
        return ""
    pairs = zip(("sample", "aggregation", "update"), times, strict=False)
    return "{" + ", ".join(f"{key}: {time}" for key, time in pairs) + "}"


def _regions(value: Any, *, item: bool) -> str:
    ends = value if isinstance(value, list) and len(value) == 2 else []
    if isinstance(value, str) and (found := re.fullmatch(_BETWEEN, value)):
        ends = list(found.groups())
    texts = [_reads(units.read_address, each) for each in ends if isinstance(each, str)]
    if len(texts) != 2 or not all(texts):
        return f"write for example `regions: {EXAMPLES['regions']}`"
    text = f"{{start: {texts[0]}, end: {texts[1]}}}"
    return f"write `{text}`" if item else f"write `regions: [{text}]`"


def _targets(value: Any, *, item: bool) -> str:
    if isinstance(value, dict):
        text = flow(value)
        return f"write `targets: [{text}]`" if text else _AS_A_LIST
    if not isinstance(value, str):
        return ""
    word = value.lower().replace("-", "_").replace(" ", "_")
    if word in ("system_ram", "ram", "all", "memory"):
        text = "{system_ram: true}"
    elif found := re.fullmatch(r"(?:numa_?)?(?:node_?)?(\d+)", word):
        text = f"{{numa_node: {found[1]}}}"
    else:
        text = f"{{process: {{name: {flow(value) or '…'}}}}}"
    return f"write `{text}`" if item else f"write `targets: [{text}]`"


_AS_A_LIST = "begin each item with `- `, or write `[…]`"


def _filters(value: Any, *, item: bool) -> str:
    if isinstance(value, dict):
        text = flow(value)
    else:
        text = filter_item(value) if isinstance(value, str) else ""
    if not text:
        return "" if item else _AS_A_LIST
    return f"write `{text}`" if item else f"write `filters: [{text}]`"


def filter_item(text: str) -> str:
    """Write a filter given as words, such as `reject not anon`, in the right form."""
    words = text.replace(":", " ").split() or [""]
    verb = {"deny": "reject", "block": "reject", "pass": "allow"}.get(words[0], words[0])
    if verb not in ("allow", "reject"):
        verb, rest = "reject", words
    else:
        rest = words[1:]
    negated = rest[:1] in (["not"], ["non"])
    kind = rest[-1] if len(rest) == 1 + negated else ""
    if kind not in get_args(Page):
        return ""
    return f"{{{verb}: {{not: {kind}}}}}" if negated else f"{{{verb}: {kind}}}"


def _apart(names: list[str], value: list[Any]) -> str:
    """Write a list of conditions in one filter as one filter for each."""
    verb = next((name for name in names if name in ("allow", "reject")), "reject")
    inner = names[names.index(verb) + 1 :] if verb in names else []
    if "not" in inner:
        return "a filter looks at one thing: write one filter for each"
    shown = [flow(each) for each in value if isinstance(each, (str, dict))]
    if not shown or not all(shown):
        return ""
    if inner:
        shown = [f"{{{inner[-1]}: {each}}}" for each in shown]
    return "write `" + ", ".join(f"{{{verb}: {each}}}" for each in shown) + "`"
