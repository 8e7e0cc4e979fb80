"""Programs as sources: which ones run, and that nothing is left of them."""

from __future__ import annotations

import os
import time

import pytest

from damonpolicy.base import etc
from damonpolicy.tuning import sources
from damonpolicy.tuning.sources import Meter
from tests.tuning.conftest import stale


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


def gone(pid):
    """Return whether a process has ended, even if its parent has not waited for it yet."""
    end = time.monotonic() + 120
    while time.monotonic() < end:
        try:
            with open(f"/proc/{pid}/stat", encoding="ascii") as stream:
                if stream.read().rpartition(")")[2].split()[0] == "Z":
                    return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.01)  # until the process has ended, or the time is up
    return False
