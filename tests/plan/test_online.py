"""Changes of a running kdamond: which commits they take, and in which order."""

from __future__ import annotations

import pytest

from damonpolicy.kernel.system.machine import KDAMONDS, read_value
from damonpolicy.plan.bind import Bound
from damonpolicy.plan.ir import CompiledKdamond
from damonpolicy.plan.online import change, without_dead
from damonpolicy.plan.state import SlotRecord
from damonpolicy.policy.compile.sample import sample_files
from damonpolicy.policy.model.sample import Accesses
from tests.world import World

TARGETS = "contexts/0/targets"
SAMPLE = "contexts/0/monitoring_attrs/sample"
POLICY = """\
version: 1
name: p
kdamonds:
  - name: k
    ops: vaddr
    targets: [{process: {name: worker}}]
settings: {/sys/module/damon_stat/parameters/enabled: N}
"""


def phase(done, name):
    return [each for each in done.operations if each.phase == name]


def workers(world, *pids):
    for pid in pids:
        world.machine.start_process("worker", pid=pid, areas=[{"size": "8MiB"}])


def monitored(world):
    """Pids that the files name and that the kdamond runs, in the kernel's order."""
    files, runs = [], []
    for index in range(int(read_value(world.machine, f"{KDAMONDS}/0/{TARGETS}/nr_targets"))):
        base = f"{KDAMONDS}/0/{TARGETS}/{index}"
        files.append(int(read_value(world.machine, f"{base}/pid_target")))
    context = world.machine.running(0)["targets"]
    for index in range(int(context["nr_targets"])):
        target = context[str(index)]
        if target.get("obsolete_target", "N") == "N":
            runs.append(int(target["pid_target"]))
    return files, runs


def committed(world, do):
    """Return what is staged before each commit."""
    before = len(world.machine.log)
    do()
    steps, step = [], {}
    for each in world.machine.log[before:]:
        path = each.path.removeprefix(f"{KDAMONDS}/0/")
        if path == "state":
            if each.text == "commit":
                steps.append(step)
                step = {}
        else:
            step[path] = each.text
    return steps, step


@pytest.fixture(params=["6.12", "6.18", "7.3"])
def world(request):
    made = World.make(request.param)
    yield made
    made.close()


def test_a_new_process_is_appended_in_one_commit(world):
    workers(world, 3000)
    world.apply("p", text=POLICY)
    pid = read_value(world.machine, f"{KDAMONDS}/0/pid")
    workers(world, 2000)

    steps, rest = committed(world, lambda: world.apply("p", text=POLICY))

    assert (len(steps), rest) == (1, {})
    assert monitored(world) == ([3000, 2000], [3000, 2000])
    assert pid == read_value(world.machine, f"{KDAMONDS}/0/pid")


@pytest.mark.parametrize("gone", [2000, 2001, 2002])
def test_a_process_that_ended_is_taken_out(world, gone):
    workers(world, 2000, 2001, 2002)
    world.apply("p", text=POLICY)
    world.machine.exit_process(gone)
    pid = read_value(world.machine, f"{KDAMONDS}/0/pid")
    left = [each for each in (2000, 2001, 2002) if each != gone]

    steps, rest = committed(world, lambda: world.apply("p", text=POLICY))

    assert monitored(world) == (left, left)
    assert pid == read_value(world.machine, f"{KDAMONDS}/0/pid")
    if world.machine.profile.has("target.obsolete"):
        place = gone - 2000
        assert [step[f"{TARGETS}/{place}/obsolete_target"] for step in steps] == ["Y"]
        assert steps[0][f"{TARGETS}/{place}/pid_target"] == str(left[0]), (
            "a commit looks up all pids"
        )
        assert rest[f"{TARGETS}/nr_targets"] == "2", "at once the files show what runs"
    else:
        # what is common at the front first, then the rest: nothing moves up but the first
        assert [step[f"{TARGETS}/nr_targets"] for step in steps] == {
            2000: ["2"], 2001: ["1", "2"], 2002: ["2"],
        }[gone]  # fmt: skip


@pytest.mark.parametrize(("action", "restarts"), [("stat", False), ("cold", True)])
def test_no_scheme_acts_where_the_first_process_had_its_memory(world, action, restarts):
    """Before 6.19 a commit hands the regions of the one that ended to the next."""
    text = POLICY.replace("settings", f"    schemes: [{{name: s, action: {action}}}]\nsettings")
    workers(world, 2000, 2001)
    world.apply("p", text=text)
    pid = read_value(world.machine, f"{KDAMONDS}/0/pid")
    world.machine.exit_process(2000)

    world.apply("p", text=text)

    assert monitored(world) == ([2001], [2001])
    same = pid == read_value(world.machine, f"{KDAMONDS}/0/pid")
    assert same == (world.machine.profile.has("target.obsolete") or not restarts)


def test_processes_that_come_and_go_at_once(world):
    workers(world, 2000, 2001)
    world.apply("p", text=POLICY)
    world.machine.exit_process(2000)
    workers(world, 1999, 2002)

    world.apply("p", text=POLICY)

    assert monitored(world) == ([2001, 1999, 2002], [2001, 1999, 2002])
    world.machine.exit_process(2001)
    world.machine.exit_process(1999)
    world.machine.exit_process(2002)
    workers(world, 2003)
    world.apply("p", text=POLICY)
    assert monitored(world) == ([2003], [2003])


