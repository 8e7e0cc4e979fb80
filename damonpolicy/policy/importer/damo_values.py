"""Reader of the values of damo's files, such as ``4,096``, ``5 ms``, ``4 %``, ``max``.

They are read as damo 3.4 reads them, including its floating point, so that the result is what damo
would write. If that differs from the text, it is reported. Values that damo would refuse, such as
an unknown unit, are refused at their place; a key that damo ignores gets a warning.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from collections.abc import Mapping as Table
from fractions import Fraction

from damonpolicy.base.diagnostics import Diagnostic, Span, closest, did_you_mean
from damonpolicy.base.lazy import dataclass
from damonpolicy.base.units import U64_MAX
from damonpolicy.kernel.damon.schema import Row
from damonpolicy.policy.source.nodes import Mapping, Node, Scalar, Sequence

__all__ = (
    "BYTES",
    "COUNT",
    "KINDS",
    "MICRO",
    "PERCENT",
    "SIZES",
    "TIMES",
    "Kind",
    "Place",
    "Quantity",
    "Report",
)

_UNITS = "KMGTPE"
SIZES = {"B": 1} | {
    f"{letter}{rest}": 1 << 10 * power
    for power, letter in enumerate(_UNITS, 1)
    for rest in ("", "B", "iB")
}
TIMES = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9,
          "d": 86_400 * 10**9}  # fmt: skip
_QUANTITY = r"([0-9]+(?:\.[0-9]+)?) ?([A-Za-z_%]*)"
_OCTAL = r"0[0-9]+\Z"
_LONGEST = 100
_EXACT = 1 << 53
"""Floating point represents all whole numbers up to this one."""
_TRUTHS = {"true": "Y", "yes": "Y", "y": "Y", "false": "N", "no": "N", "n": "N"}


@dataclass(frozen=True, slots=True)
class Kind:
    """The units that a value may have; a bare number is in the kernel's unit.

    A number with a unit is multiplied by the unit's value, then divided and multiplied by these, in
    this order: in floating point each step rounds.
    """

    units: Table[str, int]
    divisors: tuple[int, ...] = ()
    factor: int = 1
    words: tuple[str, ...] = ()
    """The kernel's units for the bounds of a pattern, after exactly one number."""


def _share(parts: int) -> Kind:
    """Return the kind of shares that the kernel counts in the given parts of the whole."""
    return Kind({"%": 1}, (100,), parts)


COUNT = Kind({})
BYTES = Kind(SIZES)
MICRO = Kind(TIMES, (1000,))
PERCENT = _share(100)
KINDS = {
    "us": MICRO,
    "ms": Kind(TIMES, (1000, 1000)),
    "bytes": BYTES,
    "address": BYTES,
    "permil": _share(1_000),
    "bp": _share(10_000),
}
"""By the units of the kernel's files; others are counts."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number as damo has it, its value without rounding, and its unit."""

    value: float
    exact: Fraction
    unit: str = ""


class Report:
    """The errors of a file, and every place in it that was read."""

    def __init__(self) -> None:
        self.found: list[Diagnostic] = []
        self.places: list[Place] = []
        self.here: Span | None = None
        """The place of the value read last, or of its container."""

    def wrong(self, span: Span, message: str, hint: str = "") -> None:
        """Add a mistake."""
        self._add(Diagnostic.error("DP0621", span, message, hint=hint))

    def told(self, span: Span, message: str, hint: str = "") -> None:
        """Add a value that damo reads differently from its text."""
        self._add(Diagnostic.warning("DP0620", span, message, hint=hint))

    def _add(self, diagnostic: Diagnostic) -> None:
        if diagnostic not in self.found:  # intervals are read twice
            self.found.append(diagnostic)

    def unknown(self) -> None:
        """Add every key that was never read.

        A key similar to one of damo's is a mistake: without it a scheme may apply to everything.
        """
        for place in self.places:
            for key, _ in place.node.items:
                if key.text in place.asked:
                    continue
                message = f"`{key.text[:40]}` is not a key of damo here"
                hint = did_you_mean(key.text, sorted(place.asked))
                if closest(key.text, place.asked) and key.text not in _REMARKS:
                    self.wrong(key.span, message, hint)
                else:
                    self.told(key.span, f"{message}: it says nothing", hint)


