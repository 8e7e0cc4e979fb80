from __future__ import annotations

import io
import itertools
import re
from textwrap import dedent

import numpy as np
import pytest

from damonpolicy.observe.heatmap.colours import OF_TERMINALS
from damonpolicy.observe.heatmap.terminal import drawn, has_colour, levels, room
from tests.observe.maps import made, ramp


def golden(text):
    return dedent(text).removeprefix("\n")


def test_a_map_in_digits():
    assert drawn(ramp(), colour=False) == golden("""
        vm/writes, scheme stat: accesses, 0x7f0000000000-0x7f0000800000 (8MiB)
        8MiB |23334455566677888999
             |22333445556667788899
             |12233344555666778889
        4MiB |11223334455566677888
             |11122333445556667788
             |01112233344555666778
             |   11223334455566677
           0 |   11122333445556667
             ++---------+--------+
              0s        5s       10s
        up: bytes from 0x7f0000000000; right: time since 2026-09-21 14:13:20 UTC
        0123456789  0 to 26 accesses/s, 2.6 each; blank: unknown
        """)


def test_a_map_in_times_of_the_day_and_addresses():
    assert drawn(ramp(32, 4), colour=False, absolute=True) == golden("""
        vm/writes, scheme stat: accesses, 0x7f0000000000-0x7f0000800000 (8MiB)
        0x7f0000800000 |01112222333444555566677778889999
        0x7f0000400000 |00111222233344455556667777888999
                       |   11122223334445555666777788899
        0x7f0000000000 |   01112222333444555566677778889
                       ++---------------+--------------+
                        14:13:20        14:13:25
        up: address; right: time (UTC)
        0123456789  0 to 34 accesses/s, 3.4 each; blank: unknown
        """)


def test_a_map_of_bytes_by_temperature_and_of_the_past():
    picture = made(
        [[0, 5], [None, 0], [10, 10], [None, None]],
        begin=-7200,
        seconds=7200,
        size=3 << 30,
        sorted="hottest last",
    )

    assert drawn(picture, colour=False) == golden("""
        vm/writes, scheme stat: accesses, 3GiB by temperature
        2GiB |509
           0 |0 9
             ++-++
              -2h
        up: bytes by temperature, hottest last; right: time since 2026-09-21 14:13:20 UTC
        0123456789  0 to 10 accesses/s, 1 each; blank: unknown
        """)


def test_what_nothing_is_known_of_says_so():
    picture = drawn(made([[None, None]] * 12), colour=False)

    assert picture.endswith("lists what was\n")


def test_temperature_has_no_unit_and_goes_below_nothing():
    picture = made([[-3e9, 0], [2e9, None]], shows="temperature", unit="")

    assert "0123456789  -3e9 to 2e9, 5e8 each; blank: unknown" in drawn(picture, colour=False)


@pytest.mark.parametrize("name", OF_TERMINALS)
def test_colours_say_what_digits_say(name):
    plain = drawn(ramp(), colour=False).splitlines()[1:9]
    coloured = drawn(ramp(), colours=name).splitlines()[1:9]

    for digits, cells in zip(plain, coloured, strict=True):
        told = ""
        for code, blanks in re.findall(r"\x1b\[([0-9;]+)m( *)", cells.partition("|")[2]):
            level = "" if code == "0" else OF_TERMINALS[name].index(int(code.removeprefix("48;5;")))
            told += (str(level) or " ") * len(blanks)
        start = len(cells.partition("|")[2]) - len(cells.partition("|")[2].lstrip(" "))
        assert " " * start + told == digits.partition("|")[2]
        assert cells.endswith("\x1b[0m")


@pytest.mark.parametrize("codes", OF_TERMINALS.values())
def test_hotter_is_lighter(codes):
    def light(code):
        if code >= 232:
            return 8 + 10 * (code - 232)
        steps = [0, 95, 135, 175, 215, 255]
        red, green, blue = (steps[(code - 16) // 6**power % 6] for power in (2, 1, 0))
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    assert len(codes) == 10
    assert all(light(low) < light(high) for low, high in itertools.pairwise(codes))


def test_levels_are_tenths_of_the_scale():
    found = levels(made([[0, 9.9, 10, 99, 100, np.nan]]))

    assert found.tolist() == [[0, 0, 1, 9, 9, -1]]
    assert levels(made([[0, 0, np.nan]])).tolist() == [[0, 0, -1]]


def test_what_names_of_others_hold_does_not_reach_the_terminal():
    assert "\x1b" not in drawn(made([[1]], name="vm \x1b[2J"), colour=False)


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("stream", "environment", "expected"),
    [
        (Terminal(), {"TERM": "xterm"}, True),
        (Terminal(), {"TERM": "xterm", "NO_COLOR": "1"}, False),
        (Terminal(), {"TERM": "dumb"}, False),
        (io.StringIO(), {"TERM": "xterm"}, False),
        (io.StringIO(), {"TERM": "xterm", "FORCE_COLOR": "1"}, True),
    ],
)
def test_colours_are_for_terminals_that_have_them(stream, environment, expected):
    assert has_colour(stream, environment) is expected


@pytest.mark.parametrize("absolute", [False, True])
@pytest.mark.parametrize("window", [(80, 24), (200, 60), (40, 15)])
def test_a_map_fits_its_window(window, absolute):
    times, addresses = room(*window, absolute=absolute)
    lines = drawn(ramp(times, addresses), colour=False, absolute=absolute).splitlines()

    assert len(lines) < window[1]
    assert all(len(line) <= window[0] for line in lines[1 : addresses + 3])
