"""Sources of numbers: each kind, invalid numbers, and old ones."""

from __future__ import annotations

import http.server
import json
import os
import socket
import threading
import time
from fractions import Fraction
from types import SimpleNamespace

import pytest

from damonpolicy.base import etc
from damonpolicy.emulated.machine import EmulatedMachine
from damonpolicy.tuning import ages, sources
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
    """Opening a FIFO that nobody writes to would wait for ever."""
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
    monkeypatch.setattr(ages, "_MOUNTS", str(tmp_path / "mountinfo"))
    status = SimpleNamespace(st_dev=os.makedev(0, 5))

    assert ages.dated(status) is expected
    (tmp_path / "mountinfo").unlink()
    assert ages.dated(status)


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


@pytest.fixture
def allow(tmp_path, monkeypatch):
    """Write root's list of programs."""
    path = tmp_path / "programs.allow"
    monkeypatch.setattr(etc, "PROGRAMS", str(path))

    def allow(*lines):
        path.write_text("\n".join(lines) + "\n")
        path.chmod(0o644)
        return path

    return allow


@pytest.fixture
def program(tmp_path):
    path = tmp_path / "score"
    path.write_text("#!/bin/sh\necho the score is\necho $1\n")
    path.chmod(0o755)
    return path


def test_a_program_runs_only_where_an_administrator_allows_it(machine, allow, program):
    meter = Meter(machine, {"command": [str(program), "42"]})
    assert "is not in" in stale(meter)
    listed = allow("# ours", f"{program}  # the score")
    assert meter.read() == 42
    listed.chmod(0o666)
    assert f"everyone can change `{listed}`" in stale(meter)


def test_a_program_that_others_can_exchange_does_not_run(machine, allow, program):
    allow(str(program))
    meter = Meter(machine, {"command": [str(program), "42"]})
    program.chmod(0o777)
    assert f"everyone can change `{program}`" in stale(meter)
    program.chmod(0o755)
    program.parent.chmod(0o777)
    assert f"everyone can change `{program.parent}`" in stale(meter)


def test_a_program_that_fails_or_does_not_end(machine, allow, monkeypatch):
    monkeypatch.setattr(sources, "_SECONDS", 0.2)
    allow("/bin/false", "/bin/sleep", "/bin/true")
    assert "`/bin/false` ended with 1" in stale(Meter(machine, {"command": ["/bin/false"]}))
    assert "no answer within" in stale(Meter(machine, {"command": ["/bin/sleep", "60"]}))
    assert "it holds nothing" in stale(Meter(machine, {"command": ["/bin/true"]}))


def test_what_a_program_leaves_behind_ends_with_it(machine, allow, tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "_SECONDS", 5.0)
    allow("/bin/sh")
    left = tmp_path / "left"
    behind = f"sleep 1000 > /dev/null & echo $! > {left}; echo 7"

    assert Meter(machine, {"command": ["/bin/sh", "-c", behind]}).read() == 7

    assert gone(int(left.read_text()))
    assert "more than 1 MiB" in stale(Meter(machine, {"command": ["/bin/sh", "-c", "yes"]}))


def test_a_program_knows_nothing_of_the_service(machine, allow, tmp_path, monkeypatch):
    """Its environment, directory, files and mask are its own."""
    monkeypatch.setenv("SECRET_OF_THE_SERVICE", "s3cret")
    allow("/bin/sh")
    said, files = tmp_path / "said", tmp_path / "files"
    look = (
        f"{{ pwd; umask; readlink /proc/$$/fd/0; env; }} > {said}; ls /proc/$$/fd > {files}; echo 1"
    )
    with open(os.devnull, "rb") as stream:
        os.dup2(stream.fileno(), 200, inheritable=True)
    try:
        assert Meter(machine, {"command": ["/bin/sh", "-c", look]}).read() == 1
    finally:
        os.close(200)

    here, mask, given, *environment = said.read_text().splitlines()
    assert (here, mask, given) == ("/", "0077", "/dev/null")
    names = {each.partition("=")[0] for each in environment}
    assert names <= {"PATH", "LC_ALL", "PWD", "OLDPWD", "SHLVL", "_"}
    assert "200" not in files.read_text().split()


