"""Where numbers come from: each kind of source, and what is no number, or an old one."""

from __future__ import annotations

import http.server
import json
import os
import threading
import time
from fractions import Fraction

import pytest

from damonpolicy.emulated.machine import EmulatedMachine
from damonpolicy.tuning import sources
from damonpolicy.tuning.sources import Meter, Stale


@pytest.fixture(scope="module")
def machine():
    return EmulatedMachine.create("7.3")


class Answers(http.server.BaseHTTPRequestHandler):
    answer = ""
    status = 200

    def do_GET(self):
        self.send_response(self.status)
        if self.status == 302:
            self.send_header("Location", self.answer)
        self.end_headers()
        self.wfile.write(type(self).answer.replace("PATH", self.path).encode())

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def server():
    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{made.server_address[1]}"
    made.shutdown()
    made.server_close()


def stale(meter):
    with pytest.raises(Stale) as caught:
        meter.read()
    return str(caught.value)


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
    [("", "`` is not a number"), ("nan", "`nan` is not"), ("inf", "`inf` is not"), ("1/0", "`1/0`"),
     ("soon", "`soon` is not a number")],
)  # fmt: skip
def test_what_is_no_number(machine, tmp_path, text, reason):
    path = tmp_path / "score"
    path.write_text(text)

    assert reason in stale(Meter(machine, {"file": str(path)}))
    assert "there is no `x`" in stale(Meter(machine, {"file": str(path), "key": "x"}))
    assert "no such file" in stale(Meter(machine, {"file": str(tmp_path / "none")}))


def test_what_is_no_file(machine, tmp_path):
    """Opening a FIFO that nobody writes to would wait for ever."""
    os.mkfifo(tmp_path / "fifo")
    os.symlink("loop", tmp_path / "loop")
    assert "is a directory" in stale(Meter(machine, {"file": str(tmp_path)}))
    for path in (tmp_path / "fifo", "/dev/zero"):
        assert "it is no regular file" in stale(Meter(machine, {"file": str(path)}))
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
    assert "it counts anew" in stale(meter)
    machine.sleep(1)
    path.write_text("15")
    assert meter.read() == pytest.approx(15, rel=0.01)


def test_an_exporter(machine, server):
    Answers.answer = 'a 1\n# TYPE b gauge\nb{x="1",y="2"} 7.5\nb{x="2"} 8\n'
    for series, expected in (("a", 1), ('b{x="1"}', 7.5), ('b{x="2"}', 8)):
        assert (
            Meter(machine, {"exporter": f"{server}/metrics", "series": series}).read() == expected
        )
    assert "there is no `c`" in stale(Meter(machine, {"exporter": server, "series": "c"}))
    Answers.answer = "other{ 1 2 3\na +Inf\n"
    assert "`inf` is not a number" in stale(Meter(machine, {"exporter": server, "series": "a"}))
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
    assert "`NaN` is not a number" in stale(Meter(machine, source))
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


def test_a_program_runs_only_where_an_administrator_allows_it(machine, tmp_path, monkeypatch):
    allowed = tmp_path / "programs.allow"
    monkeypatch.setattr(sources, "PROGRAMS", str(allowed))
    program = tmp_path / "score"
    program.write_text("#!/bin/sh\necho the score is\necho $1\n")
    program.chmod(0o755)
    meter = Meter(machine, {"command": [str(program), "42"]})
    assert "is not in" in stale(meter)
    allowed.write_text(f"# ours\n{program}  # the score\n")
    if os.getuid() == 0:
        assert meter.read() == 42
    allowed.chmod(0o666)
    assert "is not in" in stale(meter)


@pytest.mark.skipif(os.getuid() != 0, reason="the list has to belong to root")
def test_a_program_that_fails_or_does_not_end(machine, tmp_path, monkeypatch):
    allowed = tmp_path / "programs.allow"
    monkeypatch.setattr(sources, "PROGRAMS", str(allowed))
    monkeypatch.setattr(sources, "_SECONDS", 0.2)
    allowed.write_text("/bin/false\n/bin/sleep\n/bin/true\n")
    assert "`/bin/false` ended with 1" in stale(Meter(machine, {"command": ["/bin/false"]}))
    assert "no answer within" in stale(Meter(machine, {"command": ["/bin/sleep", "60"]}))
    assert "`` is not a number" in stale(Meter(machine, {"command": ["/bin/true"]}))


@pytest.mark.skipif(os.getuid() != 0, reason="the list has to belong to root")
def test_what_a_program_leaves_behind_ends_with_it(machine, tmp_path, monkeypatch):
    allowed = tmp_path / "programs.allow"
    monkeypatch.setattr(sources, "PROGRAMS", str(allowed))
    monkeypatch.setattr(sources, "_SECONDS", 5.0)
    allowed.write_text("/bin/sh\n")
    left = tmp_path / "left"
    behind = f"sleep 1000 > /dev/null & echo $! > {left}; echo 7"

    assert Meter(machine, {"command": ["/bin/sh", "-c", behind]}).read() == 7

    assert gone(int(left.read_text()))
    assert "more than 1 MiB" in stale(Meter(machine, {"command": ["/bin/sh", "-c", "yes"]}))


def gone(pid):
    """Whether a process has ended, be it that nobody has waited for it yet."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        try:
            with open(f"/proc/{pid}/stat", encoding="ascii") as stream:
                if stream.read().rpartition(")")[2].split()[0] == "Z":
                    return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.01)
    return False
