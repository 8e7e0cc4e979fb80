"""Files that the product itself reads, spoiled: one sentence, a hint, the right exit code."""

from __future__ import annotations

import json
import os

import pytest

from damonpolicy.base.errors import ExitCode
from damonpolicy.kernel.damon.tree import digest
from tests.conftest import run_cli
from tests.engine.site import KSM_RUN, Site, shipped, truncated

KSM = shipped("ksm")


@pytest.fixture
def saved(site):
    """A plan that was saved and would apply; `site.plan` is its path."""
    site.plan = site.directory / "plan.json"
    assert site.run("plan", KSM, "--out", str(site.plan)).code == ExitCode.CHANGES
    site.before = site.world.look()
    return site


def resigned(path, change):
    """Change a plan, with a right checksum."""
    data = json.loads(path.read_text())
    del data["digest"]
    change(data)
    path.write_text(json.dumps({**data, "digest": digest(data)}))


def refused(saved, code, said):
    outcome = saved.run("apply", "--plan", str(saved.plan))

    assert outcome.code == code, outcome.err
    assert said in outcome.err
    assert outcome.err.count("error[") == 1
    assert saved.world.look() == saved.before
    assert saved.writes() == []
    return outcome


def test_an_untouched_plan_applies(saved):
    outcome = saved.done("apply", "--plan", str(saved.plan))

    assert "Applied and verified as generation 1" in outcome.out
    assert saved.read(KSM_RUN) == "1"
    again = saved.run("apply", "--plan", str(saved.plan))
    assert again.code == ExitCode.STALE


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (truncated, "it is not JSON"),
        (lambda path: path.write_text(""), "it is not JSON"),
        (lambda path: path.write_bytes(b"\xff\xfe\x00"), "it is not JSON"),
        (lambda path: path.write_text("[" * 100_000), "it is not JSON"),
        (lambda path: path.write_text("[]"), "is not a plan"),
        (lambda path: path.write_text("{}"), "is not a plan"),
        (lambda path: path.write_text('{"format": 1}'), "is not a plan"),
        (lambda path: path.write_text('"text"'), "is not a plan"),
        (lambda path: path.unlink(), "no such file or directory"),
        (lambda path: (path.unlink(), path.mkdir()), "is a directory"),
        (
            lambda path: path.write_text(path.read_text().replace('"1000"', '"9000"')),
            "was changed after it was saved",
        ),
        (
            lambda path: path.write_text(path.read_text().replace('"format": 1', '"format": 2')),
            "is not a plan",
        ),
    ],
)
def test_a_plan_that_is_none_any_more(saved, damage, said):
    damage(saved.plan)
    outcome = refused(saved, ExitCode.USAGE, said)

    assert str(saved.plan) in outcome.err
    assert "hint: make one with `damonpolicy plan --out FILE`" in outcome.err


@pytest.mark.parametrize(
    "key",
    ["machine", "release", "boot_id", "fingerprint", "policies", "kdamonds", "settings",
     "operations", "slots_before", "affected", "takeover", "remarks", "capabilities"],
)  # fmt: skip
def test_a_plan_that_lacks_something(saved, key):
    resigned(saved.plan, lambda data: data.pop(key))
    refused(saved, ExitCode.USAGE, "is not a plan")


@pytest.mark.parametrize("key", ["machine", "release", "boot_id", "fingerprint", "capabilities"])
def test_a_plan_for_something_else(saved, key):
    resigned(saved.plan, lambda data: data.update({key: "other"}))
    outcome = refused(saved, ExitCode.STALE, "no longer fits this machine")

    assert "hint: plan again" in outcome.err


def test_operations_are_those_of_the_policies_or_none(saved):
    def another(data):
        data["operations"][-1]["after"] = "off"

    resigned(saved.plan, another)
    refused(saved, ExitCode.STALE, "no longer fits")


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/etc/passwd", "this file is not on the list of settings"),
        ("/proc/sys/kernel/core_pattern", "this file is not on the list of settings"),
        ("/sys/kernel/mm/ksm/../../../../etc/passwd", "holds no `..`"),
        ("/sys/kernel/mm/damon/admin/kdamonds/nr_kdamonds", "DAMON's own tree"),
    ],
)
def test_a_plan_sets_only_what_a_policy_may(saved, path, said):
    """The list of settings holds for plans, too, even with a right checksum."""

    def smuggle(data):
        data["policies"]["ksm"]["settings"][path] = "1"

    resigned(saved.plan, smuggle)
    refused(saved, ExitCode.INVALID, said)


def test_a_plan_of_another_boot(saved):
    saved.machine.reboot()
    saved.before = saved.world.look()
    refused(saved, ExitCode.STALE, "the machine was booted since")


def test_a_plan_of_another_kernel(saved):
    other = Site("6.18")
    outcome = other.run("apply", "--plan", str(saved.plan))
    other.close()

    assert outcome.code == ExitCode.STALE
    assert "it is for `emulated:7.3`" in outcome.err


def test_processes_that_came_make_a_plan_stale(site):
    plan = str(site.directory / "plan.json")
    site.run("plan", shipped("monitor"), "--out", plan)
    site.machine.start_process("qemu-system-x86_64", areas=[{"size": "4MiB"}])
    outcome = site.run("apply", "--plan", plan)

    assert outcome.code == ExitCode.STALE
    assert "processes, cgroups or memory have moved" in outcome.err


