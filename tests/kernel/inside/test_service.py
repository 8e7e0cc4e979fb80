"""The service on a real kernel: files that change, processes that come and go, goals that are fed."""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from damonpolicy.kernel.sysfs import LiveMachine, read_or
from damonpolicy.kernel.tree import slot_tree, snapshot

from .policy import KDAMONDS, look, run, wait_for

SECONDS = 60
DEBOUNCE = 0.2

RECLAIM = """
version: 1
name: reclaim
kdamonds:
  - name: k
    ops: paddr
    targets: [{{system_ram: true}}]
    intervals: {{sample: 5ms, aggregation: 100ms}}
    schemes:
      - name: s
        action: stat
        quota: {{size: {size}MiB, every: 1s}}
"""
WATCH = """
version: 1
name: watch
kdamonds:
  - name: workers
    ops: vaddr
    targets: [{process: {name: sleep}}]
    intervals: {sample: 5ms, aggregation: 100ms}
    schemes: [{name: seen, action: stat}]
"""


class Service:
    """A service of this machine's, and the directory that it follows."""

    def __init__(self, directory: Path) -> None:
        self.policies = directory / "policies"
        self.policies.mkdir()
        self.log = directory / "log"
        with self.log.open("w") as stream:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "damonpolicy", "--log-format", "json", "run",
                 str(self.policies), "--debounce", f"{DEBOUNCE * 1000:.0f}ms", "--on-exit", "remove",
                 "--metrics", "127.0.0.1:0"],
                stdout=subprocess.DEVNULL, stderr=stream,
            )  # fmt: skip

    def put(self, name: str, text: str) -> float:
        """Write a policy as careful programs do; returns when."""
        temporary = self.policies / f".{name}"
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(self.policies / name)
        return time.monotonic()

    def events(self, name: str) -> list[dict[str, str]]:
        lines = self.log.read_text(encoding="utf-8").splitlines()
        found = (json.loads(line) for line in lines if line.startswith("{"))
        return [each for each in found if each["event"] == name]

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(SECONDS)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    before = look()
    made = Service(tmp_path)
    assert wait_for(lambda: bool(made.events("reload")), SECONDS)
    yield made
    assert made.end() == 0, made.log.read_text(encoding="utf-8")
    assert before == look()


def content(path: str) -> str:
    """Read a file of DAMON's, empty where it is not there yet; it is busy under the kernel's lock."""
    return read_or(LiveMachine(), str(KDAMONDS / path))


def size() -> str:
    path = KDAMONDS / "0/contexts/0/schemes/0/quotas/bytes"
    return content(str(path)) if path.exists() else ""


def test_an_edit_is_committed_online(service: Service) -> None:
    """With the same kdamond; an invalid one changes nothing."""
    service.put("r.yaml", RECLAIM.format(size=100))
    assert wait_for(lambda: size() == str(100 << 20) and content("0/state") == "on", SECONDS)
    pid = content("0/pid")
    service.put("r.yaml", RECLAIM.format(size=200))
    assert wait_for(lambda: size() == str(200 << 20), SECONDS)
    service.put("r.yaml", RECLAIM.format(size="many"))
    assert wait_for(lambda: service.events("reload")[-1]["result"] == "invalid", SECONDS)

    assert size() == str(200 << 20)
    assert content("0/pid") == pid


def sleeping() -> subprocess.Popen[bytes]:
    return subprocess.Popen(["/bin/sleep", "10000"])


def monitored() -> set[int]:
    """The processes that the files name; a commit was answered before they are read back."""
    tree = slot_tree(snapshot(LiveMachine()), 0)
    return {int(text) for path, text in tree.items() if path.endswith("/pid_target")}


def test_processes_join_and_leave(service: Service) -> None:
    processes = [sleeping()]
    try:
        service.put("w.yaml", WATCH)
        assert wait_for(lambda: monitored() == {processes[0].pid}, SECONDS)
        waits = []
        for _ in range(10):
            processes.append(sleeping())
            began = time.monotonic()
            expected = {each.pid for each in processes}
            assert wait_for(lambda wanted=expected: monitored() == wanted, SECONDS)
            waits.append(time.monotonic() - began)
        for each in processes[3:6]:
            each.kill()
            each.wait()
        del processes[3:6]
        assert wait_for(lambda: monitored() == {each.pid for each in processes}, SECONDS)
        assert statistics.median(waits) < 5, waits
    finally:
        for each in processes:
            each.kill()
            each.wait()
    assert wait_for(lambda: content("0/state") == "off", SECONDS), "nobody is left"


