"""`run` as a process: its reaction to files and signals."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

from damonpolicy.base.errors import ExitCode
from damonpolicy.daemon import app as serving
from damonpolicy.emulated.machine import EmulatedMachine
from tests.conftest import run_cli
from tests.daemon.conftest import PAGES, settings
from tests.outputs import conforming_lines
from tests.world import in_memory_directory

SECONDS = 120


class Running:
    """A service on an emulated machine."""

    def __init__(self, directory, *options):
        self.directory = directory
        self.policies = directory / "policies"
        if not (directory / "log").exists():
            self.policies.mkdir(exist_ok=True)
        self.machine = EmulatedMachine.create("7.3", store=directory / "state" / "machine")
        self.log = directory / "log"
        with self.log.open("a") as stream:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "damonpolicy", "--kernel", "emulated:7.3",
                 "--state-dir", str(directory / "state"), "--log-format", "json",
                 "run", str(self.policies), "--debounce", "100ms", *options],
                stdout=subprocess.DEVNULL, stderr=stream,
            )  # fmt: skip

    def wait_for(self, condition):
        deadline = time.monotonic() + SECONDS
        while not condition():
            assert self.process.poll() is None, self.told()
            assert time.monotonic() < deadline, self.told()
            time.sleep(0.02)

    def told(self):
        return self.log.read_text()

    def events(self, name):
        return [each for each in conforming_lines(self.told()) if each["event"] == name]

    def pages(self):
        return self.machine.read(PAGES).strip()

    def status(self):
        return self.command("status")

    def command(self, *words):
        outcome = run_cli(*words, "--kernel", "emulated:7.3", "--state-dir",
                          str(self.directory / "state"))  # fmt: skip
        assert outcome.code == ExitCode.OK, outcome.err
        return outcome.out

    def end(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        return self.process.wait(SECONDS)


@pytest.fixture
def start():
    """Start services in one directory; whatever happens, none is left."""
    directory, started = in_memory_directory(), []

    def starting(*options):
        started.append(Running(directory, *options))
        return started[-1]

    yield starting
    for each in started:
        each.process.kill()
        each.process.wait()
    shutil.rmtree(directory)


def test_it_follows_its_files_until_it_is_stopped(start):
    running = start()
    running.wait_for(lambda: running.events("reload"))
    (running.policies / "p.yaml").write_text(settings(pages=300))
    running.wait_for(lambda: running.pages() == "300")
    (running.policies / "p.yaml").write_text("version: 1\nnam: p\n")
    running.wait_for(lambda: running.events("reload")[-1]["result"] == "invalid")
    place = f"{running.policies}/p.yaml:2:1"
    running.wait_for(lambda: place in [each["place"] for each in running.events("finding")])
    running.wait_for(lambda: "last reload: invalid" in running.status())
    assert "error[DP0101]" in running.status() or "p.yaml:2:1: error" in running.status()
    assert running.pages() == "300"
    assert running.end() == ExitCode.OK
    assert running.pages() == "300", "what was applied stays"
    assert "service" not in running.status()


def test_who_ends_its_policies_is_told_that_it_is_there(start):
    running = start()
    (running.policies / "p.yaml").write_text(settings(pages=300))
    running.wait_for(lambda: running.pages() == "300" and "last reload" in running.status())
    note = f"note: the service of {running.policies} (pid {running.process.pid}) applies its files"

    by_hand = running.directory / "p.yaml"
    by_hand.write_text(settings(pages=400))
    assert note in running.command("apply", str(by_hand))
    by_hand.write_text(settings(pages=500))
    assert note not in running.command("apply", str(by_hand)), "it is no longer the service's"
    assert note in running.command("stop", "--all")
    assert note in running.command("rollback", "1")
    running.end()
    assert "note: the service" not in running.command("stop", "--all")


def test_nothing_is_left_if_that_is_asked_for(start):
    running = start("--on-exit", "remove")
    before = running.pages()
    (running.policies / "p.yaml").write_text(settings(pages=300))
    running.wait_for(lambda: running.pages() == "300")

    assert running.end(signal.SIGINT) == ExitCode.OK
    assert running.pages() == before


def test_sighup_looks_at_once(start):
    running = start()
    running.wait_for(lambda: running.events("reload"))
    count = len(running.events("reload"))
    running.process.send_signal(signal.SIGHUP)
    running.wait_for(lambda: len(running.events("reload")) > count)

    assert running.end() == ExitCode.OK


def test_systemd_is_told(start, tmp_path, monkeypatch):
    """Ready, reloading and ready again, stopping; and signs of life."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.settimeout(SECONDS)
        systemd.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "200000")
        running = start()

        def until(word):
            while word not in (said := systemd.recv(4096).decode()):
                pass
            return said

        assert "STATUS=" in until("READY=1")
        until("WATCHDOG=1")
        running.process.send_signal(signal.SIGHUP)
        until("RELOADING=1")
        until("READY=1")
        assert running.end() == ExitCode.OK
        until("STOPPING=1")


