"""The harness: its results, and that it leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from . import run
from .errors import GuestDied, GuestTimeout, NeverStarted, Unavailable
from .guest import Guest, environment
from .mounts import mount_points

pytestmark = pytest.mark.kernel

ROOT = Path(__file__).parents[2]
DAMON = Path("/sys/kernel/mm/damon")


@pytest.fixture(scope="module")
def kernel() -> Path:
    """Return a kernel to boot, or skip where there is none."""
    series = run.wanted()[-1]
    try:
        return run.kernel(series)
    except Unavailable as error:
        line, fatal = run.verdict(str(error), [series])
    if fatal:
        pytest.fail(line)
    pytest.skip(line)


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the directory in which all temporary directories are made."""
    path = tmp_path / "scratch"
    path.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(path))
    return path


def live_tree() -> dict[str, bytes | str]:
    """Read all of this machine's DAMON tree; what cannot be read is its error."""
    found: dict[str, bytes | str] = {}
    for folder, folders, files in os.walk(DAMON):
        here = Path(folder)
        found.update({str(here / name): "directory" for name in folders})
        for path in (here / name for name in files):
            try:
                found[str(path)] = path.read_bytes()
            except OSError as error:
                found[str(path)] = f"errno {error.errno}"
    return found


def children(pid: int) -> dict[int, str]:
    """Return the processes that a process started, with their command lines."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((path / "stat").read_text("utf-8").rpartition(")")[2].split()[1])
            line = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if parent == pid:
            found[int(path.name)] = line
    return found


def helpers() -> list[str]:
    return [
        line for line in children(os.getpid()).values() if "qemu" in line or "virtiofsd" in line
    ]


def wait_for(condition: Callable[[], bool], seconds: float = 120) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@pytest.mark.parametrize("status", [0, 3])
def test_status_and_output_come_back(
    kernel: Path, scratch: Path, tmp_path: Path, status: int
) -> None:
    """Nothing is left of a guest but what it wrote to the share."""
    share = tmp_path / "share"
    before = mount_points()
    script = f"echo out; echo err >&2; echo $WORD > /mnt/file; pwd; exit {status}"

    result = Guest(kernel, share=share).run(["sh", "-c", script], {"WORD": "it's"}, cwd=ROOT)

    assert status == result.returncode
    assert f"out\nerr\n{ROOT}\n" == result.output
    assert kernel.name == result.release
    assert (share / "file").read_text("utf-8") == "it's\n"
    assert [path.name for path in share.iterdir()] == ["file"]
    assert list(scratch.iterdir()) == []
    assert helpers() == []
    assert before == mount_points()


def test_a_guest_does_not_reach_the_live_kernel(kernel: Path) -> None:
    """What is written to DAMON in a guest is not seen here, where no test may write."""
    before = live_tree()
    script = "echo 5 > /sys/kernel/mm/damon/admin/kdamonds/nr_kdamonds; env"

    result = Guest(kernel).run(["sh", "-c", script], environment(DAMONPOLICY_FORBID_LIVE="1"))

    assert result.returncode == 0
    assert "DAMONPOLICY_GUEST=" in result.output
    assert "FORBID_LIVE" not in result.output
    assert os.environ["DAMONPOLICY_FORBID_LIVE"] == "1"
    assert before == live_tree()


def test_a_crash_is_an_error_with_the_console(kernel: Path, scratch: Path) -> None:
    """A kernel that dies is no test that failed: 125, what it said, what was written before."""
    script = "echo before; echo c > /proc/sysrq-trigger; sleep 60"

    with pytest.raises(GuestDied) as caught:
        Guest(kernel).run(["sh", "-c", script])

    assert caught.value.exit_code == 125
    assert caught.value.output == "before\n"
    assert "sysrq triggered crash" in caught.value.console
    assert "sysrq triggered crash" in str(caught.value)
    assert list(scratch.iterdir()) == []
    assert helpers() == []


def test_a_command_without_end_is_ended(kernel: Path, scratch: Path) -> None:
    """The time limit holds, and the error has what the command wrote so far."""
    with pytest.raises(GuestTimeout, match="no end within 20 s") as caught:
        Guest(kernel, timeout=20).run(["sh", "-c", "echo begun; sleep 600"])

    assert caught.value.exit_code == 124
    assert caught.value.output == "begun\n"
    assert list(scratch.iterdir()) == []
    assert helpers() == []


def test_only_a_boot_that_failed_is_repeated(
    kernel: Path, scratch: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A kernel that does not reach our init gets a second chance, loudly, and no third."""
    with pytest.raises(NeverStarted, match="went down before the guest's init"):
        Guest(kernel, append="init=/nowhere").run(["true"])

    assert capfd.readouterr().err.count("NEVER REACHED ITS INIT") == 1
    assert list(scratch.iterdir()) == []


def test_no_process_outlives_a_killed_run(kernel: Path, tmp_path: Path) -> None:
    """QEMU and virtiofsd go with the harness, even when it cannot clean up."""
    command = [sys.executable, "-m", "tests.guest.boot", str(kernel), "--", "sleep", "600"]
    harness = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "TMPDIR": str(tmp_path)})
    try:
        assert wait_for(lambda: len(children(harness.pid)) == 3)
        started = children(harness.pid)
    finally:
        harness.send_signal(signal.SIGKILL)
        harness.wait()

    assert wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in started))


def test_what_is_on_another_file_system_is_seen(kernel: Path, tmp_path: Path) -> None:
    """The root is bound without its mounts; those that a command needs are put back."""
    script = (
        f"mount -t tmpfs t {tmp_path} && echo found > {tmp_path}/file && cd {tmp_path} && "
        f"exec {sys.executable} -m tests.guest.boot {kernel} -- cat file"
    )
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", script],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stdout == "found\n", done.stderr


@pytest.mark.parametrize("first", [[], ["unshare", "--mount", "--pid", "--fork", "--mount-proc"]])
def test_init_does_nothing_outside_a_guest(first: list[str], tmp_path: Path) -> None:
    """It powers its machine off: so it looks for its marker before anything else."""
    init = tmp_path / ".guest-0123456789abcdef"
    init.write_text((Path(__file__).with_name("init.sh")).read_text("utf-8"), "utf-8")

    done = subprocess.run([*first, "/bin/sh", init], capture_output=True, check=False)

    assert done.returncode == 1
