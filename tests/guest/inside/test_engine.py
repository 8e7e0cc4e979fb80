"""Transactions on a real kernel: writes, results, and owners."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from damonpolicy.base.errors import DamonPolicyError, ExitCode
from damonpolicy.kernel.system.machine import LiveMachine
from damonpolicy.policy.source.files import load as load_files

from .patient import read
from .policy import KDAMONDS, has, look, run, shipped, someone_elses, state, write
from .spoiled import apply_spoiled, compiled
from .workload import Workload

STAT = Path("/sys/module/damon_stat/parameters/enabled")
RECLAIM = "proactive-reclaim"


@pytest.fixture(autouse=True)
def _left_as_found() -> Iterator[None]:
    """Whatever a test does, the policies' end leaves the machine as it was."""
    before = look()
    yield
    assert run("stop", "--all").code == 0
    assert before == look()


def pid(slot: int = 0) -> int:
    return int(LiveMachine().read(f"{KDAMONDS}/{slot}/pid"))


def monitored() -> list[int]:
    """Return the processes of our first kdamond."""
    return [each["pid"] for each in state()["kdamonds"][0]["targets"]]


def test_every_file_is_read_back_and_a_kdamond_runs() -> None:
    """What the plan said is what the kernel's files say, and the thread is there."""
    outcome = run("apply", *shipped(RECLAIM), "--format", "json")
    assert outcome.code == 0, outcome.out
    for operation in outcome.data["operations"]:
        if operation["kind"] in ("write", "count") and "/0/" in operation["path"]:
            content = Path(operation["path"]).read_text("ascii").strip()
            assert operation["after"] == content, operation["path"]
    assert read(KDAMONDS / "0/state") == "on\n"
    assert Path(f"/proc/{pid()}/comm").read_text("ascii").startswith("kdamond")
    assert run("diff").code == 0


DRIVER = """
import json, os, sys
from damonpolicy.cli.main import main
nowhere = os.open("/dev/null", os.O_WRONLY)
for arguments in json.loads(sys.argv[1]):
    os.write(nowhere, b"next")
    try:
        main(arguments)
    except SystemExit as stop:
        assert stop.code in (0, 1, 2), (arguments, stop.code)
"""


