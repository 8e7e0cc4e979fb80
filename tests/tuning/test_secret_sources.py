"""What sources may read, and that no message shows what they hold."""

from __future__ import annotations

import json
import os
import socket
import threading

import pytest

from damonpolicy.base import etc
from damonpolicy.tuning.sources import Meter
from tests.tuning.conftest import Answers, stale

SECRET = "$6$salt$hash:19000:0:99999:7:::"


def test_a_secret_is_never_shown(machine, server, tmp_path):
    """Whatever happens to a source, no message shows its content."""
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