def test_a_file_that_somebody_keeps_open_is_seen(start):
    """Also where it keeps the first policies from being taken."""
    running = start()
    running.wait_for(lambda: running.events("reload"))
    running.end()
    held = running.policies / "p.yaml"
    with held.open("w") as stream:
        stream.write("version: 1\n")
        stream.flush()
        running = start()
        running.wait_for(lambda: f"waits for {held}: a program has it open" in running.status())
        stream.write(settings(pages=300).partition("\n")[2])
    running.wait_for(lambda: running.pages() == "300")
    running.wait_for(lambda: "waits for" not in running.status())

    assert running.end() == ExitCode.OK


def test_killed_and_started_again_it_goes_on(start):
    running = start()
    (running.policies / "p.yaml").write_text(settings(pages=300))
    running.wait_for(lambda: running.pages() == "300")
    running.wait_for(lambda: "last reload: applied" in running.status())
    running.end(signal.SIGKILL)
    assert "has ended unexpectedly" in running.status()
    (running.policies / "p.yaml").write_text(settings(pages=400))
    again = start()
    again.wait_for(lambda: again.pages() == "400")

    assert again.end() == ExitCode.OK


GOALS = """
version: 1
name: tuned
on_drift: repair
kdamonds:
  - name: k
    ops: paddr
    targets: [{system_ram: true}]
    schemes:
      - name: cold
        action: stat
        quota:
          size: 100MiB
          every: 1s
          goals: [{metric: node_mem_used_bp, node: 0, target: 90%}]
modules: {damon_stat: {enabled: false}}
"""


def scraped(running):
    (address,) = {each["address"] for each in running.events("metrics")}
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=SECONDS) as answer:
        return answer.read().decode()


def test_what_it_sees_is_told(start):
    running = start("--metrics", "127.0.0.1:0")
    running.wait_for(lambda: running.events("metrics"))
    (running.policies / "p.yaml").write_text(GOALS)
    running.wait_for(lambda: 'scheme_tried_bytes_total{kdamond="tuned/k"' in scraped(running))

    assert 'damonpolicy_reloads_total{result="applied"}' in scraped(running)
    running.wait_for(lambda: "goal node_mem_used_bp of node 0: " in running.status())
    running.wait_for(lambda: " of 90% (score " in running.status())
    assert ", quota in effect " in running.status()
    assert running.end() == ExitCode.OK


def test_a_port_that_is_taken_ends_it_before_it_begins(start):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        running = start("--metrics", f"127.0.0.1:{port}")
        (running.policies / "p.yaml").write_text(settings(pages=300))

        assert running.process.wait(SECONDS) == ExitCode.FAILED
    assert f"cannot serve metrics on `127.0.0.1:{port}`" in running.told()
    assert "hint: choose another port" in running.told()
    assert running.pages() != "300"