def test_another_process_with_the_pid_of_one_that_ended_is_noticed(world):
    """The files would say the same; the kernel holds on to the process that ended."""
    workers(world, 2000, 2001)
    world.apply("p", text=POLICY)
    world.machine.exit_process(2001)
    workers(world, 2001)

    pid = read_value(world.machine, f"{KDAMONDS}/0/pid")

    assert committed(world, lambda: world.apply("p", text=POLICY)) == ([], {})
    assert pid != read_value(world.machine, f"{KDAMONDS}/0/pid")

    pid = read_value(world.machine, f"{KDAMONDS}/0/pid")
    world.apply("p", text=POLICY)
    assert pid == read_value(world.machine, f"{KDAMONDS}/0/pid")


def test_what_someone_staged_is_said_and_put_right(world):
    workers(world, 2000)
    world.apply("p", text=POLICY)
    path = "contexts/0/monitoring_attrs/nr_regions/max"
    world.write(f"0/{path}", "77")

    steps, _ = committed(world, lambda: world.apply("p", text=POLICY))

    assert steps == [{path: "1000"}]


def test_what_we_staged_and_never_committed_is_committed(world):
    """Files that hold what is wanted say nothing of what runs."""
    workers(world, 2000)
    world.apply("p", text=POLICY)
    record = world.managed.slots[0]
    path = "contexts/0/monitoring_attrs/nr_regions/max"
    world.write(f"0/{path}", "77")
    bound = Bound(KDAMOND, {**record.files, path: "77"})

    done = change(0, {**record.files, path: "77", "state": "on"}, bound, record)

    assert (done.action, phase(done, "stage")) == ("change", [])
    assert [each.after for each in phase(done, "commit")] == ["commit"]
    assert done.remarks == ["files were changed by someone since our last commit"]


KDAMOND = CompiledKdamond("p", "k", {"contexts/0/operations": "paddr"}, ())


def kept(files, cgroups=None):
    return SlotRecord("p/k", files, 1, 1, cgroups=cgroups or {})


def sampled(accesses):
    base = {"contexts/0/operations": "paddr", f"{TARGETS}/nr_targets": "0"}
    return base | {
        f"{SAMPLE}/{name}": value for name, value in sample_files(accesses, None).items()
    }


def test_sample_filters_never_change_their_type_in_one_commit():
    """A commit copies all of a sample filter but its type."""
    before = sampled(Accesses(kind="write"))
    after = sampled(Accesses(kind="write", cpus="0-1"))

    done = change(0, before, Bound(KDAMOND, after), kept(before))

    counts = [
        each.after
        for each in (*phase(done, "stage"), *phase(done, "commit"))
        if each.path.endswith("nr_filters")
    ]
    assert counts == ["0", "3"]
    assert [each.after for each in phase(done, "commit") if each.kind == "command"] == [
        "commit",
        "commit",
    ]
    assert done.tree == after


def test_sample_filters_of_the_same_types_take_one_commit():
    before = sampled(Accesses(kind="write", cpus="0-1"))
    after = sampled(Accesses(kind="read", cpus="2"))

    done = change(0, before, Bound(KDAMOND, after), kept(before))

    assert [each.after for each in phase(done, "commit")] == ["commit"]
    assert done.tree == after


MEMCG = "contexts/0/schemes/0/filters/0/memcg_path"


@pytest.mark.parametrize(
    ("were", "now", "commands"),
    [
        ({"/a": 7}, {"/a": 7}, []),
        ({"/a": 7}, {"/a": 8}, ["commit"]),
        ({}, {"/a": 8}, ["commit"]),
        ({"/a": 7}, {"/a": 0}, []),
    ],
    ids=["the same", "another", "nobody knows which", "a copy tells nothing"],
)
def test_a_cgroup_that_was_made_again_takes_one_commit(were, now, commands):
    files = {"contexts/0/operations": "paddr", MEMCG: "/a"}
    done = change(0, files, Bound(KDAMOND, files, cgroups=now), kept(files, were))

    assert phase(done, "stage") == []
    assert [each.after for each in phase(done, "commit")] == commands
    assert done.action == ("change" if commands else "keep")
    assert len(done.remarks) == len(commands)


def test_dead_targets_are_left_out():
    tree = {"contexts/0/operations": "vaddr", f"{TARGETS}/nr_targets": "3"}
    for index, pid in enumerate((10, 11, 12)):
        tree |= {f"{TARGETS}/{index}/pid_target": str(pid), f"{TARGETS}/{index}/x": f"of {pid}"}

    assert without_dead(tree, lambda pid: True) == tree
    assert without_dead(tree, lambda pid: pid != 11) == {
        "contexts/0/operations": "vaddr",
        f"{TARGETS}/nr_targets": "2",
        f"{TARGETS}/0/pid_target": "10",
        f"{TARGETS}/0/x": "of 10",
        f"{TARGETS}/1/pid_target": "12",
        f"{TARGETS}/1/x": "of 12",
    }
    physical = {**tree, "contexts/0/operations": "paddr"}
    assert without_dead(physical, lambda pid: False) == physical


def test_a_kernel_without_commits_restarts():
    """Commits came with 5.19."""
    world = World.make("5.18")
    world.apply("p", text=POLICY.replace("worker", "nginx"))
    pid = read_value(world.machine, f"{KDAMONDS}/0/pid")
    world.apply("p", text=POLICY.replace("worker", "sshd"))

    texts = [each.text for each in world.machine.log if each.path == f"{KDAMONDS}/0/state"]
    assert "commit" not in texts
    assert texts[-3:-1] == ["off", "on"]
    assert read_value(world.machine, f"{KDAMONDS}/0/pid") != pid
    world.close()
