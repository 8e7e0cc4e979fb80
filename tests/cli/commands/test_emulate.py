"""`emulate`: events on an emulated machine, and on no other."""

from __future__ import annotations

import json

import pytest

K = ("--kernel", "emulated:7.3")


def lines(outcome):
    assert outcome.code == 0, outcome.err
    return outcome.out.splitlines()[1:]


def content(cli, path):
    """What a file holds, as it is."""
    outcome = cli("emulate", "read", path, *K)
    assert outcome.code == 0, outcome.err
    return outcome.out


def test_a_program_starts_and_ends(cli):
    (pid,) = cli(
        "emulate", "start", "redis", "--area", "size=8MiB,rate=80%,node=1", *K
    ).out.splitlines()  # nothing else, for `pid=$(…)`

    assert content(cli, f"/proc/{pid}/comm") == "redis\n"
    assert lines(cli("emulate", "exit", pid, *K)) == [f"{pid} ended"]
    assert cli("emulate", "read", f"/proc/{pid}/comm", *K).code == 1
    gone = cli("emulate", "exit", pid, *K)
    assert (gone.code, f"there is no process {pid}" in gone.err) == (1, True)


def test_a_program_starts_where_it_is_told_to(cli):
    words = ("--pid", 77, "--cgroup", "/db.slice", "--uid", 33, "--cmdline", "redis -c x")
    done = cli("emulate", "start", "redis", *words, *K, "--format", "json")

    assert json.loads(done.out)["data"] == {"pid": 77}
    assert content(cli, "/proc/77/cgroup") == "0::/db.slice\n"
    assert "Uid:\t33" in content(cli, "/proc/77/status")
    again = cli("emulate", "start", "redis", "--pid", 77, *K)
    assert (again.code, "cannot be started" in again.err) == (1, True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["start", "x", "--cgroup", "machine.slice"], "did you mean `/machine.slice`?"),
        (["start", "x", "--cgroup", ""], "`` is not the path of a cgroup"),
        (["start", "/usr/bin/x"], "`/usr/bin/x` is not a program name"),
        (["start", ""], "`` is not a program name"),
        (["start", "a\nb"], "is not a program name"),
        (["start", "x", "--uid", "99999999999999999999"], "`--uid`"),
        (["start", "x", "--area", "size=1MiB,node=" + "9" * 5000], "area.node"),
        (["exit", "nosuch"], "`nosuch` is neither a pid nor the name of one program"),
        (["exit", "qemu-system-x86_64"], "these are called so: 811, 815"),
        (["write", "/nowhere", "-1"], "there is no file `/nowhere`"),
        (["forward", "-5m"], "-5m"),
    ],
)
def test_what_no_machine_has_is_refused(cli, words, message):
    done = cli("emulate", *words, *K)

    assert done.code in (1, 64)
    assert message in done.err
    assert len(done.err) < 1000


def test_a_program_ends_by_its_name(cli):
    assert cli("emulate", "exit", "nginx", *K).code == 0
    assert cli("emulate", "exit", "nginx", *K).code == 64


@pytest.mark.parametrize(
    ("area", "message"),
    [
        ("64MiB", "`64MiB` is not a key with a value"),
        ("size=3", "`area.size`: `3` has no unit"),
        ("sze=3MiB", "a machine has no `area.sze`"),
        ("size=8MiB,node=9", "node 9"),
        ("size=8MiB,node=x", "`area.node` cannot be read"),
    ],
)
def test_an_area_that_cannot_be_is_refused(cli, area, message):
    done = cli("emulate", "start", "redis", "--area", area, *K)

    assert done.code in (1, 64)
    assert message in done.err


def test_someone_else_writes(cli):
    path = "/sys/kernel/mm/ksm/run"

    assert lines(cli("emulate", "write", path, 1, *K)) == [f"wrote `1` to `{path}`"]
    assert content(cli, path) == "1\n"
    refused = cli("emulate", "write", path, 9, *K)
    assert (refused.code, "takes no `9`: invalid argument" in refused.err) == (1, True)


def test_a_reboot_ends_everything(cli):
    assert cli("init", "monitor").code == 0
    assert cli("apply", "monitor.yaml", *K).code == 0
    before = cli("emulate", "read", "/proc/sys/kernel/random/boot_id", *K).out

    assert lines(cli("emulate", "reboot", *K)) == ["rebooted"]

    assert cli("emulate", "read", "/proc/sys/kernel/random/boot_id", *K).out != before
    assert "no policy is applied" in cli("status", *K).out


def test_time_passes_at_once(cli):
    cli("init", "monitor")
    cli("apply", "monitor.yaml", "--confirm-within", "2m", *K)

    assert lines(cli("emulate", "forward", "3m", *K)) == ["3m passed"]

    late = cli("confirm", *K)
    assert (late.code, "was not confirmed in time" in late.err) == (80, True)
    assert cli("emulate", "forward", "3", *K).code == 64


@pytest.mark.parametrize("name", ["reboot", "forward"])
def test_a_real_machine_is_left_alone(cli, tmp_path, name):
    words = (name, "1s") if name == "forward" else (name,)
    for where in (("--kernel", "live"), (), ("--root", tmp_path)):
        done = cli("emulate", *words, *where)
        assert done.code == 64
        assert "`emulate` is for emulated machines" in done.err
        assert "hint: add `--kernel emulated:" in done.err


def test_the_environment_describes_the_machine(cli, tmp_path, monkeypatch):
    file = tmp_path / "machine.toml"
    file.write_text('[[processes]]\nname = "only"\npid = 55\n')
    monkeypatch.setenv("DAMONPOLICY_MACHINE", str(file))

    assert content(cli, "/proc/55/comm") == "only\n"
    assert cli("features", "--kernel", "live").code in (0, 69), "it says nothing of a real machine"
    assert cli("emulate", "read", "/proc/811/comm", *K).code == 1


def test_what_is_typed_by_mistake_is_answered(cli):
    done = cli("emulate", "forwad", "3m", *K)

    assert (done.code, "did you mean `forward`?" in done.err) == (64, True)
