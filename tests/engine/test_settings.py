"""Settings beside DAMON: shared between policies, and put back if they are still ours."""

from __future__ import annotations

import pytest

from damonpolicy.base.errors import ExitCode
from tests.engine.site import KSM_RUN, refuses, shipped

THP = "/sys/kernel/mm/transparent_hugepage/enabled"
SWAPPINESS = "/proc/sys/vm/swappiness"
RATE = "/proc/sys/kernel/numa_balancing_promote_rate_limit_MBps"
STAT = "/sys/module/damon_stat/parameters/enabled"


def test_the_last_user_puts_it_back(site):
    for name in "abc":
        site.done("apply", site.setting(name, 1))
    assert site.writes() == [("ksm/run", "1")]
    shown = site.json("status")["data"]["settings"]
    assert shown == [
        {"path": KSM_RUN, "value": "1", "original": "0", "users": ["a", "b", "c"], "drifted": False}
    ]
    site.done("remove", "a", "c")
    assert site.read(KSM_RUN) == "1"
    site.done("remove", "b")

    assert site.writes() == [("ksm/run", "1"), ("ksm/run", "0")]


def test_the_original_is_the_one_at_first_use(site):
    site.machine.write(SWAPPINESS, "33")
    for value in (10, 20, 30):
        site.done("apply", site.setting("a", value, SWAPPINESS))
    site.done("apply", site.setting("b", 30, SWAPPINESS))
    site.done("remove", "a")
    site.done("stop", "--all")

    assert site.read(SWAPPINESS) == "33"


def test_different_values_are_an_error(site):
    site.done("apply", site.setting("a", 1))
    before = site.world.look()
    outcome = site.run("apply", site.setting("b", 2))

    assert outcome.code == ExitCode.INVALID
    assert f"the policies `a` and `b` set `{KSM_RUN}` to different values" in outcome.err
    assert "hint: `damonpolicy remove a` frees it" in outcome.err
    assert site.world.look() == before


@pytest.mark.parametrize(("path", "one", "same"), [(THP, "never", "never"), (STAT, "N", "0")])
def test_values_that_mean_the_same_are_shared(site, path, one, same):
    before = site.machine.read(path)
    site.done("apply", site.setting("a", one, path))
    written = len(site.machine.log)
    site.done("apply", site.setting("b", same, path))
    assert len(site.machine.log) == written
    site.done("stop", "--all")

    assert site.machine.read(path) == before


def test_what_someone_changed_since_is_not_put_back(site):
    site.done("apply", site.setting("a", 50, SWAPPINESS))
    site.machine.write(SWAPPINESS, "77")
    assert site.run("diff").code == ExitCode.CHANGES
    site.done("remove", "a")

    assert site.read(SWAPPINESS) == "77"
    assert site.json("status")["data"]["settings"] == []


def test_an_apply_takes_it_again_and_keeps_the_original(site):
    site.done("apply", site.setting("a", 50, SWAPPINESS))
    site.machine.write(SWAPPINESS, "77")
    site.done("apply", site.setting("a", 50, SWAPPINESS))
    assert site.read(SWAPPINESS) == "50"
    site.done("remove", "a")

    assert site.read(SWAPPINESS) == "60"


def test_those_of_policies_that_are_not_applied_are_left_as_someone_made_them(site):
    site.done("apply", site.setting("a", 10, SWAPPINESS))
    site.machine.write(SWAPPINESS, "77")
    plan = site.run("plan", site.setting("b", 1))
    assert SWAPPINESS not in plan.out
    assert "1 setting to change, 1 write" in plan.out
    site.done("apply", site.setting("b", 1))

    assert site.read(SWAPPINESS) == "77"
    assert site.run("diff").code == ExitCode.CHANGES, "it is still told of"
    site.done("apply", site.setting("c", 10, SWAPPINESS))
    assert site.read(SWAPPINESS) == "10", "but not where another one wants it now"


