"""Numbers and filters of damo's records: texts for people, as ``94,827,419``, ``3 m 20 s``.

Also plain numbers are taken, as those that damo itself takes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any

from damonpolicy.plan.damo_values import SIZES, TIMES
from damonpolicy.plan.texts import chain
from damonpolicy.units import UnitError, read_bytes

__all__ = (
    "BYTES",
    "MICRO",
    "NANO",
    "PLAIN",
    "Malformed",
    "filters_in_words",
    "filters_of_words",
    "number",
)

Kind = dict[str, Fraction]
"""What a unit is worth; the empty one is that of a bare number."""


def _times(unit: int) -> Kind:
    return {"": Fraction(1), **{name: Fraction(each, unit) for name, each in TIMES.items()}}


BYTES: Kind = {"": Fraction(1), **{name: Fraction(each) for name, each in SIZES.items()}}
NANO, MICRO = _times(1), _times(TIMES["us"])
PLAIN: Kind = {"": Fraction(1), "%": Fraction(1)}
_LARGEST = (1 << 64) - 1
_PARTS = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([A-Za-z%]*) ?")
_LONGEST = 100


class Malformed(ValueError):
    """A value that cannot be read; the text says why."""


def number(value: Any, units: Kind = PLAIN, *, least: int = 0) -> int:
    """Read a number of 64 bits; fractions of the smallest unit are rounded."""
    # nearly all are one of these two, and a file has millions
    if type(value) is int and 0 <= value <= _LARGEST:
        return value
    if type(value) is str and len(value) < 20 and value.isdecimal() and value.isascii():
        return int(value)
    if isinstance(value, str):
        text = value.replace(",", "").strip()
        if text.isascii() and text.isdecimal() and len(text) <= 20:
            value = int(text)
        elif text == "max":
            value = _LARGEST
        else:
            value = _amount(text, units)
    if isinstance(value, bool) or not isinstance(value, int | float | Fraction):
        raise Malformed(f"`{str(value)[:40]}` is not a number")
    if not least <= value <= _LARGEST:  # neither for what is not a number
        raise Malformed(f"`{str(value)[:40]}` is not a number of 64 bits")
    return round(value)


def _amount(text: str, units: Kind) -> Fraction | int:
    sign, rest = (-1, text[1:]) if text.startswith("-") else (1, text)
    parts = _PARTS.findall(rest)
    if not parts or len(text) > _LONGEST or not re.fullmatch(f"(?:{_PARTS.pattern})+", rest):
        raise Malformed(f"`{text[:40]}` is not a number")
    unknown = [unit for _, unit in parts if unit not in units]
    if unknown:
        raise Malformed(f"`{text[:40]}`: `{unknown[0][:20]}` is no unit of it")
    return sign * sum((Fraction(amount) * units[unit] for amount, unit in parts), Fraction(0))


def filters_in_words(filters: Iterable[Mapping[str, Any]]) -> str:
    """Say what filters of a scheme do, as status says it; empty without filters."""
    tree: dict[str, str] = {}
    count = 0
    for each in filters:
        kind = each["filter_type"]
        allow = each.get("allow", each.get("filter_pass", False))  # its name until damo 2.7
        here = {"type": str(kind), "matching": _truth(each["matching"]), "allow": _truth(allow)}
        if kind == "memcg":
            here["memcg_path"] = str(each.get("memcg_path", ""))
        elif kind == "addr":
            ends = (number(each["address_range"][name], BYTES) for name in ("start", "end"))
            here["addr_start"], here["addr_end"] = (str(end) for end in ends)
        elif kind == "target":
            here["damon_target_idx"] = str(number(each["damon_target_idx"]))
        elif kind == "hugepage_size":
            ends = (number(end, BYTES) for end in each["hugepage_size"])
            here["min"], here["max"] = (str(end) for end in ends)
        elif kind == "probe_hits_wsum":
            ends = (number(end) for end in each["probe_hits_wsum_range"])
            here["min"], here["max"] = (str(end) for end in ends)
        tree |= {f"filters/{count}/{name}": value for name, value in here.items()}
        count += 1
    tree["filters/nr_filters"] = str(count)
    return chain({f"s/{path}": value for path, value in tree.items()}, "s")


def _truth(value: Any) -> str:
    if not isinstance(value, bool | str) or str(value).lower() not in _TRUTHS:
        raise Malformed(f"`{str(value)[:40]}` is neither true nor false")
    return _TRUTHS[str(value).lower()]


_TRUTHS = {"true": "Y", "yes": "Y", "y": "Y", "false": "N", "no": "N", "n": "N"}
_WORD = re.compile(
    r"(?P<verb>allow|reject) (?P<other>what is not )?"
    r"(?P<type>memcg|addr|target|hugepage_size|probe_hits_wsum|anon|active|young|unmapped)"
    r"(?: (?P<what>.+))?"
)


def filters_of_words(words: str) -> list[dict[str, Any]]:
    """Return filters that are said in words as damo writes them, none where some are not plain."""
    try:
        return _filters(words)
    except (ValueError, UnitError):  # a record may say anything
        return []


def _filters(words: str) -> list[dict[str, Any]]:
    filters = []
    for word in words.split("; ")[:-1]:
        found = _WORD.fullmatch(word)
        if found is None or " below it" in word:
            return []
        kind, what = found["type"], found["what"] or ""
        low, _, high = what.partition("-")
        made: dict[str, Any] = {
            "filter_type": kind,
            "matching": not found["other"],
            "allow": found["verb"] == "allow",
            "memcg_path": what if kind == "memcg" else "",
            "address_range": None,
            "damon_target_idx": what if kind == "target" else None,
            "hugepage_size": None,
        }
        if kind == "addr":
            made["address_range"] = {"start": str(int(low, 16)), "end": str(int(high, 16))}
        elif kind == "hugepage_size":
            made["hugepage_size"] = [str(read_bytes(low)), str(read_bytes(high))]
        elif kind == "probe_hits_wsum":
            made["probe_hits_wsum_range"] = [low, high]
        filters.append(made)
    return filters