def strace(*commands: list[str]) -> list[list[tuple[str, str]]]:
    """Run commands in one process under strace; return what each wrote below /sys and /proc."""
    tracer = shutil.which("strace")
    assert tracer, "strace is not installed"
    log = Path("/run/tmp/strace.log")
    log.parent.mkdir(exist_ok=True)
    done = subprocess.run(
        [tracer, "-f", "--seccomp-bpf", "-y", "-s", "64", "-e", "trace=write,pwrite64",
         "-o", str(log), sys.executable, "-c", DRIVER, json.dumps(commands)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: list[list[tuple[str, str]]] = []
    for line in log.read_text("utf-8", "replace").splitlines():
        match = re.search(r'(?:write|pwrite64)\(\d+<(/[^>]*)>, "([^"]*)"', line)
        if match and match[1].startswith("/dev/null"):
            found.append([])
        elif match and match[1].startswith(("/sys/", "/proc/")):
            found[-1].append((match[1], match[2]))
    return found


@pytest.mark.once
def test_writes_are_few_and_reading_needs_none() -> None:
    """As the kernel's own interface counts them.

    Applying twice writes nothing. A changed value is one write and one commit, and the
    question whether the kdamond still lives, which changes nothing. Looking writes nothing.
    """
    assert run("apply", *shipped(RECLAIM)).code == 0
    before = pid()

    again, changed, *looking = strace(
        ["apply", *shipped(RECLAIM)],
        ["apply", *shipped(RECLAIM, most="64MiB")],
        ["status"],
        ["diff"],
        ["features"],
        ["doctor"],
        ["history"],
        ["plan", *shipped("ksm", vms="/")],
    )

    base = str(KDAMONDS / "0")
    assert again == []
    assert [
        (f"{base}/contexts/0/schemes/0/quotas/bytes", str(64 << 20)),
        (f"{base}/state", "commit"),
        (f"{base}/state", "update_schemes_stats"),
    ] == changed
    assert looking == [[]] * 6
    assert before == pid(), "the kdamond was not restarted"
    quota = KDAMONDS / "0/contexts/0/schemes/0/quotas/bytes"
    assert quota.read_text("ascii") == f"{64 << 20}\n"


def test_one_changed_value_under_tuned_intervals_reads_them_back_first() -> None:
    """A commit would reset what the kernel has tuned."""
    if not has("intervals.auto_tune"):
        assert run("plan", *shipped("memory-tiering")).code == ExitCode.UNSUPPORTED
        return
    assert run("apply", *shipped("memory-tiering")).code == 0

    (written,) = strace(["apply", *shipped("memory-tiering", rate="100MiB")])

    words = [word for path, word in written if path.endswith("state")]
    values = [path for path, _ in written if not path.endswith("state")]
    assert [*["update_tuned_intervals"] * 2, *["commit", "update_schemes_stats"] * 2] == words
    assert len(values) == 2
    assert all(path.endswith("quotas/bytes") for path in values)


REFUSED = """
version: 1
name: refused
kdamonds:
  - name: k
    ops: paddr
    targets: [{system_ram: true}]
    accesses: {kind: write}
    schemes:
      - name: s
        action: stat
"""


def test_a_feature_that_the_kernel_lacks_is_refused_at_its_line(tmp_path: Path) -> None:
    """Before anything is written."""
    policy = tmp_path / "refused.yaml"
    policy.write_text(REFUSED.lstrip())
    before = look()

    outcome = run("apply", policy)

    assert outcome.code == ExitCode.UNSUPPORTED
    assert f"{policy}:7:5: error[DP0401]" in outcome.err
    assert before == look()


def test_an_injected_failure_is_rolled_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel would have taken it; the machine is as it was all the same."""
    before = look()
    real = LiveMachine.write

    def failing(machine: LiveMachine, path: str, text: str) -> None:
        if text == "on":
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)
        real(machine, path, text)

    monkeypatch.setattr(LiveMachine, "write", failing)
    outcome = run("apply", *shipped(RECLAIM))
    monkeypatch.undo()

    assert outcome.code == ExitCode.ROLLED_BACK, outcome.err
    assert before == look()


@pytest.mark.parametrize("start", ["empty", "ours", "foreign", "online"])
def test_real_errors_at_every_operation_are_undone(start: str) -> None:
    """The kernel refuses one operation after the other; each time all is as it was."""
    name, variables = RECLAIM, {"most": "64MiB"}
    if start == "online":
        assert run("apply", *shipped(name)).code == 0
    elif start == "ours":
        assert run("apply", *shipped("ksm", vms="/")).code == 0
    if start == "foreign":
        with someone_elses():
            undone = _spoil_all(name, variables)
    else:
        undone = _spoil_all(name, variables)

    assert undone >= (2 if start == "online" else 20)


def _spoil_all(name: str, variables: dict[str, str]) -> int:
    before, threads = look(), [pid(slot) for slot in range(int(look()["nr_kdamonds"]))]
    undone = 0
    files, _ = load_files([shipped(name)[0]])
    policies = compiled(files, variables)
    while True:
        try:
            total = apply_spoiled(policies, undone)
        except DamonPolicyError as error:
            assert "EINVAL" in error.message, error
            assert "as it was" in error.message, error
            assert before == look(), f"operation {undone}"
            now = [pid(slot) for slot in range(int(look()["nr_kdamonds"]))]
            assert threads == now, "nothing was restarted"
            undone += 1
        else:
            assert total == undone
            run("remove", name)
            return undone


def test_a_kdamond_of_someone_else_goes_on_untouched() -> None:
    """Beside it there is room for ours."""
    with someone_elses() as theirs:
        before = {path: value for path, value in look().items() if path.startswith("0/")}

        assert run("apply", *shipped(RECLAIM)).code == 0
        owners = {each["slot"]: each["owner"] for each in state()["kdamonds"]}
        assert owners == {0: "foreign", 1: "ours"}
        assert run("remove", RECLAIM).code == 0

        assert theirs == pid()
        after = {path: value for path, value in look().items() if path.startswith("0/")}
        assert before == after


@pytest.mark.parametrize("on", [True, False], ids=["on", "off"])
def test_without_a_free_slot_it_says_who_is_in_the_way(*, on: bool) -> None:
    """And leaves them alone."""
    with someone_elses(slots=1, on=on) as theirs:
        before = look()

        outcome = run("apply", *shipped(RECLAIM))

        assert outcome.code == ExitCode.FOREIGN
        assert "slot 0" in outcome.err
        assert (f"pid {theirs}" in outcome.err) is on
        assert before == look()


def test_damon_stat_is_in_the_way_until_a_policy_stops_it() -> None:
    """It runs again when the last policy that stopped it has left."""
    if not STAT.exists():
        outcome = run("apply", *shipped(RECLAIM))
        assert outcome.code == 0, "a kernel without the module is as good as one with it off"
        return
    STAT.write_text("Y", encoding="ascii")
    try:
        bare = Path("/run/tmp/bare.yaml")
        bare.parent.mkdir(exist_ok=True)
        text = Path(shipped(RECLAIM)[0]).read_text("utf-8")
        bare.write_text(text[: text.index("modules:")], encoding="utf-8")
        refused = run("apply", bare)
        assert refused.code == ExitCode.FOREIGN
        assert "DAMON_STAT" in refused.err
        assert "modules: {damon_stat: {enabled: false}}" in refused.err

        assert run("apply", *shipped(RECLAIM)).code == 0
        assert STAT.read_text("ascii") == "N\n"
        assert run("remove", RECLAIM).code == 0
        assert STAT.read_text("ascii") == "Y\n"
    finally:
        STAT.write_text("N", encoding="ascii")


MANY = """
version: 1
name: many
kdamonds:
  - name: k
    ops: vaddr
    targets: [{process: {cmdline: workload.py}}]
    schemes:
      - {name: s, action: stat}
"""


def test_a_process_that_ended_leaves_the_running_kdamond(tmp_path: Path) -> None:
    """The others stay monitored by the same thread, whatever the kernel can do about it."""
    policy = tmp_path / "many.yaml"
    policy.write_text(MANY.lstrip())
    with Workload.start(2, 2) as first, Workload.start(2, 2) as second:
        with Workload.start(2, 2) as third:
            assert run("apply", policy).code == 0
            thread = pid()
            assert monitored() == [first.pid, second.pid, third.pid]
            second.stop()

            outcome = run("apply", policy)

            assert outcome.code == 0, outcome.err
            assert monitored() == [first.pid, third.pid]
            assert thread == pid()
            assert run("diff").code == 0
            assert run("plan", policy).code == 0
        with Workload.start(2, 2) as fourth:
            assert run("apply", policy).code == 0
            assert monitored() == [first.pid, fourth.pid]
            assert thread == pid()


def test_writing_by_hand_is_seen_as_drift() -> None:
    """Files that differ from the last verified commit are named, and mended by an apply."""
    assert run("apply", *shipped(RECLAIM)).code == 0
    thread = pid()
    write("0/contexts/0/schemes/0/quotas/bytes", 4096)

    drift = run("diff")
    assert drift.code == ExitCode.CHANGES
    assert "quotas/bytes: committed `134217728`, found `4096`" in drift.out
    assert run("apply", *shipped(RECLAIM)).code == 0
    assert run("diff").code == 0
    assert thread == pid()


def killed(*arguments: object) -> None:
    """Run a command in a child that is killed before it commands a kdamond."""
    child = os.fork()
    if not child:
        real = LiveMachine.write

        def write_or_die(machine: LiveMachine, path: str, text: str) -> None:
            if path.endswith("/state"):
                os.kill(os.getpid(), signal.SIGKILL)
            real(machine, path, text)

        # in the child only, which ends here: no fixture could take it back
        LiveMachine.write = write_or_die  # type: ignore[method-assign]
        run(*arguments)
        os._exit(1)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1])


def test_what_someone_wrote_into_an_interrupted_change_is_put_back_on_request() -> None:
    """Files, and what the kdamond runs with: what they had committed is committed over."""
    assert run("apply", *shipped(RECLAIM)).code == 0
    thread, before = pid(), look()
    killed("apply", *shipped(RECLAIM, most="64MiB"))
    write("0/contexts/0/schemes/0/quotas/ms", 77)
    write("0/state", "commit")
    assert run("recover").code == ExitCode.ROLLBACK_INCOMPLETE

    outcome = run("recover", "--overwrite")

    assert outcome.code == 0, outcome.err
    assert before == look()
    assert thread == pid()
    assert run("diff").code == 0