def test_a_saved_plan_leaves_them_too(site, tmp_path):
    site.done("apply", site.setting("a", 10, SWAPPINESS))
    site.machine.write(SWAPPINESS, "77")
    site.run("plan", site.setting("b", 1), "--out", str(tmp_path / "plan.json"))
    site.done("apply", "--plan", str(tmp_path / "plan.json"))

    assert (site.read(SWAPPINESS), site.read(KSM_RUN)) == ("77", "1")
    assert site.run("diff").code == ExitCode.CHANGES


def test_a_module_in_the_way_is_switched_off_whoever_is_applied(site):
    """No kdamond starts beside one: it is not left, whichever policy wants it off."""
    site.done("apply", site.setting("a", "N", STAT))
    site.machine.write(STAT, "Y")
    site.done("apply", shipped("monitor"))

    assert site.read(STAT) == "N"


def test_a_setting_that_a_policy_no_longer_has_goes_back(site):
    site.done("apply", site.setting("a", 50, SWAPPINESS))
    site.done("apply", site.setting("a", 1, KSM_RUN))

    assert site.read(SWAPPINESS) == "60"
    assert site.read(KSM_RUN) == "1"


def test_a_limit_with_capitals_in_its_name(site):
    before = site.read(RATE)
    site.done("apply", site.setting("a", 200, RATE))
    assert site.read(RATE) == "200"
    site.done("remove", "a")

    assert site.read(RATE) == before


def test_the_way_is_cleared_for_our_kdamond_and_closed_behind_it(site):
    """DAMON_STAT runs from boot on: stopped by the policy, started again by its end."""
    before = site.world.look()
    assert site.read(STAT) == "Y"
    site.done("apply", shipped("ksm"))
    assert site.read(STAT) == "N"
    site.done("apply", shipped("monitor"))
    site.done("remove", "ksm")
    assert site.read(STAT) == "N"
    assert site.world.managed.slots
    site.done("remove", "monitor")

    assert site.read(STAT) == "Y"
    assert site.world.look() == before


def test_a_module_in_the_way_is_named(site):
    text = "version: 1\nname: p\nkdamonds:\n  - name: k\n    ops: paddr\n"
    text += "    targets: [{system_ram: true}]\n"
    outcome = site.run("apply", site.policy("p", text))

    assert outcome.code == ExitCode.FOREIGN
    assert "DAMON_STAT runs, and no other kdamond can start beside it" in outcome.err
    assert "hint: let the policy stop it: `modules: {damon_stat: {enabled: false}}`" in outcome.err
    assert site.writes() == []


def test_a_value_that_the_kernel_does_not_take_is_rolled_back(site, monkeypatch):
    """What no table knows: merged pages may let the kernel refuse another maximum, for example."""
    path = "/sys/kernel/mm/ksm/max_page_sharing"
    text = f"version: 1\nname: a\nsettings: {{{SWAPPINESS}: 50, {path}: 512}}\n"

    refuses(monkeypatch, path)
    outcome = site.run("apply", site.policy("a", text))

    assert outcome.code == ExitCode.ROLLED_BACK
    assert "EINVAL" in outcome.err
    assert "a.yaml:3:" in outcome.err, "the line that asked for it"
    assert site.read(SWAPPINESS) == "60"


def test_a_value_that_reads_back_otherwise_is_rolled_back(site, monkeypatch):
    """Some files take anything and keep what they had."""
    machine = type(site.machine)
    write = machine.write
    monkeypatch.setattr(
        machine,
        "write",
        lambda self, path, text: None if path == KSM_RUN else write(self, path, text),
    )
    outcome = site.run("apply", site.setting("a", 1))

    assert outcome.code == ExitCode.ROLLED_BACK
    assert "it reads back as `0`" in outcome.err


def test_what_stays_when_a_setting_is_put_back_is_said(site):
    """KSM ends, and what it has merged stays merged: the setting alone would not tell."""
    said = "note: pages that KSM has merged stay merged: 2 in `/sys/kernel/mm/ksm/run` parts them"

    assert said not in site.done("apply", shipped("ksm")).out
    assert said in site.done("remove", "ksm").out.splitlines()
    site.done("apply", shipped("ksm"))
    assert said in site.done("rollback", "0").out.splitlines()
