"""Binding of compiled kdamonds to the current machine."""

from __future__ import annotations

from dataclasses import replace

import pytest

from damonpolicy.base.errors import KernelLacks
from damonpolicy.emulated.machine import EmulatedMachine
from damonpolicy.kernel.system.processes import Selector
from damonpolicy.plan.bind import Absent, Bound, Waits, bind
from damonpolicy.plan.ir import CompiledKdamond, FilterLine, TargetLine

TARGETS = "contexts/0/targets"
FILTERS = "contexts/0/schemes/0/ops_filters"


@pytest.fixture
def machine():
    return EmulatedMachine.create("7.3")


def kdamond(*targets, ops="paddr", filters=(), **more):
    return CompiledKdamond(
        "p",
        "k",
        {"contexts/0/operations": ops, **more.pop("files", {})},
        targets,
        {FILTERS: filters} if filters else {},
        **more,
    )


def processes(*selectors, **more):
    return kdamond(
        *(TargetLine(selector=Selector(**each)) for each in selectors), ops="vaddr", **more
    )


def ranges(bound):
    base = f"{TARGETS}/0/regions"
    return [
        (int(bound.files[f"{base}/{n}/start"]), int(bound.files[f"{base}/{n}/end"]))
        for n in range(int(bound.files[f"{base}/nr_regions"]))
    ]


GIB = 1 << 30
LOW = [(0x1000, 0xA0000), (0x100000, GIB)]


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        ([TargetLine(system_ram=True)], [*LOW, (4 * GIB, 5 * GIB)]),
        ([TargetLine(node=0)], LOW),
        ([TargetLine(node=1), TargetLine(node=0)], [*LOW, (4 * GIB, 5 * GIB)]),
        ([TargetLine(regions=((8192, 12288), (0, 8192)))], [(0, 8192), (8192, 12288)]),
        ([TargetLine(regions=((0, 5000), (5000, 9000)))], [(0, 12288)]),
        ([TargetLine(node=1), TargetLine(regions=((5 * GIB - 1, 6 * GIB),))], [(4 * GIB, 6 * GIB)]),
    ],
)
def test_physical_targets_are_united_into_one(machine, targets, expected):
    bound = bind(kdamond(*targets), machine)

    assert ranges(bound) == expected
    assert (bound.files[f"{TARGETS}/nr_targets"], bound.members) == ("1", ())