def test_a_goal_is_fed(service: Service, tmp_path: Path) -> None:
    if (
        run("features", "quota.goals", "--format", "json").data["features"]["quota.goals"]["known"]
        != "yes"
    ):
        return
    score = tmp_path / "score"
    score.write_text("0.5", encoding="ascii")
    source = f"{{metric: user_input, target: 10000, from: {{file: {score}, times: 10000}}}}"
    text = RECLAIM.format(size=100).replace("every: 1s}", f"every: 1s, goals: [{source}]}}")
    service.put("r.yaml", text)
    path = "0/contexts/0/schemes/0/quotas/goals/0/current_value"
    assert wait_for(lambda: content(path) == "5000", SECONDS)
    score.write_text("0.75", encoding="ascii")

    assert wait_for(lambda: content(path) == "7500", SECONDS)
    assert os.path.exists("/run/damonpolicy/service.json")


def known(feature: str) -> bool:
    found = run("features", feature, "--format", "json").data["features"][feature]["known"]
    return bool(found == "yes")


def metrics(service: Service) -> dict[str, float]:
    """What Prometheus would read: samples by name and labels."""
    address = service.events("metrics")[0]["address"]
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=SECONDS) as answer:
        lines = answer.read().decode("ascii").splitlines()
    pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {name: float(value) for name, _, value in pairs}


def test_what_someone_changes_is_told_and_brought_back(service: Service) -> None:
    service.put(
        "r.yaml", RECLAIM.format(size=100).replace("name: r", "on_drift: repair\nname: r", 1)
    )
    assert wait_for(lambda: service.events("reload")[-1]["result"] == "applied", SECONDS)
    pid, path = content("0/pid"), "0/contexts/0/schemes/0/quotas/bytes"
    machine = LiveMachine()
    machine.write(str(KDAMONDS / path), str(7 << 20))
    machine.write(str(KDAMONDS / "0/state"), "commit")
    assert wait_for(lambda: size() == str(100 << 20), SECONDS)
    assert wait_for(lambda: bool(service.events("drift has ended")), SECONDS)
    first = service.events("drift")[0]
    assert (first["path"], first["found"]) == (path[2:], str(7 << 20))
    assert content("0/pid") == pid
    machine.write(str(KDAMONDS / "0/state"), "off")
    assert wait_for(lambda: content("0/state") == "on", SECONDS)
    assert wait_for(lambda: metrics(service)["damonpolicy_repairs_total"] == 2, SECONDS)
    assert wait_for(lambda: metrics(service)["damonpolicy_drift_files"] == 0, SECONDS)

    assert metrics(service)["damonpolicy_rollbacks_total"] == 0


def test_what_the_kernel_does_is_told(service: Service) -> None:
    goals = []
    if known("quota.goal.some_mem_psi_us"):
        goals.append("{metric: some_mem_psi_us, target: 1ms}")
    if known("quota.goal.node_mem_used_bp"):
        goals.append("{metric: node_mem_used_bp, node: 0, target: 99%}")
    text = RECLAIM.format(size=100)
    service.put("r.yaml", text.replace("every: 1s}", f"every: 1s, goals: [{', '.join(goals)}]}}"))
    labels = '{kdamond="reclaim/k",scheme="s"}'
    tried = f"damonpolicy_scheme_tried_bytes_total{labels}"
    assert wait_for(lambda: metrics(service).get(tried, 0) > 0, SECONDS)
    assert wait_for(lambda: len(seen()) == len(goals) and None not in seen(), SECONDS)

    found = metrics(service)
    assert found['damonpolicy_kdamond_cpu_seconds_total{kdamond="reclaim/k"}'] > 0
    assert found["damonpolicy_drift_files"] == 0
    if known("quota.effective_bytes"):
        assert found[f"damonpolicy_scheme_effective_quota_bytes{labels}"] > 0
    if known("quota.goal.node_mem_used_bp"):
        assert found[f"damonpolicy_scheme_goal_ratio{labels}"] > 0


def seen() -> list[int | None]:
    """The scores of the goals, as `status` shows them."""
    (kdamond,) = run("status", "--format", "json").data["kdamonds"]
    return [goal["score"] for goal in kdamond["schemes"][0]["goals"]]
