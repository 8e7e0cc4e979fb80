"""Sources of numbers: each kind, invalid numbers, and old ones."""

from __future__ import annotations

import json
import os
import time
from fractions import Fraction
from types import SimpleNamespace

import pytest

from damonpolicy.tuning import sources
from damonpolicy.tuning.sources import Meter
from tests.tuning.conftest import Answers, stale


@pytest.mark.parametrize(
    ("text", "key", "expected"),
    [("17\n", None, 17), ("0.25", None, Fraction(1, 4)), ("1e3", None, 1000),
     ("a 1\nb 2\n", "b", 2), ("b: 3 kB\n", "b", 3)],
)  # fmt: skip
def test_a_file(machine, tmp_path, text, key, expected):
    path = tmp_path / "score"
    path.write_text(text)

    assert Meter(machine, {"file": str(path), "key": key}).read() == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [("", "it holds nothing"), ("nan", "it holds NaN, not a number"),
     ("-inf", "it holds infinity, not a number"), ("1/0", "it holds text, not a number"),
     ("soon", "it holds text, not a number")],
)  # fmt: skip
def test_what_is_no_number(machine, tmp_path, text, reason):
    path = tmp_path / "score"
    path.write_text(text)

    assert reason in stale(Meter(machine, {"file": str(path)}))
    assert "there is no `x`" in stale(Meter(machine, {"file": str(path), "key": "x"}))
    assert "no such file" in stale(Meter(machine, {"file": str(tmp_path / "none")}))


def test_what_is_no_file(machine, tmp_path):
    """Opening a FIFO without a writer would wait for ever."""
    os.mkfifo(tmp_path / "fifo")
    os.symlink("loop", tmp_path / "loop")
    assert "is a directory" in stale(Meter(machine, {"file": str(tmp_path)}))
    for path in (tmp_path / "fifo", "/dev/zero"):
        assert "it is not a regular file" in stale(Meter(machine, {"file": str(path)}))
    assert "symbolic links" in stale(Meter(machine, {"file": str(tmp_path / "loop")}))


def test_a_number_that_may_be_cut_off(machine, tmp_path):
    path = tmp_path / "long"
    path.write_text("a 1\n" * (1 << 18) + "b 12345\n")

    assert "it is longer than 1 MiB" in stale(Meter(machine, {"file": str(path), "key": "b"}))


def test_a_file_that_nobody_writes_any_more(machine, tmp_path):
    path = tmp_path / "score"
    path.write_text("5")
    meter = Meter(machine, {"file": str(path), "stale_after": 60})
    assert meter.read() == 5
    os.utime(path, (time.time() - 100,) * 2)

    assert "it is 100 s old" in stale(meter)
    os.utime(path, (time.time() + 1000,) * 2)
    assert "s ahead" in stale(meter), "a clock was set back: nobody knows how old it is"


def test_a_file_of_the_kernel_has_no_age(machine, monkeypatch):
    """Its date says when its name was looked up first: the number is made as it is read."""
    path = "/proc/sys/kernel/pid_max"
    later = time.time() + 3600
    monkeypatch.setattr(time, "time", lambda: later)

    assert Meter(machine, {"file": path, "stale_after": 60}).read() > 0


@pytest.mark.parametrize(
    ("mounts", "expected"),
    [
        ("36 35 0:5 / /proc rw,nosuid - proc proc rw\n", False),
        ("36 35 0:5 / /sys/fs/cgroup rw shared:9 - cgroup2 none rw\n", False),
        ("36 35 0:5 / /run rw - tmpfs tmpfs rw\n", True),
        ("36 35 0:6 / /proc rw - proc proc rw\nbroken\n\n", True),
    ],
)
def test_file_systems_tell_which_dates_mean_something(monkeypatch, tmp_path, mounts, expected):
    (tmp_path / "mountinfo").write_text(mounts)
    monkeypatch.setattr(sources, "_MOUNTS", str(tmp_path / "mountinfo"))
    status = SimpleNamespace(st_dev=os.makedev(0, 5))

    assert sources._dated(status) is expected
    (tmp_path / "mountinfo").unlink()
    assert sources._dated(status)


def test_the_kernels_own_numbers(machine):
    machine.make_cgroup("/here") if not machine.exists("/sys/fs/cgroup/here") else None

    assert Meter(machine, {"psi": "memory"}).read() == 0
    assert Meter(machine, {"psi": "memory", "share": "full"}).read() >= 0
    assert Meter(machine, {"ksm": "pages_to_scan"}).read() == 100
    assert "no such file" in stale(Meter(machine, {"psi": "cpus"}))
    assert "no such file" in stale(Meter(machine, {"memory_stat": "anon", "cgroup": "/none"}))