def test_a_plan_that_cannot_be_saved(site):
    outcome = site.run("plan", KSM, "--out", str(site.directory / "no/plan.json"))

    assert outcome.code == ExitCode.FAILED
    assert "cannot write" in outcome.err
    assert "no such file or directory" in outcome.err


MACHINES = {
    "nodes = 3": "`nodes`",
    "nodez = []": "`nodez`",
    "[[nodes]]\nmemory = -5": "`nodes[0].memory`",
    "[[nodes]]\nmemory = nan": "`nodes[0].memory`",
    "[[nodes]]\nmemory = 1.5e9": "`nodes[0].memory`",
    "[[nodes]]\nmemory = 9223372036854775807": "`nodes[0].memory`",
    "[[nodes]]\nmemory = '12'": "`nodes[0].memory`",
    "[[nodes]]\ncpus = 5": "`nodes[0].cpus`",
    "[[nodes]]\ncpus = '9-1'": "`nodes[0].cpus`",
    "[[processes]]\npid = -1": "`processes[0].pid`",
    "[[processes]]\nuid = -1": "`processes[0].uid`",
    "[[processes]]\npid = 7\n[[processes]]\npid = 7": "a process 7 already",
    "[[processes]]\nname = 5": "`processes[0].name`",
    "[[processes]]\nareas = [1]": "`processes[0].areas[0]`",
    "[[processes]]\n[[processes.areas]]\nage = nan": "`processes[0].areas[0].age`",
    "[[processes]]\n[[processes.areas]]\nstart = -4096": "`processes[0].areas[0].start`",
    "[[processes]]\n[[processes.areas]]\nsize = '900GiB'": "no room",
    "[modules]\nnosuch = true": "`nosuch`",
    "[settings]\n'/nowhere' = 1": "`/nowhere`",
    "[users]\nalice = 'x'": "`users.alice`",
    "root = 1": "`root`",
    "x = ": "is not TOML",
    "\x00": "is not TOML",
}


@pytest.mark.parametrize("text", MACHINES)
def test_a_wrong_machine_file(tmp_path, text):
    file = tmp_path / "machine.toml"
    file.write_text(text)
    state = ("--kernel", "emulated:7.3", "--state-dir", tmp_path / "s", "--machine", file)
    for words in (("status",), ("apply", KSM), ("status", "--format", "json")):
        outcome = run_cli(*state, *words)
        said = outcome.err if "json" not in words else outcome.json["diagnostics"][0]["message"]

        assert outcome.code == ExitCode.USAGE, said
        assert MACHINES[text] in said
    assert not (tmp_path / "s/run").exists()


def test_a_machine_file_that_is_missing_or_another(site, tmp_path):
    outcome = site.run("status", "--machine", "/nowhere")
    assert (outcome.code, "cannot read the machine file" in outcome.err) == (ExitCode.USAGE, True)
    file = tmp_path / "machine.toml"
    file.write_text("[[nodes]]\n")
    outcome = site.run("status", "--machine", str(file))

    assert outcome.code == ExitCode.USAGE
    assert "another machine file" in outcome.err
    assert "hint: remove" in outcome.err


def test_a_machine_of_another_version(site):
    outcome = run_cli("--kernel", "emulated:6.12", "--state-dir", site.directory, "status")

    assert outcome.code == ExitCode.USAGE
    assert "of version 7.3, not 6.12" in outcome.err


@pytest.mark.parametrize("name", ["run", "lib"])
def test_a_file_where_a_directory_should_be(site, name):
    (site.directory / name).write_text("")
    before = site.world.look()
    outcome = site.run("apply", KSM)

    assert outcome.code == ExitCode.FAILED
    assert f"{site.directory}/{name}" in outcome.err
    assert outcome.err.count("error[") == 1
    assert site.world.look() == before


def test_a_state_directory_that_may_not_be_written(site, monkeypatch):
    real = os.mkdir

    def mkdir(path, *arguments, **options):
        if str(path).endswith("/generations"):
            raise PermissionError(13, "Permission denied", str(path))
        real(path, *arguments, **options)

    monkeypatch.setattr(os, "mkdir", mkdir)
    outcome = site.run("apply", KSM)

    assert outcome.code == ExitCode.NO_PERMISSION
    assert "permission denied" in outcome.err
    assert "hint: run as root, or choose another `--state-dir`" in outcome.err
    assert site.writes() == []


def test_a_place_where_no_machine_can_be_kept(tmp_path):
    (tmp_path / "file").write_text("")
    outcome = run_cli("--kernel", "emulated:7.3", "--state-dir", tmp_path / "file/x", "status")

    assert outcome.code == ExitCode.USAGE
    assert "cannot keep an emulated machine" in outcome.err


def test_a_defect_in_the_machine_itself_is_still_told(site, monkeypatch):
    """Even the line that names the kernel could not be had."""

    def broken(self, path):
        raise TypeError("no such thing")

    monkeypatch.setattr(type(site.machine), "read", broken)
    outcome = run_cli("--kernel", "emulated:7.3", "--state-dir", site.directory, "status")

    assert outcome.code == ExitCode.INTERNAL
    assert "TypeError" in outcome.err
    assert outcome.out == ""
