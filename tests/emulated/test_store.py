"""A machine in a directory: shared by processes, never half written."""

import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from damonpolicy.base.errors import UsageError
from damonpolicy.base.trust import Untrusted
from damonpolicy.emulated.machine import Write, open_emulated
from damonpolicy.kernel.system.machine import KDAMONDS
from tests.world import snapshot_all

ROOT = Path(__file__).resolve().parents[2]
SWAPPINESS = "/proc/sys/vm/swappiness"

PROLOGUE = """
import os, signal, sys
from pathlib import Path
from damonpolicy.emulated.machine import open_emulated
machine = open_emulated("7.3", Path(sys.argv[1]), None)
"""


def start(code, store):
    command = [sys.executable, "-c", PROLOGUE + code, str(store)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def run(code, store):
    process = start(code, store)
    out, _ = process.communicate(timeout=60)
    return process.returncode, out


def test_another_process_sees_every_write(tmp_path):
    machine = open_emulated("7.3", tmp_path / "a" / "b", None)
    machine.write(SWAPPINESS, "70")

    code, out = run(
        f"print(machine.read('{SWAPPINESS}').strip()); machine.write('{SWAPPINESS}', '80')",
        tmp_path / "a" / "b",
    )

    assert (code, out) == (0, "70\n")
    assert machine.read(SWAPPINESS) == "80\n"
    assert machine.log == [Write(SWAPPINESS, "70", 0), Write(SWAPPINESS, "80", 0)]


def test_everything_survives(tmp_path):
    first = open_emulated("7.3", tmp_path, None)
    first.write("/sys/module/damon_stat/parameters/enabled", "N")
    for path, text in (
        ("nr_kdamonds", "1"),
        ("0/contexts/nr_contexts", "1"),
        ("0/contexts/0/operations", "paddr"),
        ("0/contexts/0/schemes/nr_schemes", "1"),
        ("0/state", "on"),
        ("0/contexts/0/operations", "vaddr"),
    ):
        first.write(f"{KDAMONDS}/{path}", text)
    pid = first.start_process("x")
    first.make_cgroup("/y")
    before = snapshot_all(first)

    again = open_emulated("7.3", tmp_path, None)

    assert before == snapshot_all(again)
    assert again.running(0)["operations"] == "paddr"
    assert again.read(f"/proc/{pid}/comm") == "x\n"
    assert again.exists("/sys/fs/cgroup/y")
    boot_id = first.read("/proc/sys/kernel/random/boot_id")
    assert boot_id == again.read("/proc/sys/kernel/random/boot_id")
    again.reboot()
    assert boot_id != first.read("/proc/sys/kernel/random/boot_id")
    assert first.read(f"{KDAMONDS}/nr_kdamonds") == "0\n"
    assert len(first.log) == 7


def test_two_machines_have_two_boot_ids(tmp_path):
    one, other = (open_emulated("7.3", tmp_path / name, None) for name in "ab")
    path = "/proc/sys/kernel/random/boot_id"

    assert one.read(path) != other.read(path)


def test_poison_lasts(tmp_path):
    machine = open_emulated("6.18", tmp_path, None)
    machine.write(f"{KDAMONDS}/nr_kdamonds", "1")
    with pytest.raises(OSError, match="wrecked"):
        machine.write(f"{KDAMONDS}/0/state", "clear_schemes_tried_regions")

    assert open_emulated("6.18", tmp_path, None).poisoned


def test_another_version_is_refused(tmp_path):
    open_emulated("7.3", tmp_path, None)

    with pytest.raises(UsageError, match=r"holds an emulated machine of version 7\.3, not 6\.12"):
        open_emulated("6.12", tmp_path, None)


def test_another_machine_file_is_refused(tmp_path):
    file = tmp_path / "machine.toml"
    file.write_text('[[nodes]]\nmemory = "2GiB"\ncpus = "0"\n')
    store = tmp_path / "store"
    open_emulated("7.3", store, file)
    assert open_emulated("7.3", store, file)

    for spec in (None, tmp_path / "other.toml"):
        if spec:
            spec.write_text('[[nodes]]\nmemory = "1GiB"\ncpus = "0"\n')
        with pytest.raises(UsageError, match="another machine file"):
            open_emulated("7.3", store, spec)


def test_a_damaged_state_is_named(tmp_path):
    open_emulated("7.3", tmp_path, None)
    (tmp_path / "machine.json").write_text('{"half')

    with pytest.raises(UsageError, match="is damaged"):
        open_emulated("7.3", tmp_path, None)


def test_a_place_that_cannot_be_is_named(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(UsageError, match="cannot keep an emulated machine"):
        open_emulated("7.3", tmp_path / "file" / "store", None)


def test_two_processes_write_at_once(tmp_path):
    code = """
for number in range(100):
    machine.write("/proc/sys/vm/" + NAME, str(number % 100))
"""
    open_emulated("7.3", tmp_path, None)
    processes = [
        start(code.replace("NAME", repr(name)), tmp_path) for name in ("swappiness", "dirty_ratio")
    ]
    for process in processes:
        process.communicate(timeout=60)
        assert process.returncode == 0

    machine = open_emulated("7.3", tmp_path, None)

    assert len(machine.log) == 200
    assert {machine.read(f"/proc/sys/vm/{name}") for name in ("swappiness", "dirty_ratio")} == {
        "99\n"
    }


def test_a_forked_process_has_a_lock_of_its_own(tmp_path):
    code = f"""
machine.write("{SWAPPINESS}", "1")
children = []
for child in range(3):
    pid = os.fork()
    if not pid:
        for number in range(50):
            machine.write("{SWAPPINESS}", str(number))
        os._exit(0)
    children.append(pid)
sys.exit(any(os.waitpid(pid, 0)[1] for pid in children))
"""

    code, _ = run(code, tmp_path)

    assert code == 0
    assert len(open_emulated("7.3", tmp_path, None).log) == 151


@pytest.mark.parametrize("when", ["before_write", "after_write"])
def test_killed_at_a_write(tmp_path, when):
    code = f"""
def kill(number, path, text):
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
machine.{when} = kill
for number in range(10):
    machine.write("{SWAPPINESS}", str(number))
"""

    code, _ = run(code, tmp_path)

    assert code == -signal.SIGKILL
    machine = open_emulated("7.3", tmp_path, None)
    last = 1 if when == "before_write" else 2
    assert machine.read(SWAPPINESS) == f"{last}\n"
    assert [write.text for write in machine.log] == [str(n) for n in range(last + 1)]


def test_killed_at_any_moment(tmp_path):
    """State and log always agree, whenever the writer dies."""
    code = f"""
number = 0
while True:
    number += 1
    machine.write("{SWAPPINESS}", str(number % 200))
    if number == 1:
        print("it was written", flush=True)
"""
    for attempt in range(12):
        store = tmp_path / str(attempt)
        process = start(code, store)
        process.stdout.readline()
        time.sleep(0.01 + attempt * 0.003)
        process.kill()
        process.communicate()

        machine = open_emulated("7.3", store, None)
        log = machine.log

        assert log
        assert [int(write.text) for write in log] == [n % 200 for n in range(1, len(log) + 1)]
        assert machine.read(SWAPPINESS) == f"{log[-1].text}\n"
        assert [*sorted(each.name for each in store.iterdir() if not each.name.endswith(".new"))] == [
            "lock", "machine.json", "writes.jsonl",
        ]  # fmt: skip


@pytest.mark.parametrize("lost", ["all", "half"])
def test_a_log_without_its_last_line_is_completed(tmp_path, lost):
    machine = open_emulated("7.3", tmp_path, None)
    for number in range(3):
        machine.write(SWAPPINESS, str(number))
    log = tmp_path / "writes.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(lines[:2]) + (lines[2][:10] if lost == "half" else b""))

    again = open_emulated("7.3", tmp_path, None)

    assert [write.text for write in again.log] == ["0", "1", "2"]
    again.write(SWAPPINESS, "3")
    assert [write.text for write in machine.log] == ["0", "1", "2", "3"]


def test_a_long_log_is_set_aside(tmp_path, monkeypatch):
    monkeypatch.setattr("damonpolicy.emulated.store._LONGEST_LOG", 1000)
    machine, other = (open_emulated("7.3", tmp_path, None) for _ in range(2))
    for number in range(100):
        (machine, other)[number % 2].write(SWAPPINESS, str(number))

    assert 0 < len(machine.log) < 50
    assert machine.log[-1].text == "99"
    assert (tmp_path / "writes.old.jsonl").exists()
    sizes = [os.path.getsize(each) for each in tmp_path.iterdir()]
    assert max(sizes) < 20_000


def test_the_log_has_refused_writes_too(tmp_path):
    machine = open_emulated("7.3", tmp_path, None)
    with pytest.raises(OSError, match="Invalid argument"):
        machine.write(SWAPPINESS, "x")

    lines = [json.loads(line) for line in (tmp_path / "writes.jsonl").read_text().splitlines()]
    assert lines == [[SWAPPINESS, "x", 22]]


def test_the_clock_is_the_real_one(tmp_path):
    machine = open_emulated("7.3", tmp_path, None)

    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    now = machine.monotonic()

    assert before <= now <= time.clock_gettime(time.CLOCK_BOOTTIME)


def test_time_goes_on_after_the_host_has_booted(tmp_path, monkeypatch):
    machine = open_emulated("7.3", tmp_path, None)
    machine.write(SWAPPINESS, "1")
    before = machine._world.now()
    real = time.clock_gettime
    monkeypatch.setattr(time, "clock_gettime", lambda which: real(which) - before + 5)

    again = open_emulated("7.3", tmp_path, None)

    assert again.monotonic() < 100
    assert again._world.now() > before - 1
    again.write(SWAPPINESS, "2")
    assert before - 1 < open_emulated("7.3", tmp_path, None)._world.now() < before + 60


def test_hundred_writes_are_fast(tmp_path):
    machine = open_emulated("7.3", tmp_path, None)
    machine.write(f"{KDAMONDS}/nr_kdamonds", "8")
    for slot in range(8):
        machine.write(f"{KDAMONDS}/{slot}/contexts/nr_contexts", "1")
        machine.write(f"{KDAMONDS}/{slot}/contexts/0/schemes/nr_schemes", "2")
    times = []
    for _ in range(3):
        begin = time.process_time()
        for number in range(100):
            machine.write(f"{KDAMONDS}/0/contexts/0/monitoring_attrs/nr_regions/min", str(number))
        times.append(time.process_time() - begin)

    assert min(times) < 0.5


def test_nobody_else_reads_or_writes_it_whatever_the_umask(tmp_path, umask):
    place = tmp_path / "state" / "machine"
    machine = open_emulated("7.3", place, None)
    machine.write(SWAPPINESS, "70")

    modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in place.iterdir()}
    assert set(modes) >= {"machine.json", "writes.jsonl", "lock"}
    assert set(modes.values()) == {0o600}
    assert [stat.S_IMODE(each.stat().st_mode) for each in (place, place.parent)] == [0o700, 0o700]


@pytest.mark.parametrize("name", ["", "machine.json", "writes.jsonl", "lock"])
def test_what_others_can_write_is_refused(tmp_path, name):
    open_emulated("7.3", tmp_path / "m", None).write(SWAPPINESS, "70")
    (tmp_path / "m" / name).chmod(0o777 if not name else 0o666)

    with pytest.raises(Untrusted, match="everyone can change") as caught:
        open_emulated("7.3", tmp_path / "m", None)
    assert caught.value.exit_code == 77
    assert caught.value.hint.startswith("look at it, then `chmod go-w ")


def test_what_somebody_else_made_is_refused(tmp_path, give):
    open_emulated("7.3", tmp_path / "m", None)
    give(tmp_path / "m", 65533)

    with pytest.raises(Untrusted, match="belongs to user 65533"):
        open_emulated("7.3", tmp_path / "m", None)


def test_no_link_leads_out_of_it(tmp_path):
    open_emulated("7.3", tmp_path / "m", None)
    other = tmp_path / "other"
    other.write_text("mine\n")
    for name in ("lock", "writes.jsonl"):
        (tmp_path / "m" / name).unlink()
        (tmp_path / "m" / name).symlink_to(other)
        with pytest.raises(Untrusted, match="not a regular file"):
            open_emulated("7.3", tmp_path / "m", None)
    assert other.read_text() == "mine\n"