SECRET = "$6$salt$hash:19000:0:99999:7:::"


def test_a_secret_is_never_shown(machine, server, tmp_path):
    """Whatever a source comes to, what it holds stands in no message."""
    path = tmp_path / "shadow"
    path.write_text(f"root:{SECRET}\n")
    reasons = [stale(Meter(machine, {"file": str(path), "key": "root"}))]
    path.write_text(SECRET)
    reasons.append(stale(Meter(machine, {"file": str(path)})))
    for answer in (f"a {SECRET}", f"a{{{SECRET}", f'a{{x="{SECRET}"}} {SECRET}'):
        Answers.answer = answer
        reasons.append(stale(Meter(machine, {"exporter": server, "series": "a"})))
    for data in (
        SECRET, {"data": SECRET}, {"data": {"resultType": "scalar", "result": [0, SECRET]}},
        {"data": {"resultType": "scalar", "result": [SECRET, "1"]}},
        {"data": {"resultType": "vector", "result": SECRET}},
    ):  # fmt: skip
        Answers.answer = json.dumps(data)
        reasons.append(stale(Meter(machine, {"prometheus": server, "query": "x"})))

    for reason in reasons:
        assert not {part for part in SECRET.replace("$", ":").split(":") if len(part) > 3} & set(
            reason.replace("$", ":").replace("`", ":").split(":")
        ), reason
        assert "hash" not in reason


def test_what_a_server_says_that_is_none_is_not_shown(machine):
    """Its first words may be a secret as well: of Redis, of SSH, of anything that listens."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve():
            connection, _ = listening.accept()
            with connection:
                connection.recv(1 << 16)
                connection.sendall(b"s3cret-banner 1.0\r\n")

        thread = threading.Thread(target=serve)
        thread.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
        reason = stale(Meter(machine, {"exporter": url, "series": "a"}))
        thread.join()

    assert reason == f"exporter {url}: the answer is not HTTP"


@pytest.mark.parametrize("closed", ["the file", "a directory above"])
def test_what_not_everybody_can_read_takes_root_to_allow(
    machine, tmp_path, public_place, monkeypatch, closed
):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    listed = tmp_path / "sources.allow"
    monkeypatch.setattr(etc, "SOURCES", str(listed))
    place = public_place
    score = place / "score"
    score.write_text("7")
    score.chmod(0o644)
    meter = Meter(machine, {"file": str(score)})
    assert meter.read() == 7, "everybody could tell that number"

    (score if closed == "the file" else place).chmod(0o700)
    assert stale(meter) == (
        f"file {score}: not everybody may read `{score}`, and it is not in {listed}"
    )
    listed.write_text(f"{place}/\n")
    listed.chmod(0o644)
    assert meter.read() == 7
    link = tmp_path / "link"
    link.symlink_to(score)
    listed.write_text(f"{link}\n")
    assert f"may read `{score}`" in stale(Meter(machine, {"file": str(link)})), "it leads elsewhere"
    listed.write_text(f"{score}\n")
    assert Meter(machine, {"file": str(link)}).read() == 7
    listed.chmod(0o666)
    assert f"everyone can change `{listed}`" in stale(meter)


@pytest.mark.parametrize("path", ["/etc/shadow", "/proc/self/environ", "/proc/self/mem"])
def test_what_only_root_can_read_is_no_source(machine, monkeypatch, path):
    monkeypatch.setattr(os, "geteuid", lambda: 0)

    assert "not everybody may read" in stale(Meter(machine, {"file": path, "key": "root"})) or (
        os.getuid() != 0
    )


@pytest.mark.parametrize(
    "source",
    [
        {"ksm": "../../../../etc/hostname"},
        {"ksm": "../hugepages/x"},
        {"psi": "../version"},
        {"psi": "memory", "cgroup": "/../../../etc"},
        {"memory_stat": "anon", "cgroup": "/a/../.."},
    ],
)
def test_a_source_stays_in_its_directory(machine, source):
    assert "leads out of" in stale(Meter(machine, source))


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
