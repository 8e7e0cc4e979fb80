"""The only reader and writer of units: sizes, durations, percentages, counts, CPU lists.

Every reader takes the raw text of a scalar and raises `UnitError` with a sentence for
the user. Every writer returns the shortest text that reads back as the same value.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import dropwhile, groupby, islice
from typing import TYPE_CHECKING

from damonpolicy.base import limits

if TYPE_CHECKING:
    from fractions import Fraction  # with decimals, it is slow to import, and few commands read

__all__ = (
    "UnitError",
    "approximate_bytes",
    "approximate_duration",
    "approximate_number",
    "format_bytes",
    "format_cpulist",
    "format_duration",
    "format_percent",
    "meant_bytes",
    "meant_duration",
    "read_address",
    "read_bool",
    "read_bytes",
    "read_count",
    "read_cpulist",
    "read_duration",
    "read_integer",
    "read_percent",
    "read_temperature",
)

BYTES = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40, "PiB": 1 << 50}
DURATIONS = {
    "us": 1,
    "ms": 1_000,
    "s": 1_000_000,
    "m": 60_000_000,
    "h": 3_600_000_000,
    "d": 86_400_000_000,
}
THOUSANDS = ("", "k", "M", "G", "T", "P", "E")
"""Letters for powers of a thousand, as `approximate_number` writes them."""
U32_MAX = (1 << 32) - 1
U64_MAX = (1 << 64) - 1

_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]+)?)(?: ?([A-Za-zµ%]+))?\Z")
_TEMPERATURE = re.compile(r"(-?[0-9]+(\.[0-9]+)?)([kMGTPE]?)", re.ASCII)
_LONGEST_TEMPERATURE = 40
_LETTERS: dict[str, int] = {letter: 1_000**power for power, letter in enumerate(THOUSANDS)}
_NAMES = {
    "us": "us usec usecs microsecond microseconds µs μs",
    "ms": "ms msec msecs millisecond milliseconds",
    "s": "s sec secs second seconds",
    "m": "m min mins minute minutes",
    "h": "h hr hrs hour hours",
    "d": "d day days",
}
_MEANT = {name: unit for unit, names in _NAMES.items() for name in names.split()}
"""Other names for the units of time, of people and other tools."""
_SIZE_NAMES = "(?:kilo|mega|giga|tera|peta|kibi|mebi|gibi|tebi|pebi)(?:bytes?)?|.i?b?"
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?(us|ms|s|m|h|d)")
_PARTS = re.compile(rf"{_PART.pattern}(?: ?{_PART.pattern})*")
_LONGEST = 64


class UnitError(ValueError):
    """A scalar that a field cannot read; ``code`` and ``hint`` go into the diagnostic."""

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint


def _shorten(text: str) -> str:
    return text if len(text) <= 40 else text[:37] + "..."


def _refuse_traps(text: str) -> None:
    """Refuse texts that YAML 1.1 readers, YAML 1.2 readers and people read differently."""
    if len(text) > _LONGEST:
        raise UnitError("DP0119", "this value is too long")
    if re.fullmatch(r"[+-]?[0-9][0-9_]*_[0-9_]*(\.[0-9]+)?.*", text):
        plain = text.replace("_", "")
        message = (
            f"`{_shorten(text)}` has an underscore, which only some YAML readers take for a number"
        )
        raise UnitError("DP0117", message, f"write `{_shorten(plain)}`")
    if re.fullmatch(r"[0-9]+(:[0-9]+)+", text):
        message = f"`{text}` is a base-60 number to some YAML readers and a time to people"
        raise UnitError("DP0118", message, "write a duration with units, such as `12h30m45s`")
    if re.fullmatch(r"0[0-9]+", text):
        message = f"`{text}` is octal to some YAML readers, and to the kernel"
        raise UnitError("DP0116", message, f"write `{int(text)}`")
    if found := re.fullmatch(r"0+([0-9].*)", text):
        hint = f"write `{_shorten(found[1])}`"
        raise UnitError("DP0116", f"`{_shorten(text)}` begins with a 0, as octal numbers do", hint)


def read_integer(text: str, *, low: int = 0, high: int = U64_MAX, what: str = "a number") -> int:
    """Read a plain decimal integer within ``low`` and ``high``, both included."""
    _refuse_traps(text)
    if not re.fullmatch(r"-[1-9][0-9]*|[0-9]+", text):
        raise UnitError("DP0113", f"`{_shorten(text)}` is not {what}", "write digits only")
    # no kernel type holds so many digits, and Python reads no more than 4300
    value = int(text) if len(text) <= _LONGEST else high + 1
    if not low <= value <= high:
        raise UnitError("DP0119", f"`{_shorten(text)}` is out of range ({low} to {high})")
    return value


def read_count(text: str) -> int:
    """Read a count that the kernel holds in 32 bits."""
    return read_integer(text, high=U32_MAX, what="a count")


def read_address(text: str) -> int:
    """Read an address in bytes: hexadecimal with 0x, decimal, or a size with a unit."""
    if re.fullmatch(r"0[xX][0-9a-fA-F]+", text):
        value = int(text, 16)
    elif re.fullmatch(r"[0-9]+", text):
        value = read_integer(text, what="an address")
    else:
        try:
            value = read_bytes(text)
        except UnitError as error:
            hint = "write `0x100000000` or `4GiB`"
            raise UnitError("DP0114", f"`{_shorten(text)}` is not an address", hint) from error
    if value > U64_MAX:
        raise UnitError("DP0119", f"`{_shorten(text)}` is out of range (64 bits)")
    return value


def _quantity(text: str, code: str, what: str, example: str) -> tuple[Fraction, str]:
    _refuse_traps(text)
    found = _QUANTITY.fullmatch(text)
    if not found:
        raise UnitError(code, f"`{_shorten(text)}` is not {what}", f"write for example `{example}`")
    from fractions import Fraction

    return Fraction(found[1]), found[2] or ""


def read_bytes(text: str) -> int:
    """Read a size such as ``4KiB`` or ``1.5 GiB`` into bytes; units are powers of 1024."""
    amount, unit = _quantity(text, "DP0110", "a size", "200MiB")
    if unit == "" and text != "0":
        hint = f"write `{text}B` for bytes, or a unit such as `MiB`"
        raise UnitError("DP0121", f"`{text}` has no unit", hint)
    if unit and unit not in BYTES:
        hint = "units are " + ", ".join(f"`{each}`" for each in BYTES)
        if meant := _meant_size(unit):
            based = "" if meant == "B" else " (1024-based)"
            hint = f"write `{_shorten(text[: -len(unit)])}{meant}`{based}"
        raise UnitError("DP0110", f"`{unit}` is not a unit of size", hint)
    value = amount * BYTES[unit or "B"]
    if value.denominator != 1:
        raise UnitError("DP0110", f"`{text}` is not a whole number of bytes")
    if value > U64_MAX:
        raise UnitError("DP0119", f"`{_shorten(text)}` is out of range (64 bits)")
    return int(value)


def _meant_size(unit: str) -> str:
    if unit.lower() in ("byte", "bytes"):
        return "B"
    if not re.fullmatch(_SIZE_NAMES, unit.lower()):
        return ""
    return next((each for each in BYTES if each[0].lower() == unit[0].lower()), "")


def meant_bytes(text: str) -> str:
    """Return a size in our units, whatever names it uses; empty if it is not a size."""
    found = _QUANTITY.fullmatch(text)
    unit = found[2] if found else ""
    meant = unit if unit in BYTES else _meant_size(unit) if unit else ""
    return f"{found[1]}{meant}" if found and meant else ""


def meant_duration(text: str) -> str:
    """Return a duration in our units, whatever names it uses; empty if it is not a duration."""
    compact = text.replace(" ", "")
    parts = re.findall(r"([0-9]+(?:\.[0-9]+)?)([^0-9.]+)", compact)
    units = [_MEANT.get(unit.lower(), "") if unit != "M" else "" for _, unit in parts]
    if not all(units) or "".join(number + unit for number, unit in parts) != compact:
        return ""
    return "".join(number + unit for (number, _), unit in zip(parts, units, strict=True))


def read_duration(text: str) -> int:
    """Read a duration such as ``100ms``, ``1.5s`` or ``1h30m`` into microseconds."""
    _refuse_traps(text)
    if text == "0":
        return 0
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
        raise UnitError("DP0121", f"`{text}` has no unit", f"write `{text}ms` or `{text}s`")
    parts = _PART.findall(text)
    if not _PARTS.fullmatch(text):
        hint = "write for example `100ms` or `1h30m`; units are "
        hint += ", ".join(f"`{each}`" for each in DURATIONS)
        if meant := meant_duration(text):
            hint = f"write `{meant}`"
        raise UnitError("DP0111", f"`{_shorten(text)}` is not a duration", hint)
    sizes = [DURATIONS[unit] for _, unit in parts]
    if sizes != sorted(set(sizes), reverse=True):
        order = list(DURATIONS)
        parts.sort(key=lambda part: order.index(part[1]), reverse=True)
        hint = "write `" + "".join(number + unit for number, unit in parts) + "`"
        twice = len(set(sizes)) < len(sizes)
        message = f"`{text}` does not go from the largest unit to the smallest"
        raise UnitError("DP0111", message, "write each unit once" if twice else hint)
    from fractions import Fraction

    value = sum((Fraction(number) * DURATIONS[unit] for number, unit in parts), Fraction(0))
    if value.denominator != 1:
        raise UnitError("DP0111", f"`{text}` is not a whole number of microseconds")
    if value > U64_MAX * 1_000:
        # milliseconds of 64 bits; whether a file holds less is its own matter
        raise UnitError("DP0119", f"`{_shorten(text)}` is out of range (64 bits)")
    return int(value)


def read_percent(text: str, *, most: int = 100) -> Fraction:
    """Read a percentage such as ``0.5%`` into a fraction of one."""
    amount, unit = _quantity(text, "DP0112", "a percentage", "5%")
    if unit == "" and text != "0":
        hint = f"write `{text}%`"
        if amount > most:
            hint = "write it in percent, such as `50%`"
        elif 0 < amount < 1:
            hint = f"write `{format_percent(amount)}`, or `{text}%` if that is meant"
        raise UnitError("DP0121", f"`{text}` has no unit", hint)
    if unit not in ("", "%"):
        raise UnitError("DP0112", f"`{_shorten(text)}` is not a percentage", "write `5%`")
    if amount > most:
        raise UnitError("DP0119", f"`{text}` is above {most}%", f"write `{most}%`, or less")
    return amount / 100


def read_bool(text: str) -> bool:
    """Read ``true`` or ``false``, and nothing else that YAML versions disagree about."""
    if text in ("true", "false"):
        return text == "true"
    if text in ("0", "1"):
        word = ("false", "true")[int(text)]
        raise UnitError("DP0115", f"`{text}` is a number, not a boolean", f"write `{word}`")
    truth = {"on": "true", "yes": "true", "y": "true", "off": "false", "no": "false", "n": "false"}
    if text.lower() in truth:
        message = f"`{text}` is a boolean to some YAML readers and text to others"
        raise UnitError("DP0115", message, f"write `{truth[text.lower()]}`")
    raise UnitError("DP0115", f"`{_shorten(text)}` is not a boolean", "write `true` or `false`")


def read_cpulist(text: str) -> tuple[int, ...]:
    """Read a list such as ``0-3,8`` into CPU numbers in ascending order."""
    numbers: set[int] = set()
    most = limits.CPUS.most
    listed = 0
    for part in text.split(",", most):
        found = re.fullmatch(r" ?([0-9]{1,5})(?:-([0-9]{1,5}))? ?", part)
        if not found or text != text.strip(" "):
            hint = "write for example `0-3,8`"
            raise UnitError("DP0122", f"`{_shorten(text)}` is not a list of CPUs", hint)
        first, last = int(found[1]), int(found[2] or found[1])
        if first > last:
            raise UnitError("DP0122", f"`{part}` goes backwards", f"write `{last}-{first}`")
        listed += last - first + 1
        if last >= most or listed > most:  # NR_CPUS of arch/x86/Kconfig, the largest there is
            raise UnitError("DP0122", f"`{_shorten(text)}` lists more CPUs than Linux takes",
                            f"the highest is {most - 1}, and each appears once")  # fmt: skip
        numbers.update(range(first, last + 1))
    return tuple(sorted(numbers))


def read_temperature(text: str) -> int:
    """Read a temperature, negative or not, as `1,110,003,000` or `1.11G`.

    It is a sum of three products of 64 bits at most.
    """
    found = _TEMPERATURE.fullmatch(text.replace(",", ""))
    if not found or len(text) > _LONGEST_TEMPERATURE or (found[2] and not found[3]):
        hint = "write for example `-1000..0`, or `-1.5G..0`"
        raise UnitError("DP0113", f"`{_shorten(text)}` is not a temperature", hint)
    from fractions import Fraction

    return round(Fraction(found[1]) * _LETTERS[found[3]])


def format_bytes(value: int) -> str:
    """Write a size exactly, in the largest unit that divides it."""
    for unit, size in reversed(BYTES.items()):
        if value and value % size == 0:
            return f"{value // size}{unit}"
    return f"{value}B"


def approximate_bytes(value: int) -> str:
    """Write a size for people, to one decimal; it does not read back exactly."""
    for unit, size in reversed(BYTES.items()):
        if value >= size:
            return f"{value / size:.1f}".removesuffix(".0") + unit
    return "0B"


def approximate_number(value: float) -> str:
    """Write a number for people, to three digits and a letter for its thousands: `1.11G`."""
    size, rest = 0, abs(value)
    while rest >= 999.5 and size < len(THOUSANDS) - 1:
        size, rest = size + 1, rest / 1_000
    shown = f"{rest:.3g}" if size else f"{rest:.0f}"
    sign = "-" if value < 0 and float(shown) else ""
    return f"{sign}{float(shown):g}{THOUSANDS[size]}"


def _amounts(microseconds: int) -> list[tuple[int, str]]:
    """Split a duration into amounts of each unit, from the largest to the smallest."""
    rest, parts = microseconds, []
    for unit, size in reversed(DURATIONS.items()):
        amount, rest = divmod(rest, size)
        parts.append((amount, unit))
    return parts


def format_duration(microseconds: int) -> str:
    """Write a duration exactly, from the largest unit to the smallest."""
    return "".join(f"{amount}{unit}" for amount, unit in _amounts(microseconds) if amount) or "0"


def approximate_duration(microseconds: float) -> str:
    """Write a duration for people, by its two largest units; it does not read back exactly."""
    parts = dropwhile(lambda each: not each[0], _amounts(round(microseconds)))
    return "".join(f"{amount}{unit}" for amount, unit in islice(parts, 2) if amount) or "0"


def format_percent(part: Fraction | int, whole: int = 1) -> str:
    """Write a part of a whole as a percentage, exactly where decimals allow."""
    percent = part * 100
    if percent % whole == 0:
        return f"{percent // whole}%"
    return f"{float(percent / whole):.6f}".rstrip("0").rstrip(".") + "%"


def format_cpulist(numbers: Iterable[int]) -> str:
    """Write CPU numbers as the kernel prints them (``%*pbl``)."""
    ordered = enumerate(sorted(set(numbers)))
    parts = []
    for _, row in groupby(ordered, key=lambda each: each[1] - each[0]):
        run = [number for _, number in row]
        parts.append(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]))
    return ",".join(parts)
