import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from damonpolicy.emulated import values
from damonpolicy.emulated.values import Refusal


def answer(reader, *arguments, **more):
    try:
        return reader(*arguments, **more)
    except Refusal as refusal:
        return errno.errorcode[refusal.errno]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0), ("5\n", 5), ("+7", 7), ("0x10", 16), ("0X1f", 31), ("010", 8),
        ("18446744073709551615", (1 << 64) - 1), ("18446744073709551616", "ERANGE"),
        ("18446744073709551616x", "ERANGE"),
        *((text, "EINVAL") for text in (
            "", "\n", "-1", "x", "08", "0b1", "1_0", " 1", "1 ", "1\n\n", "1 2", "1.5", "0x", "+",
            "--1", "+-1", "\t1", "٣",
        )),
    ],
)  # fmt: skip
def test_unsigned_as_seen_on_real_kernels(text, expected):
    assert expected == answer(values.unsigned, text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("-1", -1), ("2147483647", 2147483647), ("2147483648", "ERANGE"),
        ("-2147483648", -2147483648), ("-2147483649", "ERANGE"), ("-0x10", -16), ("-+1", "EINVAL"),
    ],
)  # fmt: skip
def test_signed_as_seen_on_real_kernels(text, expected):
    assert expected == answer(values.signed, text)


@pytest.mark.parametrize("word", ["Y", "y\n", "1", "1 2", "tx", "true", "on", "1_0", "10"])
def test_true(word):
    assert values.boolean(word, able=False)


@pytest.mark.parametrize("word", ["N", "n", "0x10", "08", "false", "oF", "f"])
def test_false(word):
    assert not values.boolean(word, able=False)


@pytest.mark.parametrize("word", ["", "\n", "2", "x", " 1", "-1", "o", "+1"])
def test_neither_true_nor_false(word):
    assert answer(values.boolean, word, able=True) == "EINVAL"


def test_enable_is_newer_than_on():
    assert answer(values.boolean, "enable", able=False) == "EINVAL"
    assert values.boolean("enable", able=True)
    assert not values.boolean("disable", able=True)


@given(st.integers(min_value=0, max_value=(1 << 64) - 1))
def test_what_is_shown_can_be_written(number):
    assert number == values.unsigned(str(number)) == values.unsigned(hex(number) + "\n")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("60", ([60], True)), (" 70 \n", ([70], True)), ("0x10", ([16], True)),
        ("7 8", ([7], False)), ("201", "EINVAL"), ("-1", "EINVAL"), ("", "EINVAL"),
        ("+1", "EINVAL"), ("1x", "EINVAL"), ("18446744073709551616", "EINVAL"),
    ],
)  # fmt: skip
def test_sysctl_as_seen_on_real_kernels(text, expected):
    assert expected == answer(values.sysctl, text, 1, 0, 200)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0-1", {0, 1}), ("all", {0, 1, 2, 3}), ("", set()), ("0,2", {0, 2}), ("0xff", "EINVAL"),
        ("abc", "EINVAL"), ("1-0", "EINVAL"), ("-1", "EINVAL"), ("0-63", "ERANGE"), ("4", "ERANGE"),
    ],
)  # fmt: skip
def test_lists_of_cpus(text, expected):
    assert expected == answer(values.cpulist, text, 4)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1,2,3", [1, 2, 3]), ("1-4", [1, 2, 3, 4]), ("5 6", [5]), ("1,x", [1]), ("7,", [7]),
     ("abc", "ENOENT"), ("", "ENOENT")],
)  # fmt: skip
def test_lists_of_threads(text, expected):
    assert expected == answer(values.threads, text)


def test_only_the_first_page_before_the_first_nul_arrives():
    assert values.received("x" * 5000) == ("x" * 4096, False)
    assert values.received("ab\0c") == ("ab", True)
    assert values.received("ä" * 2048) == ("ä" * 2048, True)


def test_a_page_has_room_for_a_final_nul():
    assert len(values.shown("x" * 4096)) == 4095
    assert values.shown("x") == "x\n"


def test_white_space_that_only_python_knows_is_no_white_space():
    for text in ("\u00a0", "1\u00a02", "\u20031", "\x1c"):
        with pytest.raises(Refusal):
            values.sysctl(text, 1, 0, 100)


def test_ranges_of_threads_end_where_pids_do():
    with pytest.raises(Refusal):
        values.threads("1-9999999999")
