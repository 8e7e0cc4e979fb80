"""The service on a real kernel: files that change, goals that are fed, others that write."""

from __future__ import annotations

import os
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from .policy import has, run, wait_for, write
from .served import SECONDS, Service, command, content

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


def size() -> str:
    return content("0/contexts/0/schemes/0/quotas/bytes")


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


@pytest.fixture
def score() -> Iterator[Path]:
    """A file that everybody can read, as a source is: not below pytest's own directory."""
    with tempfile.TemporaryDirectory(dir="/run") as place:
        os.chmod(place, 0o755)
        yield Path(place, "score")


def test_a_goal_is_fed(service: Service, score: Path) -> None:
    if not has("quota.goals"):
        return
    score.write_text("0.5", encoding="ascii")
    score.chmod(0o644)
    source = f"{{metric: user_input, target: 10000, from: {{file: {score}, times: 10000}}}}"
    text = RECLAIM.format(size=100).replace("every: 1s}", f"every: 1s, goals: [{source}]}}")
    service.put("r.yaml", text)
    path = "0/contexts/0/schemes/0/quotas/goals/0/current_value"
    assert wait_for(lambda: content(path) == "5000", SECONDS)
    score.write_text("0.75", encoding="ascii")

    assert wait_for(lambda: content(path) == "7500", SECONDS)
    assert os.path.exists("/run/damonpolicy/service.json")


def metrics(service: Service) -> dict[str, float]:
    """What Prometheus would read: samples by name and labels."""
    address = service.events("metrics")[0]["address"]
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=SECONDS) as answer:
        lines = answer.read().decode("ascii").splitlines()
    pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {name: float(value) for name, _, value in pairs}


def test_what_someone_changes_is_told_and_brought_back(service: Service) -> None:
    reloads = len(service.events("reload"))
    service.put(
        "r.yaml", RECLAIM.format(size=100).replace("name: r", "on_drift: repair\nname: r", 1)
    )
    assert service.reloaded(reloads + 1)
    assert size() == str(100 << 20)
    pid, path = content("0/pid"), "0/contexts/0/schemes/0/quotas/bytes"
    write(path, 7 << 20)
    command("commit")
    assert wait_for(lambda: size() == str(100 << 20), SECONDS)
    assert wait_for(lambda: bool(service.events("drift has ended")), SECONDS)
    first = service.events("drift")[0]
    assert (first["path"], first["found"]) == (path[2:], str(7 << 20))
    assert content("0/pid") == pid
    command("off")
    assert wait_for(lambda: content("0/state") == "on", SECONDS)
    assert wait_for(lambda: metrics(service)["damonpolicy_repairs_total"] == 2, SECONDS)
    assert wait_for(lambda: metrics(service)["damonpolicy_drift_files"] == 0, SECONDS)

    assert metrics(service)["damonpolicy_rollbacks_total"] == 0


def test_what_the_kernel_does_is_told(service: Service) -> None:
    goals = []
    if has("quota.goal.some_mem_psi_us"):
        goals.append("{metric: some_mem_psi_us, target: 1ms}")
    if has("quota.goal.node_mem_used_bp"):
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
    if has("quota.effective_bytes"):
        assert found[f"damonpolicy_scheme_effective_quota_bytes{labels}"] > 0
    if has("quota.goal.node_mem_used_bp"):
        assert found[f"damonpolicy_scheme_goal_ratio{labels}"] > 0


def seen() -> list[int | None]:
    """The scores of the goals, as `status` shows them."""
    (kdamond,) = run("status", "--format", "json").data["kdamonds"]
    return [goal["score"] for goal in kdamond["schemes"][0]["goals"]]
