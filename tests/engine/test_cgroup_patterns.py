"""A pattern for cgroups means all that match it, with all below them, whenever they come and go."""

from __future__ import annotations

import pytest

from damonpolicy.base.errors import ExitCode
from damonpolicy.emulated.machine import EmulatedMachine
from damonpolicy.kernel.system.cgroups import Members, exists, inside, matching, subtree
from tests.world import snapshot_all

POLICY = """version: 1
name: p
kdamonds:
  - name: k
    ops: paddr
    targets: [{{system_ram: true}}]
    schemes:
      - name: s
        action: stat
        filters: [{filters}]
modules: {{damon_stat: {{enabled: false}}}}
"""


def committed(site):
    files = snapshot_all(site.machine)
    return sorted(
        each.strip() for path, each in files.items() if path.endswith("memcg_path") and each.strip()
    )


@pytest.fixture
def containers(site):
    for name in ("docker-a.scope", "docker-b.scope", "docker-b.scope/inner", "other.scope"):
        site.machine.make_cgroup(f"/system.slice/{name}")
    return site


def test_a_pattern_matches_name_by_name():
    machine = EmulatedMachine.create("7.3")

    assert matching(machine, "/machine.slice/vm-?.scope") == [
        "/machine.slice/vm-1.scope", "/machine.slice/vm-2.scope"
    ]  # fmt: skip
    assert matching(machine, "/*/nginx.service") == ["/system.slice/nginx.service"]
    assert matching(machine, "/machine.slice/vm-[13].scope") == ["/machine.slice/vm-1.scope"]
    assert matching(machine, "/machine.*x") == []
    assert matching(machine, "/system.slice") == ["/system.slice"]
    assert subtree(machine, "/mach*") == [
        "/machine.slice", "/machine.slice/vm-1.scope", "/machine.slice/vm-2.scope"
    ]  # fmt: skip
    assert exists(machine, "/mach*")
    assert not exists(machine, "/nothing-*")


@pytest.mark.parametrize(
    ("path", "ancestor", "there"),
    [
        ("/a/b-1.scope", "/a/b-*.scope", True),
        ("/a/b-1.scope/c", "/a/b-*.scope", True),
        ("/a", "/a/b-*.scope", False),
        ("/a/c", "/a/b-*.scope", False),
        ("/a/b", "/a", True),
        ("/ab", "/a", False),
        ("/a", "/", True),
        ("/a/b/c.service", "/**/c.service", True),
        ("/c.service", "/**/c.service", True),
        ("/a/c.service/d", "/**/c.service", True),
        ("/a/b", "/**/c.service", False),
        ("/a/b/a/c", "/**/a/**/c", True),
        ("/a/b", "/" + "**/" * 400 + "c", False),
    ],
)
def test_who_is_below_what_matches(path, ancestor, there):
    assert inside(path, ancestor) is there


def test_members_of_all_that_match():
    machine = EmulatedMachine.create("7.3")
    every = {
        pid
        for each in ("1", "2")
        for pid in Members(machine, f"/machine.slice/vm-{each}.scope").read()
    }

    assert every
    assert Members(machine, "/machine.slice/vm-*.scope").read() == every
    assert Members(machine, "/**/vm-?.scope").read() == every
    assert Members(machine, "/nothing-*").read() == set()


def test_a_filter_on_a_pattern_is_one_for_each(containers):
    text = POLICY.format(filters="{allow: {memcg: /system.slice/docker-*.scope}}")
    containers.done("apply", containers.policy("p", text))

    assert committed(containers) == [
        "/system.slice/docker-a.scope",
        "/system.slice/docker-b.scope",
        "/system.slice/docker-b.scope/inner",
    ]


def test_a_pattern_without_what_is_below(containers):
    text = POLICY.format(
        filters="{reject: {memcg: {path: /system.slice/docker-*.scope, subtree: false}}}"
    )
    containers.done("apply", containers.policy("p", text))

    assert committed(containers) == ["/system.slice/docker-a.scope", "/system.slice/docker-b.scope"]


def test_what_came_since_is_taken_by_the_next_apply(containers):
    file = containers.policy(
        "p", POLICY.format(filters="{reject: {memcg: /system.slice/docker-*}}")
    )
    containers.done("apply", file)
    containers.machine.make_cgroup("/system.slice/docker-c.scope")

    assert containers.run("plan", file).code == ExitCode.CHANGES
    containers.done("apply", file)
    assert "/system.slice/docker-c.scope" in committed(containers)
    assert containers.run("plan", file).code == 0


