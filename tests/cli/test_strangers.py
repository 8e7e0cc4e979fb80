"""As root, commands refuse files that others can change, and leave others' files alone."""

from __future__ import annotations

import os
import shutil
import stat

import pytest

from damonpolicy.base import etc, trust
from damonpolicy.engine.store import Store
from damonpolicy.observe.status.doctor import examine
from tests.engine.site import shipped


@pytest.fixture
def policy(tmp_path):
    path = tmp_path / "ksm.yaml"
    shutil.copy(shipped("ksm"), path)
    path.chmod(0o644)
    return path


@pytest.mark.usefixtures("guarded")
@pytest.mark.parametrize("command", ["plan", "apply"])
def test_a_policy_that_everyone_can_write_is_refused(site, policy, command):
    policy.chmod(0o666)
    outcome = site.run(command, policy)

    assert outcome.code == 65
    assert outcome.err.startswith(f"error[DP0046]: everyone can change `{policy}`\n")
    assert f"  hint: look at it, then `chmod go-w {policy}`\n" in outcome.err
    assert site.run("validate", policy).code == 0, "which only looks"
    policy.chmod(0o644)
    policy.parent.chmod(0o777)
    assert f"everyone can change `{policy.parent}`" in site.run(command, policy).err
    assert f"everyone can change `{policy.parent}`" in site.run(command, policy.parent).err
    policy.parent.chmod(0o755)
    assert site.run(command, policy).code == (2 if command == "plan" else 0)


@pytest.mark.usefixtures("guarded")
def test_a_group_may_write_what_a_command_names(site, policy):
    """Many systems give every user a group of its own."""
    policy.chmod(0o664)

    site.done("apply", policy)


@pytest.mark.usefixtures("guarded")
def test_a_policy_of_somebody_else_is_refused(site, policy, give, monkeypatch):
    give(policy, 65533)
    outcome = site.run("apply", policy)
    assert outcome.code == 65
    assert f"`{policy}` belongs to user 65533, who can change it" in outcome.err

    monkeypatch.setattr(
        trust, "by_hand", lambda: trust.Keepers(frozenset({0, os.geteuid(), 65533}))
    )
    site.done("apply", policy)


@pytest.mark.usefixtures("guarded")
def test_variables_that_everyone_can_write_are_refused(site, policy, tmp_path):
    variables = tmp_path / "vars.yaml"
    variables.write_text("cold_for: 5m\n")
    variables.chmod(0o666)
    outcome = site.run("apply", policy, "--vars-file", variables)

    assert outcome.code == 65
    assert f"everyone can change `{variables}`" in outcome.err


@pytest.mark.usefixtures("guarded")
def test_a_plan_that_everyone_can_write_is_refused(site, policy, tmp_path):
    saved = tmp_path / "plan.json"
    assert site.run("plan", policy, "--out", saved).code == 2
    saved.chmod(0o666)
    outcome = site.run("apply", "--plan", saved)
    assert outcome.code == 77
    assert f"error[DP0046]: everyone can change `{saved}`" in outcome.err

    saved.chmod(0o600)
    site.done("apply", "--plan", saved)


def test_what_commands_write_nobody_else_can_whatever_the_umask(site, policy, tmp_path, umask):
    saved, written = tmp_path / "plan.json", tmp_path / "monitor.yaml"
    site.run("plan", policy, "--out", saved)
    site.run("init", "monitor", "--out", written)

    assert stat.S_IMODE(saved.stat().st_mode) == 0o600
    assert stat.S_IMODE(written.stat().st_mode) == 0o644 & ~umask


@pytest.mark.usefixtures("guarded")
def test_doctor_tells_whose_files_are_not_roots_alone(site, tmp_path, monkeypatch):
    directory, listed = tmp_path / "policies.d", tmp_path / "settings.allow"
    directory.mkdir(mode=0o755)
    listed.write_text("/proc/sys/net/x\n")
    (directory / "a.yaml").write_text("version: 1\n")
    monkeypatch.setattr(etc, "POLICIES", (str(directory), "/nowhere"))
    monkeypatch.setattr(etc, "SETTINGS", str(listed))
    directory.chmod(0o755)
    for each in (listed, directory / "a.yaml"):
        each.chmod(0o644)

    def told():
        checks = examine(site.machine, Store(site.places))
        return {each.what: each.hint for each in checks if "can change" in each.what}

    assert told() == {}
    for each in (listed, directory / "a.yaml"):
        each.chmod(0o666)
    assert told() == {
        f"everyone can change `{each}`": f"look at it, then `chmod go-w {each}`"
        for each in (listed, directory / "a.yaml")
    }
    directory.chmod(0o777)
    assert f"everyone can change `{directory}`" in told()
    outcome = site.run("doctor")
    assert outcome.code == 1
    assert f"problem: everyone can change `{directory}`\n" in outcome.out