def test_addresses_are_in_units(machine):
    bound = bind(kdamond(TargetLine(node=1), files={"contexts/0/addr_unit": "4096"}), machine)

    assert ranges(bound) == [(4 * GIB // 4096, 5 * GIB // 4096)]


def test_nothing_to_monitor(machine):
    with pytest.raises(Absent, match="would monitor no memory at all"):
        bind(kdamond(TargetLine(regions=())), machine)


def test_processes_stand_in_the_policys_order_each_once(machine):
    bound = bind(
        processes({"pid": 815}, {"name": "qemu-system-x86_64"}, {"user": "www-data"}), machine
    )

    assert [pid for pid, _ in bound.members] == [815, 811, 530]
    assert [bound.files[f"{TARGETS}/{n}/pid_target"] for n in range(3)] == ["815", "811", "530"]


def test_what_is_monitored_keeps_its_place(machine):
    wanted = processes({"name": "qemu-system-x86_64"}, {"name": "nginx"})
    first = bind(wanted, machine)
    reverse = (first.members[2], first.members[1])

    again = bind(wanted, machine, reverse)

    assert [pid for pid, _ in again.members] == [530, 815, 811]


def test_a_pid_that_is_another_process_now_is_new(machine):
    first = bind(processes({"name": "nginx"}), machine)
    machine.exit_process(530)
    machine.start_process("nginx", pid=530)

    again = bind(processes({"name": "nginx"}), machine, first.members)

    assert again.members != first.members
    assert again.files == first.files


def test_without_a_process_it_waits_or_fails(machine):
    absent = {"name": "postgres"}

    assert bind(processes(absent, wait=True), machine) == Waits("a process")
    with pytest.raises(Absent) as caught:
        bind(processes(absent, {"cmdline": "zzz"}), machine)
    assert caught.value.message == (
        "no process matches `name: postgres` or `cmdline: zzz` of `p/k`"
    )
    assert caught.value.hint == "`when_absent: wait` lets the kdamond wait for one"


@pytest.mark.parametrize(
    ("name", "hint"),
    [("ngin", "there is `nginx`; "), ("qemu", "there is `qemu-system-x86`; ")],
)
def test_a_name_that_is_near_is_named(machine, name, hint):
    with pytest.raises(Absent) as caught:
        bind(processes({"name": name}), machine)

    assert caught.value.hint.startswith(hint)


def memcg(path, *, subtree=True, matching="Y"):
    files = {"type": "memcg", "matching": matching, "allow": "Y", "memcg_path": path}
    return FilterLine(files, subtree=subtree)


ANON = FilterLine({"type": "anon", "matching": "Y", "allow": "N"})


def test_a_subtree_is_one_filter_for_each_cgroup_in_its_place(machine):
    bound = bind(
        kdamond(TargetLine(node=0), filters=(ANON, memcg("/machine.slice"), ANON)), machine
    )

    assert bound.files[f"{FILTERS}/nr_filters"] == "5"
    assert [bound.files[f"{FILTERS}/{n}/type"] for n in range(5)] == [
        "anon", "memcg", "memcg", "memcg", "anon",
    ]  # fmt: skip
    assert [bound.files.get(f"{FILTERS}/{n}/memcg_path") for n in range(5)] == [
        None,
        "/machine.slice",
        "/machine.slice/vm-1.scope",
        "/machine.slice/vm-2.scope",
        None,
    ]


def test_one_cgroup_only(machine):
    bound = bind(
        kdamond(TargetLine(node=0), filters=(memcg("/machine.slice", subtree=False),)), machine
    )

    assert bound.files[f"{FILTERS}/nr_filters"] == "1"


def test_a_cgroup_that_is_gone(machine):
    machine.exit_process(530)
    machine.remove_cgroup("/system.slice/nginx.service")

    with pytest.raises(Absent, match=r"nginx\.service` is gone") as caught:
        bind(kdamond(TargetLine(node=0), filters=(memcg("/system.slice/nginx.service"),)), machine)
    assert caught.value.about == (("p/k", FILTERS),)


def test_a_subtree_that_kernels_cannot_negate(machine):
    """On a kernel without allow, `reject not` was one filter until a second cgroup came."""
    single = bind(
        kdamond(TargetLine(node=0), filters=(memcg("/user.slice", matching="N"),)), machine
    )
    assert single.files[f"{FILTERS}/nr_filters"] == "1"

    machine.make_cgroup("/user.slice/new")
    with pytest.raises(KernelLacks, match=r"cannot filter on `/user\.slice` and the cgroups below"):
        bind(kdamond(TargetLine(node=0), filters=(memcg("/user.slice", matching="N"),)), machine)


REJECTED = FilterLine(
    {"type": "memcg", "matching": "Y", "allow": "N", "memcg_path": "/gone"}, subtree=True
)


def test_which_cgroups_the_paths_mean_is_kept(machine):
    bound = bind(kdamond(TargetLine(node=0), filters=(memcg("/machine.slice"),)), machine)

    paths = {v for path, v in bound.files.items() if path.endswith("memcg_path")}
    assert len(paths) == 3
    assert bound.cgroups == {
        path: machine.identity(f"/sys/fs/cgroup{path}") for path in sorted(paths)
    }


def test_somebody_who_looks_again_leaves_out_what_rejects_nothing(machine):
    wanted = kdamond(TargetLine(node=0), filters=(ANON, REJECTED))
    bound = bind(wanted, machine, waits=True)

    assert bound.files[f"{FILTERS}/nr_filters"] == "1"
    assert bound.left_out == ("/gone",)
    with pytest.raises(Absent) as caught:
        bind(wanted, machine)
    assert caught.value.code == "DP0303"
    assert bind(replace(wanted, wait=True), machine) == Waits("the cgroup `/gone`")


def test_somebody_who_looks_again_waits_for_what_would_allow_nothing(machine):
    wanted = kdamond(TargetLine(node=0), filters=(ANON, memcg("/gone")))
    assert bind(wanted, machine, waits=True) == Waits("the cgroup `/gone`")


def test_a_cgroup_that_goes_while_it_is_looked_up_lets_nothing_in(machine, monkeypatch):
    monkeypatch.setattr("damonpolicy.plan.bind.subtree", lambda machine, path: [])
    with pytest.raises(Absent, match="is gone"):
        bind(kdamond(TargetLine(node=0), filters=(memcg("/machine.slice"),)), machine, waits=True)


def test_nodes_that_are_not_there_are_waited_for(machine):
    goal = "contexts/0/schemes/0/quotas/goals/0"
    for files, what in (
        ({f"{goal}/target_metric": "node_mem_used_bp", f"{goal}/nid": "7"}, "node 7"),
        ({"contexts/0/schemes/0/target_nid": "8"}, "node 8"),
        ({"contexts/0/schemes/0/dests/0/id": "9"}, "node 9"),
    ):
        assert bind(kdamond(TargetLine(node=0), files=files), machine, waits=True) == Waits(what)
    unused = {f"{goal}/target_metric": "user_input", f"{goal}/nid": "7"}
    assert isinstance(bind(kdamond(TargetLine(node=0), files=unused), machine), Bound)
    nowhere = kdamond(TargetLine(node=7))
    assert bind(nowhere, machine, waits=True) == Waits("memory of node 7")
    with pytest.raises(Absent, match="there is no memory of node 7"):
        bind(nowhere, machine)
