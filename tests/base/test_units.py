import re
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from damonpolicy.base import units
from damonpolicy.base.units import UnitError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("4096B", 4096),
        ("4KiB", 4096),
        ("1.5 GiB", 3 << 29),
        ("200MiB", 200 << 20),
        ("1PiB", 1 << 50),
    ],
)
def test_bytes(text, value):
    assert value == units.read_bytes(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("5ms", 5_000),
        ("1.5s", 1_500_000),
        ("1h30m", 5_400_000_000),
        ("2 m", 120_000_000),
        ("1d", 86_400_000_000),
        ("250us", 250),
    ],
)
def test_duration(text, value):
    assert value == units.read_duration(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [("0", 0), ("0%", 0), ("5%", Fraction(1, 20)), ("0.5%", Fraction(1, 200)), ("100 %", 1)],
)
def test_percent(text, value):
    assert value == units.read_percent(text)


@pytest.mark.parametrize(
    ("read", "text", "code"),
    [
        (units.read_bytes, "200", "DP0121"),
        (units.read_bytes, "200MB", "DP0110"),
        (units.read_bytes, "4K", "DP0110"),
        (units.read_bytes, "x", "DP0110"),
        (units.read_bytes, "-1B", "DP0110"),
        (units.read_bytes, "0.3B", "DP0110"),
        (units.read_bytes, "20000PiB", "DP0119"),
        (units.read_bytes, "1_000B", "DP0117"),
        (units.read_duration, "10", "DP0121"),
        (units.read_duration, "12:30:45", "DP0118"),
        (units.read_duration, "5 parsecs", "DP0111"),
        (units.read_duration, "30m1h", "DP0111"),
        (units.read_duration, "1s1s", "DP0111"),
        (units.read_duration, "0.5us", "DP0111"),
        (units.read_percent, "5", "DP0121"),
        (units.read_percent, "5 pct", "DP0112"),
        (units.read_percent, "101%", "DP0119"),
        (units.read_count, "0777", "DP0116"),
        (units.read_count, "1_000", "DP0117"),
        (units.read_count, "4294967296", "DP0119"),
        (units.read_count, "1e3", "DP0113"),
        (units.read_count, "9" * 100, "DP0119"),
        (units.read_bool, "on", "DP0115"),
        (units.read_bool, "maybe", "DP0115"),
        (units.read_cpulist, "3-1", "DP0122"),
        (units.read_cpulist, "0,,1", "DP0122"),
        (units.read_address, "0xzz", "DP0114"),
        (units.read_address, "0x1ffffffffffffffff", "DP0119"),
    ],
)
def test_refusals(read, text, code):
    with pytest.raises(UnitError) as caught:
        read(text)

    assert code == caught.value.code
    assert not caught.value.message.endswith(".")


@pytest.mark.parametrize(
    ("read", "text", "hint"),
    [
        (units.read_duration, "5min", "write `5m`"),
        (units.read_duration, "1.5 Seconds", "write `1.5s`"),
        (units.read_duration, "1hour 30mins", "write `1h30m`"),
        (units.read_duration, "250µs", "write `250us`"),
        (units.read_duration, "10MSEC", "write `10ms`"),
        (units.read_duration, "3000", "write `3000ms` or `3000s`"),
        (units.read_bytes, "4kb", "write `4KiB` (1024-based)"),
        (units.read_bytes, "4 MB", "write `4 MiB` (1024-based)"),
        (units.read_bytes, "2g", "write `2GiB` (1024-based)"),
        (units.read_bytes, "4096 bytes", "write `4096 B`"),
        (units.read_percent, "5", "write `5%`"),
        (units.read_percent, "500", "write it in percent, such as `50%`"),
        (units.read_percent, "0.1", "write `10%`, or `0.1%` if that is meant"),
    ],
)
def test_hints_can_be_followed(read, text, hint):
    with pytest.raises(UnitError) as caught:
        read(text)

    assert hint == caught.value.hint
    for meant in re.findall(r"`([^`]+)`", hint):
        read(meant)


@pytest.mark.parametrize("text", ["5M", "5 parsecs", "min", "5min6"])
def test_hints_do_not_guess_at_durations(text):
    with pytest.raises(UnitError) as caught:
        units.read_duration(text)

    assert caught.value.hint.startswith("write for example")


@given(st.integers(0, units.U64_MAX))
def test_sizes_read_back(value):
    assert value == units.read_bytes(units.format_bytes(value))


@given(st.integers(0, units.U64_MAX))
def test_durations_read_back(value):
    assert value == units.read_duration(units.format_duration(value))


@given(st.sets(st.integers(0, 300), min_size=1))
def test_cpulists_read_back(numbers):
    assert tuple(sorted(numbers)) == units.read_cpulist(units.format_cpulist(numbers))


@given(st.integers(0, 10_000))
def test_percentages_read_back(points):
    share = Fraction(points, 10_000)

    assert share == units.read_percent(units.format_percent(share))
    assert units.format_percent(points, 10_000) == units.format_percent(share)


@given(st.text(max_size=80))
def test_any_text_is_read_or_refused(text):
    for read in (
        units.read_bytes,
        units.read_duration,
        units.read_percent,
        units.read_count,
        units.read_bool,
        units.read_cpulist,
        units.read_address,
    ):
        try:
            read(text)
        except UnitError as error:
            assert error.message


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"), (999, "999"), (999.4, "999"), (999.6, "1k"), (1_000, "1k"), (-1_500, "-1.5k"),
        (1_110_003_000, "1.11G"), (1_110_000_500, "1.11G"), (999_999, "1M"), (-0.2, "0"),
        (12_345_678, "12.3M"), (5e21, "5000E"),
    ],
)  # fmt: skip
def test_numbers_for_people(value, text):
    assert units.approximate_number(value) == text


@pytest.mark.parametrize(
    ("text", "value"),
    [("0", 0), ("-1,000", -1000), ("1.11G", 1_110_000_000), ("-1.5k", -1500), ("12", 12)],
)
def test_temperatures_are_read_as_they_are_shown(text, value):
    assert units.read_temperature(text) == value


@pytest.mark.parametrize("text", ["", "hot", "1.5", "1.5X", "G", "--1", "1e5", "١", "9" * 41])
def test_what_is_no_temperature(text):
    with pytest.raises(units.UnitError) as error:
        units.read_temperature(text)
    assert error.value.code == "DP0113"