def test_a_wrong_debounce_is_told(cli):
    outcome = cli("run", "--debounce", "soon", ".", "--kernel", "emulated:7.3")

    assert outcome.code == ExitCode.USAGE
    assert "--debounce" in outcome.err


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("polices", "did you mean `{}/policies`?"),
        ("new", "`mkdir {}/new`"),
        ("a/ksm.yaml", "`damonpolicy init ksm -o {}/a/ksm.yaml`"),
        ("mine.yml", "`damonpolicy init` lists the shipped policies and writes one"),
        ("no/where", "`damonpolicy init` lists the shipped policies and writes one"),
    ],
)
def test_a_path_that_was_never_there_is_refused(cli, tmp_path, path, hint):
    (tmp_path / "policies").mkdir()
    outcome = cli("run", str(tmp_path / path), "--kernel", "emulated:7.3")

    assert outcome.code == ExitCode.USAGE
    assert f"there is no `{tmp_path / path}`" in outcome.err
    assert f"hint: {hint.format(tmp_path)}" in outcome.err


def test_a_path_that_held_policies_may_be_gone_when_the_service_starts_again(start):
    running = start()
    (running.policies / "p.yaml").write_text(settings(pages=300))
    running.wait_for(lambda: running.pages() == "300")
    assert running.end() == ExitCode.OK
    running.policies.rename(running.directory / "unmounted")
    before = len(running.events("reload"))
    again = start()
    again.wait_for(lambda: len(again.events("reload")) > before)

    assert again.pages() == "300"
    assert again.end() == ExitCode.OK


def test_there_is_one_service_for_a_machine(start, tmp_path):
    running = start()
    running.wait_for(lambda: running.events("reload"))
    second = run_cli("run", str(tmp_path), "--kernel", "emulated:7.3",
                     "--state-dir", str(running.directory / "state"))  # fmt: skip

    assert second.code == ExitCode.LOCKED
    assert f"another service (pid {running.process.pid})" in second.err
    assert running.end() == ExitCode.OK


def test_sighup_while_it_starts_is_no_reason_to_end(monkeypatch, tmp_path):
    """Whatever it asks for is done anyway: everything is read at the start."""
    survived = []

    def starts(*_, **__):
        os.kill(os.getpid(), signal.SIGHUP)
        survived.append(1)
        return False

    monkeypatch.setattr(serving, "serve", starts)
    before = signal.getsignal(signal.SIGHUP)
    outcome = run_cli(
        "run", "--kernel", "emulated:7.3", "--state-dir", str(tmp_path / "s"), str(tmp_path)
    )

    assert outcome.code == ExitCode.OK, outcome.err
    assert survived
    assert signal.getsignal(signal.SIGHUP) == before


def test_sighup_again_and_again_from_the_first_sign_of_life(start):
    running = start()
    running.wait_for(lambda: running.log.read_text() or os.path.exists(
        running.directory / "state" / "run" / "service.lock"))  # fmt: skip
    for _ in range(200):
        running.process.send_signal(signal.SIGHUP)
        time.sleep(0.005)
    running.wait_for(lambda: running.events("reload"))

    assert running.end() == ExitCode.OK


TEXTS = {
    "lone-surrogate": b"version: 1\nname: p\ndescription: '{{ \"\\ud800\" }}'\nsettings: {}\n",
    "surrogate-setting": b"version: 1\nname: p\nsettings: {/sys/kernel/mm/ksm/run: '{{ \"\\ud800\" }}'}\n",
    "not-utf-8": b"version: 1\nname: \xff\xfe\n",
    "nul": b"version: 1\nname: p\x00\n",
    "huge": b"# " + b"x" * (2 << 20),
    "deep": b"version: 1\nname: " + b"[" * 5000 + b"]" * 5000 + b"\n",
    "alias-bomb": b"a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nversion: 1\nname: p\n",
    "long-line": b"version: 1\nname: " + b"n" * 500_000 + b"\n",
    "empty": b"",
}


def test_no_text_of_a_policy_ends_it(start):
    running = start()
    running.wait_for(lambda: running.events("reload"))
    for name, text in TEXTS.items():
        path = running.policies / f"{name}.yaml"
        count = len(running.events("reload"))
        path.write_bytes(text)
        running.wait_for(lambda count=count: len(running.events("reload")) > count)
        path.unlink()
    (running.policies / "p.yaml").write_text(settings(pages=300))
    running.wait_for(lambda: running.pages() == "300")

    assert not running.events("job failed"), "each is the outcome of a reload"
    assert running.end() == ExitCode.OK
