"""Every exit code is reached by a command."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from damonpolicy.base.errors import ExitCode
from damonpolicy.emulated.machine import EmulatedMachine
from tests.conftest import ROOT, run_cli
from tests.world import World

KSM = str(ROOT / "policies/ksm.yaml")
ON = ("--kernel", "emulated:7.3")


@pytest.fixture
def run(cli):
    """Run a command on the emulated kernel."""

    def run(*arguments, kernel="emulated:7.3"):
        outcome = cli("--kernel", kernel, *arguments)
        assert "Traceback" not in outcome.err
        return outcome

    return run


@pytest.fixture
def failing(monkeypatch):
    """Let a write fail, in whatever emulated machine is opened from now on."""

    def arm(matches, code=errno.EIO, times=1):
        left = [times]
        real = EmulatedMachine.write

        def write(self, path, text):
            if left[0] and matches(path, text):
                left[0] -= 1
                raise OSError(code, os.strerror(code), path)
            return real(self, path, text)

        monkeypatch.setattr(EmulatedMachine, "write", write)

    return arm


def test_0_done_and_nothing_to_do(run):
    assert run("apply", KSM).code == 0
    again = run("apply", KSM)

    assert again.code == 0
    assert "No changes." in again.out


def test_1_failed_before_anything_was_changed(run):
    assert run("emulate", "write", "/sys/module/damon_stat/parameters/enabled", "N").code == 0
    outcome = run("record", "--count", "1")

    assert outcome.code == ExitCode.FAILED
    assert "no kdamond is running" in outcome.err


def test_65_what_a_policy_names_is_not_there(run):
    policy = ROOT / "policies/monitor.yaml"
    outcome = run("apply", str(policy), "--set", "program=nothing")

    assert outcome.code == ExitCode.INVALID
    assert "no process matches" in outcome.err
    assert "when_absent: wait" in outcome.err


def test_2_changes_are_pending(run):
    assert run("plan", KSM).code == ExitCode.CHANGES
    run("apply", KSM)
    assert run("plan", KSM).code == 0


def test_2_drift(run, tmp_path):
    run("apply", KSM)
    assert run("diff").code == 0
    machine = EmulatedMachine.create("7.3", store=store_of(tmp_path))
    machine.write("/sys/kernel/mm/ksm/run", "0")

    outcome = run("diff")

    assert outcome.code == ExitCode.CHANGES
    assert "committed `1`, found `0`" in outcome.out


def store_of(tmp_path):
    return tmp_path / "state/damonpolicy/emulated-7.3/machine"


def test_64_usage(run):
    assert run("rollback", "17").code == ExitCode.USAGE


def test_65_invalid(run, tmp_path):
    (tmp_path / "bad.yaml").write_text("version: 1\n")

    assert run("plan", "bad.yaml").code == ExitCode.INVALID


def test_69_the_kernel_lacks_something(run):
    outcome = run("plan", str(ROOT / "policies/memory-tiering.yaml"), kernel="emulated:6.12")

    assert outcome.code == ExitCode.UNSUPPORTED
    assert "Linux 6.16 has it" in outcome.err


def test_70_a_defect_is_no_traceback(run, monkeypatch):
    monkeypatch.setattr("damonpolicy.cli.commands.status.retrieve", lambda *_: 1 / 0)

    outcome = run("status")

    assert outcome.code == ExitCode.INTERNAL
    assert "ZeroDivisionError" in outcome.err


def test_71_a_module_is_in_the_way(run, tmp_path):
    text = (
        (ROOT / "policies/ksm.yaml")
        .read_text()
        .replace("damon_stat: {enabled: false}", "damon_stat: {}")
    )
    (tmp_path / "k.yaml").write_text(text)

    outcome = run("apply", "k.yaml")

    assert outcome.code == ExitCode.FOREIGN
    assert "DAMON_STAT" in outcome.err


def test_72_a_saved_plan_is_stale(run, tmp_path):
    run("plan", KSM, "--out", "plan.json")
    machine = EmulatedMachine.create("7.3", store=store_of(tmp_path))
    machine.write("/sys/kernel/mm/ksm/run", "1")

    outcome = run("apply", "--plan", "plan.json")

    assert outcome.code == ExitCode.STALE
    assert "have moved" in outcome.err


def test_73_the_lock_is_held(run, tmp_path):
    import fcntl

    run("apply", KSM)
    with (tmp_path / "state/damonpolicy/emulated-7.3/run/lock").open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)

        assert run("apply", KSM).code == ExitCode.LOCKED


def test_75_a_change_waits_to_be_confirmed(run):
    run("apply", KSM, "--confirm-within", "1h")

    assert run("apply", KSM).code == ExitCode.BUSY
    assert run("confirm").code == 0
    assert run("apply", KSM).code == 0


def test_77_no_permission(run, tmp_path):
    (tmp_path / "user.toml").write_text("root = false\n")

    outcome = run("status", "--machine", "user.toml")

    assert outcome.code == ExitCode.NO_PERMISSION
    assert "root" in outcome.err


def test_80_rolled_back(run, failing):
    failing(lambda path, text: text == "on")

    outcome = run("apply", KSM)

    assert outcome.code == ExitCode.ROLLED_BACK
    assert "everything is as it was" in outcome.err


def test_81_rollback_incomplete_and_then_recovered(run, failing):
    ksm = "/sys/kernel/mm/ksm/run"
    turns = 3  # an undo tries everything so often
    failing(lambda path, text: text == "on" or (path == ksm and text == "0"), times=1 + turns)

    assert run("apply", KSM).code == ExitCode.ROLLBACK_INCOMPLETE
    assert run("plan", KSM).code == ExitCode.CHANGES
    outcome = run("recover")

    assert outcome.code == 0
    assert "everything is as it was before" in outcome.out


def test_130_interrupted_before_any_write(run, failing, monkeypatch):
    monkeypatch.setattr(
        "damonpolicy.engine.transaction.journals.begin",
        lambda *_: signal.raise_signal(signal.SIGTERM),
    )

    assert run("apply", KSM).code == ExitCode.INTERRUPTED


def test_a_signal_in_the_middle_rolls_back(run, monkeypatch):
    real = EmulatedMachine.write

    def write(self, path, text):
        if text == "on":
            signal.raise_signal(signal.SIGTERM)
        real(self, path, text)

    monkeypatch.setattr(EmulatedMachine, "write", write)
    outcome = run("apply", KSM)

    assert outcome.code == ExitCode.ROLLED_BACK
    assert "interrupted by SIGTERM" in outcome.err


def test_json_says_the_same_for_every_code(run, tmp_path):
    (tmp_path / "bad.yaml").write_text("version: 1\n")
    for arguments in (("plan", KSM), ("plan", "bad.yaml"), ("rollback", "9"), ("nonsense",)):
        outcome = run(*arguments, "--format", "json")

        document = json.loads(outcome.out)
        assert outcome.code == document["exit_code"]
        assert outcome.err == ""
        assert document["schema"].startswith("damonpolicy.")
        assert document["ok"] is (outcome.code in (0, 2))


def test_every_code_has_a_test_above_that_is_named_for_it():
    named = {int(found[1]) for name in globals() if (found := re.match(r"test_(\d+)_", name))}

    assert named == {int(code) for code in ExitCode}


def test_live_without_damon_or_permission_says_what_to_do(cli, monkeypatch):
    """There is no silent fall-back to the emulated kernel."""
    monkeypatch.setattr("damonpolicy.kernel.system.machine.KDAMONDS", "/nowhere")
    monkeypatch.setattr("damonpolicy.kernel.damon.tree.KDAMONDS", "/nowhere")
    monkeypatch.setattr("damonpolicy.plan.machine_state.ADMIN", "/nowhere")

    outcome = cli("status")

    assert outcome.code == ExitCode.UNSUPPORTED
    assert "--kernel emulated:7.3" in outcome.err
    assert "emulated kernel" not in outcome.out


def test_twenty_at_once_end_in_one_complete_state(tmp_path, monkeypatch):
    """Real processes, each with a value of its own; the last one's is there, and only that."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    base = [sys.executable, "-m", "damonpolicy", "--kernel", "emulated:7.3", "--state-dir", "s"]
    started = [
        subprocess.Popen(
            [*base, "apply", KSM, "--wait", "--set", f"cold_for={number + 2}m"],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(20)
    ]
    errors = [process.communicate()[1] for process in started]

    assert [process.returncode for process in started] == [0] * 20, errors
    machine = EmulatedMachine.create("7.3", store=tmp_path / "s/machine")
    world = World(machine, tmp_path / "s")
    managed = world.managed
    assert managed.generation == 20
    age = managed.slots[0].files["contexts/0/schemes/0/access_pattern/age/min"]
    assert int(age) in {60 * minutes // 2 for minutes in range(2, 22)}
    assert age == machine.running(0)["schemes"]["0"]["access_pattern"]["age"]["min"]
    monkeypatch.chdir(tmp_path)
    outcome = run_cli("--kernel", "emulated:7.3", "--state-dir", "s", "diff")
    assert outcome.code == 0, outcome.out


def test_the_guard_rolls_back_by_itself(tmp_path):
    """Another process, with Python alone, ends an unconfirmed change."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    base = [sys.executable, "-m", "damonpolicy", "--kernel", "emulated:7.3", "--state-dir", "s"]
    done = subprocess.run(
        [*base, "apply", KSM, "--confirm-within", "300ms"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        check=False,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    machine = EmulatedMachine.create("7.3", store=tmp_path / "s/machine")
    deadline = time.monotonic() + 120
    while machine.read("/sys/kernel/mm/ksm/run") != "0\n" and time.monotonic() < deadline:
        time.sleep(0.05)  # nothing tells when another process is done: poll, with a bound

    assert machine.read("/sys/kernel/mm/ksm/run") == "0\n"
    world = World(machine, tmp_path / "s")
    while world.places.journal.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert machine.read("/sys/kernel/mm/damon/admin/kdamonds/nr_kdamonds") == "0\n"
    assert not world.managed.policies
