"""Policies as scripts and kernel parameters: they lead where `apply` leads."""

from __future__ import annotations

import pytest

from damonpolicy.base.errors import ExitCode
from damonpolicy.emulated.machine import EmulatedMachine
from damonpolicy.kernel.damon.tree import configuration, slot_tree, snapshot
from damonpolicy.kernel.system.machine import KDAMONDS
from damonpolicy.policy.importer.writes import writes
from tests.engine.site import Site, shipped

MODULES = """\
version: 1
name: reclaim
modules:
  damon_reclaim: {enabled: true, min_age: 60s, quota_sz: 64MiB}
MORE
settings: {/proc/sys/vm/swappiness: 70}
"""
STAT = "  damon_stat: {enabled: false}"


@pytest.fixture(params=["6.12", "7.3"])
def place(request):
    made = Site(request.param)
    yield made
    made.close()


def played(script, kernel):
    """Write what a script writes to a machine of its own."""
    machine = EmulatedMachine.create(kernel)
    listed, wrong = writes("script", script)
    assert wrong == []
    for each in listed:
        machine.write(each.path, each.value)
    return machine


def state(machine, slot):
    return machine.read(f"{KDAMONDS}/{slot}/state").strip()


@pytest.mark.parametrize(
    ("place", "name"),
    [("6.12", "proactive-reclaim"), ("7.3", "proactive-reclaim"), ("7.3", "memory-tiering")],
    indirect=["place"],
)
def test_a_script_leads_where_apply_leads(place, name):
    script = place.done("render", shipped(name)).out
    other = played(script, place.kernel)
    place.done("apply", shipped(name))
    ours, theirs = snapshot(place.machine), snapshot(other)

    assert script.startswith("#!/bin/sh\n")
    assert ours["nr_kdamonds"] == theirs["nr_kdamonds"]
    slots = range(int(ours["nr_kdamonds"]))
    assert "on" in [state(other, slot) for slot in slots]
    for slot in slots:
        assert state(place.machine, slot) == state(other, slot)
        assert configuration(slot_tree(ours, slot)) == configuration(slot_tree(theirs, slot))


def test_nothing_that_runs_is_looked_at(place):
    """A script is for a machine on which no kdamond is configured, not for this one."""
    before = place.done("render", shipped("proactive-reclaim")).out
    place.done("apply", shipped("proactive-reclaim"))

    assert place.done("render", shipped("proactive-reclaim")).out == before
    assert place.done("render", shipped("proactive-reclaim"), "--script").out == before


def test_modules_are_switched_on_last(place):
    stat = STAT if place.kernel == "7.3" else ""
    script = place.done("render", place.policy("m", MODULES.replace("MORE", stat))).out
    other = played(script, place.kernel)

    assert script.splitlines()[-1] == "echo Y > /sys/module/damon_reclaim/parameters/enabled"
    assert other.read("/proc/sys/vm/swappiness").strip() == "70"
    assert other.read("/sys/module/damon_reclaim/parameters/min_age").strip() == "60000000"


def test_modules_and_sysctls_are_kernel_parameters(place):
    stat = STAT if place.kernel == "7.3" else ""
    file = place.policy("m", MODULES.replace("MORE", stat))
    line = place.done("render", "--cmdline", file).out
    path = place.directory / "line"
    path.write_text(line)

    assert sorted(line.replace("damon_stat.enabled=N", "").split()) == [
        "damon_reclaim.enabled=Y", "damon_reclaim.min_age=60000000",
        "damon_reclaim.quota_sz=67108864", "sysctl.vm.swappiness=70",
    ]  # fmt: skip
    assert line.split()[-1] == "damon_reclaim.enabled=Y"
    imported = place.done("import", str(path)).out
    assert "damon_reclaim: {min_age: 1m, quota_sz: 64MiB, enabled: true}" in imported


@pytest.mark.parametrize(
    ("options", "name", "message"),
    [
        ((), "monitor", "`monitor/program` monitors processes, whose pids a script cannot know"),
        (("--cmdline",), "ksm", "the kernel has no parameters for kdamonds such as `ksm/vms`"),
    ],
)
def test_what_cannot_be_said_is_refused(place, options, name, message):
    outcome = place.run("render", shipped(name), *options)

    assert outcome.code == ExitCode.USAGE
    assert message in outcome.err


@pytest.mark.parametrize("kind", ["--script", "--cmdline"])
def test_a_module_that_runs_there_is_to_be_switched_off(kind):
    site = Site("7.3")
    outcome = site.run("render", site.policy("m", MODULES.replace("MORE", "")), kind)

    assert outcome.code == ExitCode.FOREIGN
    assert "the kernel's DAMON_STAT runs" in outcome.err
    site.close()


def test_a_setting_without_a_parameter_is_refused(place):
    outcome = place.run("render", place.setting("ksm", 1), "--cmdline")

    assert outcome.code == ExitCode.USAGE
    assert "`render` knows no parameter of the kernel for `/sys/kernel/mm/ksm/run`" in outcome.err


def test_a_module_that_runs_is_switched_off_to_take_its_parameters():
    site = Site("6.12")
    file = site.policy(
        "m", "version: 1\nname: m\nmodules: {damon_reclaim: {enabled: true, min_age: 9s}}\n"
    )
    script = site.done("render", file).out
    switch = "/sys/module/damon_reclaim/parameters/enabled"

    assert [line for line in script.splitlines() if switch in line] == [
        f"echo N > {switch}", f"echo Y > {switch}"
    ]  # fmt: skip
    site.close()


def test_the_advisor_lets_go_of_what_it_owns_first(place):
    ksm = "/sys/kernel/mm/ksm"
    text = (
        f"version: 1\nname: s\nsettings: {{{ksm}/pages_to_scan: 200, {ksm}/advisor_mode: none}}\n"
    )
    place.machine.write(f"{ksm}/advisor_mode", "scan-time")
    script = place.done("render", place.policy("s", text)).out
    other = EmulatedMachine.create(place.kernel)
    other.write(f"{ksm}/advisor_mode", "scan-time")
    for each in writes("script", script)[0]:
        other.write(each.path, each.value)

    assert other.read(f"{ksm}/pages_to_scan").strip() == "200"


@pytest.mark.parametrize("place", ["7.3"], indirect=True)
def test_a_backslash_survives_every_shell(place):
    place.machine.make_cgroup(r"/a\tb")
    text = """\
version: 1
name: p
kdamonds:
  - name: k
    ops: paddr
    targets: [{system_ram: true}]
    schemes: [{name: s, action: stat, filters: [{reject: {memcg: '/a\\tb'}}]}]
modules: {damon_stat: {enabled: false}}
"""
    script = place.done("render", place.policy("p", text)).out
    (line,) = [each for each in script.splitlines() if "memcg_path" in each]

    assert line.startswith(r"printf '%s\n' '/a\tb' > ")
    assert r"/a\tb" in [each.value for each in writes("script", script)[0]]


@pytest.mark.parametrize("place", ["7.3"], indirect=True)
def test_other_modules_have_parameters_too(place):
    path = "/sys/module/zswap/parameters/enabled"
    place.machine.write(path, "N")
    line = place.done("render", place.setting("z", "Y", path), "--cmdline").out

    assert line == "zswap.enabled=Y\n"