class Place:
    """A mapping of damo's file; missing keys have damo's defaults."""

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
        """Return whether a key has a value."""
        return self._get(key) is not None

    def ignore(self, *keys: str) -> None:
        """Accept keys that do not configure anything, such as results."""
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

    def scalar(self, key: str) -> Scalar | None:
        """Return a single value unchanged."""
        node = self._get(key)
        if node is None or isinstance(node, Scalar):
            return node
        self.report.wrong(node.span, f"`{key}` is a single value")
        return None

    def text(self, key: str, usual: str = "") -> str:
        """Return a word."""
        node = self.scalar(key)
        return usual if node is None else node.text

    def word(self, key: str, usual: str, known: Collection[str]) -> str:
        """Return one of some words."""
        node = self.scalar(key)
        if node is not None and node.text in known:
            return node.text
        if node is not None:
            hint = did_you_mean(node.text, known)
            self.report.wrong(node.span, f"no kernel knows `{node.text[:40]}` here", hint)
        return usual

    def truth(self, key: str, *, usual: bool = False, literal: bool = False) -> str:
        """Return Y or N; ``literal`` if damo treats every text as true."""
        node = self.scalar(key)
        found = _TRUTHS.get(node.text.lower()) if node else "Y" if usual else "N"
        if literal and node is not None and found == "N" and (node.quoted or len(node.text) == 1):
            message = f"`{node.text[:40]}` is a text, which damo takes as true here"
            self.report.wrong(node.span, message, "write `false` without quotes")
        if found is None and node is not None:
            message = f"`{node.text[:40]}` is neither true nor false to damo"
            self.report.wrong(node.span, message, "write `true` or `false`")
        return found or "N"

    def value(self, key: str, row: Row) -> str:
        """Return what damo writes into a file, by its row."""
        if row.words:
            return self.word(key, row.default, row.words)
        if row.kind == "bool":
            return self.truth(key, usual=row.default == "Y")
        if row.kind in ("path", "cpus"):
            return self.text(key)
        unit = "permil" if key.endswith("_permil") else row.unit
        return self.amount(key, int(row.absent), KINDS.get(unit, COUNT))

    def amount(self, key: str, usual: int, kind: Kind) -> str:
        """Return a number in the kernel's unit."""
        node = self.scalar(key)
        return str(usual if node is None else self.read(node, kind))

    def number(self, key: str, usual: float, kind: Kind) -> float:
        """Return a number before it is rounded."""
        node = self.scalar(key)
        found = None if node is None else self.quantity(node, kind)
        return usual if found is None else found.value

    def read(self, node: Node, kind: Kind) -> int:
        """Read a number at its place."""
        found = self.quantity(node, kind)
        if found is None:
            return 0
        result = self.rounded(node, found.value, found.exact)
        if result > U64_MAX:
            raw = "`damo args damon --raw` writes nanoseconds, and reads them as others: write without it"
            hint = raw if kind.units is TIMES else ""
            self.report.wrong(node.span, f"`{_text(node)}` is more than 64 bits hold", hint)
            return 0
        return result

    def rounded(self, node: Node, value: float, exact: Fraction) -> int:
        """Return the number that damo writes, and report if it differs from the text."""
        result, meant = int(value), int(exact)
        if exact and not result:
            hint = "the kernel counts whole ones: write more, or 0"
            message = f"damo rounds `{_text(node)}` down to nothing"
            self.report.told(node.span, message, hint)
        elif result != meant and meant < _EXACT:
            message = f"damo makes {result:,} of `{_text(node)}`, not {meant:,}: it rounds twice"
            self.report.told(node.span, message, "check whether the policy says what you want")
        return result

    def quantity(self, node: Node, kind: Kind) -> Quantity | None:
        """Read a number in the unit that damo computes in, before rounding."""
        text = node.text if isinstance(node, Scalar) else ""
        plain = text.replace(",", "").strip()
        if plain in ("max", "min"):
            most = U64_MAX if plain == "max" else 0
            return Quantity(most, Fraction(most), plain)
        parts = re.findall(_QUANTITY, plain) if len(plain) <= _LONGEST else []
        known = " ".join(f"{n}{u}" for n, u in parts) == re.sub(r"(?<=[0-9]) (?=[^0-9])", "", plain)
        bare = [unit for _, unit in parts if not unit or unit in kind.words]
        if not parts or not known or (len(parts) > 1 and (bare or kind.units is not TIMES)):
            self.report.wrong(node.span, f"`{text[:40]}` is not a number that damo reads")
            return None
        if re.match(_OCTAL, plain) and isinstance(node, Scalar) and not node.quoted:
            hint = "YAML takes it as octal: write it without the 0"
            self.report.wrong(node.span, f"`{text[:40]}` begins with 0", hint)
            return None
        value: float = 0
        exact = Fraction(0)
        for number, unit in parts:
            if unit and unit not in kind.units and unit not in kind.words:
                units = " ".join(f"`{each}`" for each in (*kind.units, *kind.words)) or "no unit"
                message = f"`{text[:40]}` has a unit that damo does not know here"
                self.report.wrong(node.span, message, f"it knows {units}")
                return None
            worth = kind.units.get(unit, 1)
            value += (float(number) if "." in number else int(number)) * worth
            exact += Fraction(number) * worth
        if not bare:
            for divisor in kind.divisors:
                value, exact = value / divisor, exact / divisor
            value, exact = value * kind.factor, exact * kind.factor
        if kind is BYTES and not bare:
            value = min(int(value), U64_MAX)
            exact = min(exact, Fraction(U64_MAX))
        return Quantity(value, exact, parts[0][1] if bare else next(iter(kind.units)))


_REMARKS = ("comment", "comments", "name", "names")
"""Comments that people write beside the keys."""


def _text(node: Node) -> str:
    return node.text[:40] if isinstance(node, Scalar) else ""
