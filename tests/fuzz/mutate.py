"""Random changes to files: to bytes, to lines, to values."""

from __future__ import annotations

import random
from typing import Any

WORDS = [
    b"0", b"-1", b"1", b"18446744073709551616", b"9" * 400, b"1e999", b"0x10", b"010", b"1_000",
    b"", b"null", b"~", b"true", b"[]", b"{}", b"[[[[[[", b"{{ x }}", b'"{{ 1 }}"', b"'", b'"', b"\\",
    b"\xc2\xa0", b"\xff", b"\x00", b"\xed\xa0\x80", b"\xe2\x80\xa8", b"\xf0\x9f\x98\x80", b"\t", b"\r",
    b"&a", b"*a", b"!x", b"<<: 1", b"---", b"|", b">", b"%", b"@", b"`", b": ", b"- ", b"#", b",",
    b"0-99999,0-99999", b"(x+)+y", b"/../..", b"/proc/self/mem", b"max", b"NaN", b"all", b"5m", b"2GiB",
]  # fmt: skip

TEMPLATES = [
    "{{ 1 | round(-99999999) }}", "{{ 'a' * 9999999 }}", "{{ 9 ** 9 ** 9 }}", "{{ x }}", "{{ [1] }}",
    "{{ 'aaaa' | replace('a', 'aaaaaaaa') | replace('a', 'aaaaaaaa') | replace('a', 'aaaaaaaa') }}",
    "{{ x|int|int|int|int }}", "{{ '\\ud800' }}", "{% for i in x %}{% endfor %}", "{{ 1 / 0 }}", "{{",
    "{{ 'x' ~ 'y' if 1 else 2 }}", "{{ node }}", "{{ (1).__class__ }}", "{{ 5 | float | round(2) }}",
    "{{ '9' * 5000 }}", "{{ '1' | int * 999999999999 * 999999999999 }}",
]  # fmt: skip


def of_bytes(data: bytes, chance: random.Random, other: bytes = b"") -> bytes:
    """Change some bytes, here and there."""
    made = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 4, 12))):
        at = chance.randrange(len(made) + 1)
        end = min(len(made), at + chance.choice((1, 1, 3, 12, 80, 600)))
        match chance.randrange(8):
            case 0 if made and at < len(made):
                made[at] ^= 1 << chance.randrange(8)
            case 1:
                made[at:end] = b""
            case 2:
                made[at:at] = chance.choice(WORDS)
            case 3:
                made[at:end] = chance.choice(WORDS)
            case 4:
                made[at:at] = made[at:end] * chance.choice((1, 2, 9, 60))
            case 5 if other:
                begin = chance.randrange(len(other) or 1)
                made[at:end] = other[begin : begin + chance.choice((3, 30, 300))]
            case 6:
                del made[at + len(made) // 2 :]
            case _:
                made[at:at] = bytes([chance.randrange(256)])
        del made[4 << 20 :]
    return bytes(made)


def of_lines(text: str, chance: random.Random, other: str = "") -> str:
    """Change whole lines: leave some out, repeat some often, indent them otherwise."""
    lines = text.splitlines() or [""]
    theirs = other.splitlines() or [""]
    for _ in range(chance.choice((1, 1, 2, 5))):
        at = chance.randrange(len(lines := lines or [""]))
        end = at + chance.choice((1, 1, 2, 5, 20))
        match chance.randrange(6):
            case 0:
                lines[at:end] = [] if len(lines) > 1 else lines
            case 1:
                lines[at:at] = lines[at:end] * chance.choice((1, 2, 20, 400, 5_000))
            case 2:
                lines[at] = " " * chance.randrange(9) + lines[at].strip()
            case 3:
                begin = chance.randrange(len(theirs))
                lines[at:at] = theirs[begin : begin + chance.choice((1, 3, 12))]
            case 4:
                key, colon, value = lines[at].partition(": ")
                made = chance.choice([*TEMPLATES, *(each.decode("latin-1") for each in WORDS)])
                quoted = '"' + made.replace('"', "") + '"' if chance.random() < 0.7 else made
                lines[at] = f"{key}{colon}{quoted}" if value else f"{lines[at]} {made}"
            case _:
                other_at = chance.randrange(len(lines))
                lines[at], lines[other_at] = lines[other_at], lines[at]
        if len(lines) > 60_000:
            del lines[60_000:]
    return "\n".join(lines) + "\n"


ODD: list[Any] = [
    None, True, False, 0, -1, 1, 1 << 70, 10**400, 1.5, float("1e308"), "", "x", "\ud800", "\udcff",
    "\0", "\u00a0", "9" * 400, "0x10", "1e5", [], {}, [[]], {"": ""}, ["x"] * 50, [0] * 3, "/..", "x" * 5000,
    [None], {"a": None}, "max", "on", "٣",
]  # fmt: skip


def of_data(data: Any, chance: random.Random, odd: list[Any] | None = None) -> Any:
    """Change one or two values of plain data, wherever they are."""
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        places: list[tuple[Any, Any]] = []
        waiting = [data]
        while waiting:
            node = waiting.pop()
            pairs = (
                node.items()
                if isinstance(node, dict)
                else enumerate(node)
                if isinstance(node, list)
                else ()
            )
            for key, value in pairs:
                places.append((node, key))
                waiting.append(value)
        if not places:
            return chance.choice(odd or ODD)
        node, key = chance.choice(places)
        match chance.randrange(6):
            case 0:
                del node[key]
            case 1 if isinstance(node, dict):
                node[chance.choice(["", "x", "name", str(key) + "s", "0"])] = node.pop(key)
            case 2 if isinstance(node, list):
                node[key:key] = [node[key]] * chance.choice((1, 5, 600))
            case 3:
                node[key] = [node[key]] if chance.random() < 0.5 else {"x": node[key]}
            case 4:
                source, other = chance.choice(places)
                if isinstance(source, dict) and other in source:
                    node[key] = source[other] if not isinstance(source[other], (dict, list)) else {}
            case _:
                node[key] = chance.choice(odd or ODD)
    return data
