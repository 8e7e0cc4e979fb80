"""Reader of damo's numbers, such as ``94,827,419`` and ``3 m 20 s``, and filters.

Plain numbers are accepted too, as by damo itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from damonpolicy.plan.facts import Filter
from damonpolicy.policy.importer.damo_values import SIZES, TIMES

__all__ = (
    "BYTES",
    "MICRO",
    "NANO",
    "PLAIN",
    "Malformed",
    "filter_for_damo",
    "filter_of",
    "number",
)

Kind = dict[str, Fraction]
"""The value of each unit; the empty one is for bare numbers."""


def _times(unit: int) -> Kind:
    return {"": Fraction(1), **{name: Fraction(each, unit) for name, each in TIMES.items()}}


BYTES: Kind = {"": Fraction(1), **{name: Fraction(each) for name, each in SIZES.items()}}
NANO, MICRO = _times(1), _times(TIMES["us"])
PLAIN: Kind = {"": Fraction(1), "%": Fraction(1)}
_LARGEST = (1 << 64) - 1
_PARTS = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([A-Za-z%]*) ?")
_LONGEST = 100


class Malformed(ValueError):
    """A value that cannot be read; the text gives the reason."""


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
    if not least <= value <= _LARGEST:  # neither for text that is not a number
        raise Malformed(f"`{str(value)[:40]}` is not a number of 64 bits")
    return round(value)


def _amount(text: str, units: Kind) -> Fraction | int:
    sign, rest = (-1, text[1:]) if text.startswith("-") else (1, text)
    parts = _PARTS.findall(rest)
    if not parts or len(text) > _LONGEST or not re.fullmatch(f"(?:{_PARTS.pattern})+", rest):
        raise Malformed(f"`{text[:40]}` is not a number")
    unknown = [unit for _, unit in parts if unit not in units]
    if unknown:
        raise Malformed(f"`{text[:40]}`: `{unknown[0][:20]}` is not a unit of it")
    return sign * sum((Fraction(amount) * units[unit] for amount, unit in parts), Fraction(0))


def filter_of(each: Mapping[str, Any]) -> Filter:
    """Read a filter of a scheme."""
    kind, path, low, high = str(each["filter_type"]), "", 0, 0
    if kind == "memcg":
        path = str(each.get("memcg_path", ""))
    elif kind == "addr":
        low, high = (number(each["address_range"][name], BYTES) for name in ("start", "end"))
    elif kind == "target":
        low = number(each["damon_target_idx"])
    elif kind == "hugepage_size":
        low, high = (number(end, BYTES) for end in each["hugepage_size"])
    elif kind == "probe_hits_wsum":
        low, high = (number(end) for end in each["probe_hits_wsum_range"])
    allow = each.get("allow", each.get("filter_pass", False))  # its name until damo 2.7
    return Filter(kind, _truth(each["matching"]), _truth(allow), path, low, high)


def filter_for_damo(each: Filter) -> dict[str, Any]:
    """Return a filter in damo's form."""
    ends = [str(each.low), str(each.high)]
    made: dict[str, Any] = {
        "filter_type": each.type,
        "matching": each.matching,
        "allow": each.allow,
        "memcg_path": each.path,
        "address_range": None,
        "damon_target_idx": str(each.low) if each.type == "target" else None,
        "hugepage_size": ends if each.type == "hugepage_size" else None,
    }
    if each.type == "addr":
        made["address_range"] = {"start": ends[0], "end": ends[1]}
    elif each.type == "probe_hits_wsum":
        made["probe_hits_wsum_range"] = ends
    return made


def _truth(value: Any) -> bool:
    if not isinstance(value, bool | str) or str(value).lower() not in _TRUTHS:
        raise Malformed(f"`{str(value)[:40]}` is neither true nor false")
    return _TRUTHS[str(value).lower()]


_TRUTHS = {"true": True, "yes": True, "y": True, "false": False, "no": False, "n": False}
