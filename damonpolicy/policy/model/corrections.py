"""Corrections of scalars that a field cannot read; only readable ones are offered."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from damonpolicy.base.units import UnitError
from damonpolicy.policy.source.characters import ascii_like

__all__ = ("correction",)

_THOUSANDS = {"k": 1_000, "K": 1_000, "M": 1_000_000}


def correction(text: str, read: Callable[[str], Any]) -> str:
    """Return the first similar text that ``read`` accepts; empty if there is none."""
    for each in _candidates(text):
        if each != text:
            try:
                read(each)
            except UnitError:
                continue
            return each
    return ""


def _candidates(text: str) -> Iterator[str]:
    plain = ascii_like(text).strip(" \"'`")
    yield plain
    if re.match(r"\d{1,3}(,\d{3})+(?!\d)", plain):
        yield plain.replace(",", "")
    yield re.sub(r"(\d),(\d)", r"\1.\2", plain)
    yield plain.removesuffix(".0").removesuffix(".00")
    if found := re.fullmatch(r"(\d{1,6}) ?([kKM])", plain):
        yield str(int(found[1]) * _THOUSANDS[found[2]])
    if re.fullmatch(r"0[xX][0-9a-fA-F]{1,16}", plain):
        yield str(int(plain, 16))
    if found := re.fullmatch(r"(\d{1,6})e(\d{1,2})", plain):
        yield found[1] + "0" * int(found[2])
    if found := re.fullmatch(r"(?:node|cpus?|pid) ?(\d+(?:-\d+)?)", plain.lower()):
        yield found[1]
    if found := re.fullmatch(r"(\d+) ?(?:aggr?s?|intervals?)", plain.lower()):
        yield f"{found[1]} aggregations"
    if re.fullmatch(r"-\d+(\.\d+)? ?[A-Za-z]+", plain):  # no quantity is negative
        yield plain[1:]
    yield re.sub(r"^[<>=~≤≥ ]+", "", plain)
    if found := re.fullmatch(r"([0-9a-fA-F]{4,16})h?", plain):
        yield f"0x{found[1]}"
    yield re.sub(r"(\d)\.\.+(\d)", r"\1-\2", plain)
    if re.search(r"\d ?M\b", plain):  # a minute, a month or a million
        return
    yield plain.replace(" ", "").lower() if plain[:1].isdigit() else plain.lower()
