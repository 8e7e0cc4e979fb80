from __future__ import annotations

import pytest

from damonpolicy.observe.heatmap.axes import (
    address_marks,
    address_title,
    number,
    time_marks,
    time_title,
    title,
)
from tests.observe.maps import BASE, BEGUN, MIB, S, made


def texts(marks):
    return [each.text for each in marks]


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.0000048, ["0us", "1us", "2us", "3us", "4us"]),
        (0.004, ["0ms", "1ms", "2ms", "3ms", "4ms"]),
        (0.4, ["0s", "0.1s", "0.2s", "0.3s", "0.4s"]),
        (10, ["0s", "2s", "4s", "6s", "8s", "10s"]),
        (100, ["0s", "30s", "60s", "90s"]),
        (600, ["0m", "2m", "4m", "6m", "8m", "10m"]),
        (86400 * 250, ["0h", "1344h", "2688h", "4032h", "5376h"]),
    ],
)
def test_times_have_round_marks(seconds, expected):
    assert texts(time_marks(made([[0]], seconds=seconds), 5)) == expected


def test_times_before_the_first_snapshot_are_negative():
    found = time_marks(made([[0]], begin=-20, seconds=30), 3)

    assert texts(found) == ["-20s", "-10s", "0s", "10s"]
    assert found[2].at == BEGUN


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.5, ["14:13:20.0", "14:13:20.2", "14:13:20.4"]),
        (20, ["14:13:20", "14:13:30", "14:13:40"]),
        (3600, ["14:30", "15:00"]),
        (86400 * 3, ["09-22", "09-23", "09-24"]),
    ],
)
def test_times_of_the_day(seconds, expected):
    assert texts(time_marks(made([[0]], seconds=seconds), 3, absolute=True)) == expected


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (2, ["0", "1B", "2B"]),
        (8 * MIB, ["0", "2MiB", "4MiB", "6MiB", "8MiB"]),
        (3 << 30, ["0", "1GiB", "2GiB", "3GiB"]),
        (1 << 47, ["0", "32TiB", "64TiB", "96TiB", "128TiB"]),
    ],
)
def test_bytes_have_marks_of_powers_of_two(size, expected):
    assert texts(address_marks(made([[0]], size=size), 4)) == expected


def test_addresses_are_round_wherever_the_map_begins():
    found = address_marks(made([[0]], base=BASE + 12345, size=4 * MIB), 4, absolute=True)

    assert texts(found) == [f"{BASE + step * MIB:#x}" for step in (1, 2, 3, 4)]


def test_bytes_by_temperature_have_no_address():
    by_heat = made([[0]], base=0, sorted="hottest first")

    assert texts(address_marks(by_heat, 2, absolute=True)) == ["0", "4MiB", "8MiB"]
    assert address_title(by_heat, absolute=True) == "bytes by temperature, hottest first"
    assert "by temperature" in title(by_heat)


def test_titles_say_where_axes_begin():
    map_ = made([[0]])

    assert address_title(map_) == "bytes from 0x7f0000000000"
    assert address_title(map_, absolute=True) == "address"
    assert time_title(map_) == "time since 2026-09-21 14:13:20 UTC"
    assert time_title(map_, absolute=True) == "time (UTC)"
    assert BEGUN == 1_790_000_000 * S


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (120, "120"), (120.81234, "120.8"), (0.012345, "0.01235"), (-3e9, "-3e9")],
)
def test_numbers_have_four_digits(value, text):
    assert number(value) == text
