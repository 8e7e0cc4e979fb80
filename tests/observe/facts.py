"""Filters and accesses as tests write them: in the words that users see."""

from __future__ import annotations

import re

from damonpolicy.base.units import read_bytes
from damonpolicy.plan.facts import Accesses, Filter

__all__ = ("counting", "filtering")

_FILTER = re.compile(r"(allow|reject) (what is not )?(\w+)(?: (.+))?")
_ACCESSES = re.compile(r"(\w+)(?: of (?:CPUs? ([0-9, -]+))?(?: and )?(?:threads? ([0-9, ]+))?)?")


def filtering(words: str) -> tuple[Filter, ...]:
    """Return filters; what becomes of the rest follows from the last."""
    return tuple(
        _filter(each) for each in words.split("; ") if each and not each.startswith("the rest")
    )


def _filter(word: str) -> Filter:
    found = _FILTER.fullmatch(word)
    assert found, word
    verb, other, kind, what = found.groups()
    made = {"path": what} if kind == "memcg" else {}
    if kind == "addr":
        made = {
            key: int(end, 16) for key, end in zip(("low", "high"), what.split("-"), strict=True)
        }
    elif kind == "hugepage_size":
        made = {
            key: read_bytes(end) for key, end in zip(("low", "high"), what.split("-"), strict=True)
        }
    elif kind == "target":
        made = {"low": int(what)}
    return Filter(kind, not other, verb == "allow", **made)


def counting(words: str) -> Accesses:
    """Return which accesses count."""
    found = _ACCESSES.fullmatch(words)
    assert found, words
    kind, cpus, threads = (each or "" for each in found.groups())
    return Accesses(kind, cpus.replace(" ", ""), threads.replace(" ", ""))