def test_a_pattern_that_nothing_matches_says_what_is_there(site):
    outcome = site.run(
        "plan",
        site.policy("p", POLICY.format(filters="{reject: {memcg: /machine.slice/docker-*}}")),
    )

    assert outcome.code == ExitCode.INVALID
    assert "no cgroup matches `/machine.slice/docker-*`" in outcome.err
    assert "hint: there are `/machine.slice/vm-1.scope`, `/machine.slice/vm-2.scope`" in outcome.err


def test_processes_of_all_that_match_are_monitored(site):
    text = POLICY.format(filters="").replace("        filters: []\n", "")
    text = text.replace("paddr", "vaddr").replace(
        "{system_ram: true}", "{process: {cgroup: /machine.slice/vm-*.scope}}"
    )
    site.done("apply", site.policy("p", text))

    (record,) = site.world.managed.slots.values()
    assert len(record.members) == 2


def test_one_cgroup_is_asked_for_where_one_is_measured(site):
    goal = "{metric: node_memcg_used_bp, node: 0, cgroup: /machine.*, target: 50%}"
    text = POLICY.format(filters="").replace("        filters: []\n", "").replace(
        "action: stat", f"action: pageout\n        quota: {{size: 1MiB, every: 1s, goals: [{goal}]}}"
    )  # fmt: skip
    outcome = site.run("validate", site.policy("p", text))

    assert outcome.code == ExitCode.INVALID
    assert "error[DP0128]: `/machine.*` may match several cgroups" in outcome.err


def test_a_unit_is_found_in_whatever_slice_it_is(containers):
    containers.machine.make_cgroup("/user.slice/docker-a.scope")
    text = POLICY.format(filters="{allow: {memcg: {unit: docker-a.scope}}}")
    containers.done("apply", containers.policy("p", text))

    assert committed(containers) == ["/system.slice/docker-a.scope", "/user.slice/docker-a.scope"]
    one = POLICY.format(filters="{allow: {memcg: {unit: 'docker-b*.scope', subtree: false}}}")
    containers.done("apply", containers.policy("p", one))
    assert committed(containers) == ["/system.slice/docker-b.scope"]


def test_processes_of_a_unit_are_monitored(site):
    text = POLICY.format(filters="").replace("        filters: []\n", "")
    text = text.replace("paddr", "vaddr").replace(
        "{system_ram: true}", "{process: {unit: vm-2.scope}}"
    )
    site.done("apply", site.policy("p", text))

    (record,) = site.world.managed.slots.values()
    assert [pid for pid, *_ in record.members] == [815]


@pytest.mark.parametrize(
    ("memcg", "code", "message", "hint"),
    [
        ("{unit: vm-7.scope}", "DP0303", "no unit `vm-7.scope` runs", "did you mean `vm-"),
        ("{unit: vm-1}", "DP0129", "`vm-1` is not the name of a unit", "such as `vm-1.service`"),
        ("{unit: vm-1.scope, path: /a}", "DP0226", "named by its `path`, or by a `unit`", "keep one"),
        ("{subtree: false}", "DP0226", "named by its `path`, or by a `unit`", "write `memcg: {unit:"),
    ],
)  # fmt: skip
def test_what_is_no_unit_is_said(site, memcg, code, message, hint):
    outcome = site.run(
        "plan", site.policy("p", POLICY.format(filters=f"{{allow: {{memcg: {memcg}}}}}"))
    )

    assert outcome.code == ExitCode.INVALID
    assert f"error[{code}]: " in outcome.err
    assert message in outcome.err
    assert hint in outcome.err.partition("hint: ")[2]


def test_a_process_is_of_one_cgroup(site):
    text = POLICY.format(filters="").replace("        filters: []\n", "").replace(
        "ops: paddr", "ops: vaddr"
    ).replace("{system_ram: true}", "{process: {unit: vm-2.scope, cgroup: /machine.slice}}")  # fmt: skip
    outcome = site.run("validate", site.policy("p", text))

    assert "error[DP0224]: `unit` names a cgroup, and `cgroup` another one" in outcome.err
