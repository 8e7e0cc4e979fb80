"""The values of damo's files: texts for people, such as ``4,096``, ``5 ms``, ``4 %``, ``max``.

What damo would read in another way than it is written is refused where it stands: a key that it
does not know, a unit that it does not know there. What it rounds to nothing is told.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from fractions import Fraction

from damonpolicy.diagnostics import Diagnostic, Span, did_you_mean
from damonpolicy.source.nodes import Mapping, Node, Scalar, Sequence
from damonpolicy.units import U64_MAX

__all__ = ("BYTES", "COUNT", "MICRO", "MILLI", "SHARE", "Kind", "Place", "Report")

_UNITS = "KMGTPE"
_SIZES = {"B": 1} | {
    f"{letter}{rest}": 1 << 10 * power
    for power, letter in enumerate(_UNITS, 1)
    for rest in ("", "B", "iB")
}
_TIMES = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9,
          "d": 86_400 * 10**9}  # fmt: skip
_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([A-Za-z_%]*)")
_LONGEST = 100
_TRUTHS = {"true": "Y", "yes": "Y", "y": "Y", "false": "N", "no": "N", "n": "N"}

Kind = dict[str, Fraction]
"""What a unit is worth, in what the kernel counts in; the empty one is that of a bare number."""


def times(unit: int) -> Kind:
    """Return the units of a time that the kernel counts in ``unit`` nanoseconds."""
    return {"": Fraction(1), **{name: Fraction(each, unit) for name, each in _TIMES.items()}}


COUNT: Kind = {"": Fraction(1)}
BYTES: Kind = {"": Fraction(1), **{name: Fraction(each) for name, each in _SIZES.items()}}
MICRO, MILLI = times(_TIMES["us"]), times(_TIMES["ms"])


def SHARE(parts: int) -> Kind:  # noqa: N802  # beside the constants it is one of them
    """Return the units of a share that the kernel counts in so many parts of the whole."""
    return {"": Fraction(1), "%": Fraction(parts, 100)}


class Report:
    """What is wrong with a file, and every place in it that was looked at."""

    def __init__(self) -> None:
        self.found: list[Diagnostic] = []
        self.places: list[Place] = []
        self.here: Span | None = None
        """Where what was read last stands, or what would contain it."""

    def wrong(self, span: Span, message: str, hint: str = "") -> None:
        """Take note of a mistake."""
        self.found.append(Diagnostic.error("DP0621", span, message, hint=hint))

    def lost(self, span: Span, message: str) -> None:
        """Take note of what becomes nothing."""
        hint = "the kernel counts whole ones: write more, or 0"
        self.found.append(Diagnostic.warning("DP0620", span, message, hint=hint))

    def unknown(self) -> None:
        """Take note of every key that nobody has asked for."""
        for place in self.places:
            for key, _ in place.node.items:
                if key.text not in place.asked:
                    message = f"`{key.text[:40]}` is no key of damo's here"
                    self.wrong(key.span, message, did_you_mean(key.text, sorted(place.asked)))


class Place:
    """A mapping of damo's file; keys that are not there read as the usual."""

    def __init__(self, node: Node | None, span: Span, report: Report) -> None:
        if node is not None and not isinstance(node, Mapping):
            report.wrong(node.span, "a mapping is expected here")
            node = None
        self.node = node or Mapping((), span)
        self.asked: set[str] = set()
        self.report = report
        report.places.append(self)

    def _get(self, key: str) -> Node | None:
        self.asked.add(key)
        node = self.node.get(key)
        self.report.here = (node or self.node).span
        return node

    def has(self, key: str) -> bool:
        """Tell whether there is a value."""
        return self._get(key) is not None

    def ignore(self, *keys: str) -> None:
        """Know keys that say nothing about what is to be done, such as results."""
        self.asked.update(keys)

    def __call__(self, key: str) -> Place:
        return Place(self._get(key), self.node.span, self.report)

    def each(self, key: str) -> Iterator[Place]:
        """Return the mappings of a list."""
        for node in self.items(key):
            yield Place(node, node.span, self.report)

    def items(self, key: str) -> tuple[Node, ...]:
        """Return a list."""
        node = self._get(key)
        if isinstance(node, Sequence):
            return node.items
        if node is not None:
            self.report.wrong(node.span, f"`{key}` is a list")
        return ()

    def _scalar(self, key: str) -> Scalar | None:
        node = self._get(key)
        if node is None or isinstance(node, Scalar):
            return node
        self.report.wrong(node.span, f"`{key}` is a single value")
        return None

    def text(self, key: str, usual: str = "") -> str:
        """Return a word."""
        node = self._scalar(key)
        return usual if node is None else node.text

    def word(self, key: str, usual: str, known: Collection[str]) -> str:
        """Return one of some words."""
        node = self._scalar(key)
        if node is None:
            return usual
        if node.text not in known:
            hint = did_you_mean(node.text, known)
            self.report.wrong(node.span, f"no kernel knows `{node.text[:40]}` here", hint)
            return usual
        return node.text

    def truth(self, key: str, *, usual: bool = False) -> str:
        """Return Y or N."""
        node = self._scalar(key)
        found = _TRUTHS.get(node.text.lower()) if node else "Y" if usual else "N"
        if found is None and node is not None:
            message = f"`{node.text[:40]}` is neither true nor false to damo"
            self.report.wrong(node.span, message, "write `true` or `false`")
        return found or "N"

    def amount(self, key: str, usual: int, kind: Kind) -> str:
        """Return a number as the kernel counts."""
        node = self._scalar(key)
        return str(usual if node is None else self.read(node, kind))

    def read(self, node: Node, kind: Kind) -> int:
        """Read a number where it stands."""
        text = node.text if isinstance(node, Scalar) else ""
        plain = text.replace(",", "").strip()
        if plain in ("max", "min"):
            return U64_MAX if plain == "max" else 0
        parts = _QUANTITY.findall(plain) if len(plain) <= _LONGEST else []
        if not parts or " ".join(f"{n}{u}" for n, u in parts) != re.sub(
            r"(?<=[0-9]) (?=[^0-9])", "", plain
        ):
            self.report.wrong(node.span, f"`{text[:40]}` is no number of damo's")
            return 0
        total = Fraction(0)
        for number, unit in parts:
            if unit not in kind:
                units = " ".join(f"`{each}`" for each in kind if each) or "no unit"
                message = f"`{text[:40]}` has a unit that damo does not know here"
                self.report.wrong(node.span, message, f"it knows {units}")
                return 0
            total += Fraction(number) * kind[unit]
        if total and total < 1:
            self.report.lost(node.span, f"damo rounds `{text[:40]}` down to nothing")
        return min(int(total), U64_MAX)