def test_a_rate_is_by_the_second_and_times_is_a_factor(machine, tmp_path):
    path = tmp_path / "counter"
    meter = Meter(machine, {"file": str(path), "as": "rate", "times": "1.5"})
    path.write_text("100")
    assert "two readings" in stale(meter)
    machine.sleep(2)
    path.write_text("300")
    assert meter.read() == pytest.approx(150, rel=0.01)
    path.write_text("5")
    machine.sleep(1)
    assert "its count started over" in stale(meter)
    machine.sleep(1)
    path.write_text("15")
    assert meter.read() == pytest.approx(15, rel=0.01)


@pytest.mark.parametrize("value", ["a,b", "a=b", "a}b", "a{b", " a ", 'a"b', "a\\b", "", "#"])
def test_a_label_may_hold_anything(machine, server, value):
    text = value.replace("\\", "\\\\").replace('"', '\\"')
    Answers.answer = f'm{{device="other"}} 1\nm{{x="1",device="{text}"}} 2\n'
    series = f'm{{device="{text}"}}'

    assert Meter(machine, {"exporter": server, "series": series}).read() == 2


@pytest.mark.parametrize(
    "series", ["m{device=a}", 'm{device="a"', "m}", "1m", "a b c", "m 1\nn", ""]
)
def test_what_is_no_series_is_told(machine, server, series):
    Answers.answer = "m 1\nn 2\n"
    said = stale(Meter(machine, {"exporter": server, "series": series}))

    assert said, series
    assert "is not a series such as" in said


def test_an_exporter(machine, server):
    Answers.answer = 'a 1\n# TYPE b gauge\nb{x="1",y="2"} 7.5\nb{x="2"} 8\n'
    for series, expected in (("a", 1), ('b{x="1"}', 7.5), ('b{x="2"}', 8)):
        assert (
            Meter(machine, {"exporter": f"{server}/metrics", "series": series}).read() == expected
        )
    assert "there is no `c`" in stale(Meter(machine, {"exporter": server, "series": "c"}))
    Answers.answer = "other{ 1 2 3\na +Inf\n"
    assert "it holds infinity, not a number" in stale(
        Meter(machine, {"exporter": server, "series": "a"})
    )
    for odd in ("}{", "a{ 1", "a", "a NaN", "a 1e400", "a" * (2 << 20), "\0", ""):
        Answers.answer = odd
        assert stale(Meter(machine, {"exporter": server, "series": "a"}))


def test_a_query(machine, server):
    source = {"prometheus": server, "query": "rate(x[1m])", "stale_after": 60}

    def say(*values, age=0.0):
        result = [{"value": [time.time() - age, value]} for value in values]
        Answers.answer = json.dumps({"data": {"resultType": "vector", "result": result}})

    say("0.5")
    assert Meter(machine, source).read() == Fraction(1, 2)
    say("0.5", age=100)
    assert "s old" in stale(Meter(machine, source))
    say("1", "2")
    assert "the query gives 2 values" in stale(Meter(machine, source))
    say("NaN")
    assert "it holds NaN, not a number" in stale(Meter(machine, source))
    Answers.answer = "{}"
    assert "there is no `data`" in stale(Meter(machine, source))
    for odd in (
        "no JSON", "[" * 100_000, "[]", "1", '{"data": 1}', '{"data": []}',
        '{"data": {"resultType": "scalar", "result": 1}}',
        '{"data": {"resultType": "scalar", "result": [NaN, "1"]}}',
        '{"data": {"resultType": "scalar", "result": [1e999, "1"]}}',
        '{"data": {"resultType": "vector", "result": [{"value": {}}]}}',
        '{"data": {"resultType": "vector", "result": [[]]}}',
    ):  # fmt: skip
        Answers.answer = odd
        assert stale(Meter(machine, source))


@pytest.mark.parametrize(
    "url", ["http://192.0.2.1/", "https://localhost/", "file:///etc/passwd", "http://localhost.x/"]
)
def test_only_the_machine_itself_is_asked(machine, url):
    assert "only http on the machine itself" in stale(
        Meter(machine, {"exporter": url, "series": "a"})
    )


def test_nobody_is_led_elsewhere(machine, server, monkeypatch):
    monkeypatch.setattr(Answers, "status", 302)
    monkeypatch.setattr(Answers, "answer", "http://192.0.2.1/")

    assert stale(Meter(machine, {"exporter": server, "series": "a"}))
