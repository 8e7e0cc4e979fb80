"""The protocol, the rest of the machine as floor 1 reads it, hooks and test helpers."""

import errno
import re
import time

import pytest

from damonpolicy.base.errors import UsageError
from damonpolicy.emulated.machine import EmulatedMachine, Write, versions
from damonpolicy.kernel import settings
from damonpolicy.kernel.damon.capabilities import detect
from damonpolicy.kernel.damon.features import FEATURES
from damonpolicy.kernel.damon.tree import empty_slot, slot_tree, snapshot
from damonpolicy.kernel.system import cgroups, host, memory, numa, processes, psi
from damonpolicy.kernel.system.machine import KDAMONDS, Machine, entries
from tests.world import snapshot_all

MIB = 1 << 20
SWAPPINESS = "/proc/sys/vm/swappiness"


@pytest.fixture
def machine():
    return EmulatedMachine.create("7.3")


def test_it_is_a_machine():
    machine: Machine = EmulatedMachine.create("7.3")

    assert (machine.name, machine.writable) == ("emulated:7.3", True)
    assert (machine.read("/proc/sys/kernel/osrelease"), machine.poisoned) == (
        "7.3.4+deb13-cloud-amd64\n", "",
    )  # fmt: skip


def test_unknown_version():
    with pytest.raises(UsageError):
        EmulatedMachine.create("2.6")
    assert {"5.18", "7.3", "damon-next"} < set(versions())


@pytest.mark.parametrize(
    ("path", "operation", "expected"),
    [
        (f"{KDAMONDS}/0/nosuch", "read", errno.ENOENT),
        (f"{KDAMONDS}/9/state", "read", errno.ENOENT),
        (f"{KDAMONDS}/0/contexts", "read", errno.EISDIR),
        (f"{KDAMONDS}/0/contexts", "write", errno.EISDIR),
        (f"{KDAMONDS}/0/state", "scan", errno.ENOTDIR),
        (f"{KDAMONDS}/0/state/x", "read", errno.ENOTDIR),
        (f"{KDAMONDS}/0/state/x/y", "scan", errno.ENOTDIR),
        (f"{KDAMONDS}/9", "scan", errno.ENOENT),
        (f"{KDAMONDS}/0/pid", "write", errno.EACCES),
        ("/proc/999999/stat", "read", errno.ENOENT),
        ("/proc/1", "read", errno.EISDIR),
        ("/proc/1/stat", "write", errno.EINVAL),
        ("/proc/iomem", "write", errno.EIO),
        ("/proc/sys/kernel/osrelease", "write", errno.EACCES),
        ("/proc/sys/vm/drop_caches", "read", errno.EACCES),
        ("/sys/devices/system/node/online", "write", errno.EACCES),
        ("/sys/fs/cgroup/cgroup.controllers", "write", errno.EINVAL),
        ("/sys/kernel/btf/vmlinux", "write", errno.EACCES),
    ],
)
def test_errors_of_operations(machine, path, operation, expected):
    machine.write(f"{KDAMONDS}/nr_kdamonds", "1")

    with pytest.raises(OSError, match=r"\w") as caught:
        getattr(machine, operation)(path, *(["1"] if operation == "write" else []))

    assert caught.value.errno == expected
    assert caught.value.filename == path


def test_directories(machine):
    assert {"damon", "ksm", "lru_gen", "numa", "swap", "transparent_hugepage"} == set(
        entries(machine, "/sys/kernel/mm")
    )
    assert {"proc", "sys", "etc"} == set(entries(machine, "/"))
    assert entries(machine, "/sys/kernel/mm/damon") == ["admin"]
    assert machine.mode("/sys/kernel/mm/damon/admin") == 0o755
    assert machine.mode("/sys/kernel/mm/ksm/run") == 0o644
    assert {"zswap", "damon_stat", "damon_reclaim", "damon_lru_sort"} == set(
        entries(machine, "/sys/module")
    )


def test_numbers_are_in_numeric_order(machine):
    machine.write(f"{KDAMONDS}/nr_kdamonds", "12")

    names = entries(machine, KDAMONDS)

    assert names == [*(str(number) for number in range(12)), "nr_kdamonds"]


def test_a_new_slot_is_empty(every):
    every.write("0/contexts/nr_contexts", 1)
    tree = slot_tree(snapshot(every.machine), 0)

    assert empty_slot({path: value for path, value in tree.items() if "nr_contexts" not in path})


@pytest.mark.parametrize("prepared", [False, True])
def test_capabilities_are_those_of_the_profile(each, prepared):
    if prepared:
        each.context()
    found = detect(each.machine, snapshot(each.machine))

    assert each.machine.profile.features == {
        feature.name for feature in FEATURES if found.known(feature.name) == "yes"
    }
    assert not [feature.name for feature in FEATURES if found.known(feature.name) == "unknown"]


def test_virtual_machines(machine):
    found = processes.find(machine, processes.Selector(name="qemu-system-x86_64"))

    assert [process.pid for process in found] == [811, 815]
    assert {process.comm for process in found} == {"qemu-system-x86"}
    assert [process.cgroup for process in found] == [
        f"/machine.slice/vm-{number}.scope" for number in (1, 2)
    ]
    assert processes.find(machine, processes.Selector(user="libvirt-qemu")) == found
    assert processes.find(machine, processes.Selector(cgroup="/machine.slice")) == found
    assert processes.find(machine, processes.Selector(exe="/usr/bin/qemu-*")) == found
    [second] = processes.find(machine, processes.Selector(cmdline="guest=vm-2"))
    assert (second.pid, second.uid) == (815, 64055)
    assert "kthreadd" not in processes.known_names(machine)


def test_a_kernel_thread_has_an_exe_that_leads_nowhere(machine):
    assert machine.exists("/proc/2/exe")
    with pytest.raises(FileNotFoundError):
        machine.resolve("/proc/2/exe")
    assert machine.read("/proc/2/cmdline") == ""


def test_identity(machine):
    first = host.look(machine)

    assert first.namespaces == ()
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", first.boot_id)
    assert host.busy_modules(machine) == ["damon_stat"]
    assert EmulatedMachine.create("7.3").read("/proc/sys/kernel/random/boot_id") == machine.read(
        "/proc/sys/kernel/random/boot_id"
    ), "in memory all is deterministic"
    machine.reboot()
    assert first.boot_id != host.look(machine).boot_id


def test_start_times_differ(machine):
    starts = [host.starts(machine, pid) for pid in host.pids(machine)]

    assert len(set(starts)) == len(starts)
    assert all(starts)


def test_memory(machine):
    ram = memory.system_ram(machine)

    assert ram == [(0x1000, 0x9FC00), (0x100000, 1 << 30), (4 << 30, 5 << 30)]
    assert memory.node_ram(machine, 0) == ram[:2]
    assert memory.node_ram(machine, 1) == ram[2:]
    assert "MemFree" in machine.read("/sys/devices/system/node/node1/meminfo")
    assert "MemTotal:         2097152 kB" in machine.read("/proc/meminfo")


def test_an_ordinary_user_sees_no_addresses():
    machine = EmulatedMachine.create("7.3", spec={"root": False})

    with pytest.raises(Exception, match="shows no addresses"):
        memory.system_ram(machine)
    assert machine.read(SWAPPINESS) == "60\n"
    with pytest.raises(PermissionError):
        machine.write(SWAPPINESS, "1")
    with pytest.raises(PermissionError):
        machine.write("/proc/iomem", "1")


def test_nodes_and_cpus(machine):
    assert numa.nodes(machine) == (0, 1)
    assert [numa.cpus_of(machine, node) for node in (0, 1)] == [(0, 1), (2, 3)]
    assert numa.online_cpus(machine) == numa.possible_cpus(machine) == (0, 1, 2, 3)
    assert machine.read("/sys/devices/system/node/node0/memory3/state") == "online\n"
    assert machine.resolve("/sys/devices/system/node/node1/cpu2") == "/sys/devices/system/cpu/cpu2"
    assert machine.scan("/sys/devices/system/node/node0/memory0")
    assert machine.exists("/sys/devices/system/node/node0/memory0/state")
    assert not machine.exists("/sys/devices/system/node/node0/memory0/nosuch")


def test_cgroups(machine):
    assert cgroups.subtree(machine, "/machine.slice") == [
        "/machine.slice", "/machine.slice/vm-1.scope", "/machine.slice/vm-2.scope",
    ]  # fmt: skip
    machine.make_cgroup("/a/b", memory=False)
    assert cgroups.exists(machine, "/a/b")
    assert not cgroups.has_memory(machine, "/a/b")
    assert machine.read("/sys/fs/cgroup/machine.slice/vm-1.scope/cgroup.procs") == "811\n"
    assert machine.read("/sys/fs/cgroup/machine.slice/memory.current") == f"{1024 * MIB}\n"
    for path, expected in (
        ("/a", errno.EBUSY),
        ("/none", errno.ENOENT),
        ("/init.scope", errno.EBUSY),
    ):
        with pytest.raises(OSError, match=r"\w") as caught:
            machine.remove_cgroup(path)
        assert caught.value.errno == expected
    machine.remove_cgroup("/a/b")
    machine.remove_cgroup("/a")
    assert not cgroups.exists(machine, "/a")


def test_pressure(machine):
    assert psi.has_pressure(machine)


def test_settings_lie_where_policies_may_set_them(machine):
    for path in machine._settings.known:
        kept = machine.mode(path) & 0o600 == 0o600  # else there is nothing to set, or to put back
        if not path.endswith("_MBps"):  # no policy needs it
            assert (settings.refusal(machine, path) == "") == kept, path


def test_own_process(machine):
    assert machine.resolve("/proc/self") == "/proc/902"
    assert machine.read("/proc/self/comm") == "bash\n"


def test_time(machine, monkeypatch):
    monkeypatch.setattr(
        time, "sleep", lambda _: pytest.fail("nobody waits for a machine in memory")
    )
    assert machine.monotonic() == 1000.0
    machine.sleep(2.5)
    assert machine.monotonic() == 1002.5
    machine.sleep(3600)
    assert machine.monotonic() == 4602.5


def test_processes_come_and_go(machine):
    pid = machine.start_process(
        "a-name-that-is-too-long", exe="/bin/x", cmdline="x -y", uid=1000, cgroup="/new/one",
        areas=[{"size": "4MiB", "rate": "50%"}],
    )  # fmt: skip

    [found] = processes.find(machine, processes.Selector(pid=pid))

    assert (found.comm, found.exe, found.cmdline) == ("a-name-that-is-", "/bin/x", "x -y")
    assert cgroups.exists(machine, "/new/one")
    with pytest.raises(OSError, match="already"):
        machine.start_process("other", pid=pid)
    machine.exit_process(pid)
    for gone in (pid, 2):
        with pytest.raises(ProcessLookupError):
            machine.exit_process(gone)
    assert machine.start_process("next") > pid, "pids do not come again by themselves"


def test_memory_runs_out(machine):
    with pytest.raises(OSError, match="has no room"):
        machine.start_process("big", areas=[{"size": "2GiB"}])
    machine.exit_process(811)
    assert machine.start_process("fits", areas=[{"size": "440MiB"}])


def test_hooks_and_log(machine):
    seen = []
    machine.before_write = lambda *call: seen.append(("before", *call))
    machine.after_write = lambda *call: seen.append(("after", *call))

    machine.write(SWAPPINESS, "70")
    with pytest.raises(OSError, match="Invalid"):
        machine.write(SWAPPINESS, "x")

    assert seen == [
        (when, number, SWAPPINESS, text)
        for number, text in ((1, "70"), (2, "x"))
        for when in ("before", "after")
    ]
    assert machine.log == [Write(SWAPPINESS, "70", 0), Write(SWAPPINESS, "x", errno.EINVAL)]


def test_a_hook_may_refuse_a_write(machine):
    def refuse(number, path, text):
        raise OSError(errno.EBUSY, "the lock of another sysfs operation")

    machine.before_write = refuse
    with pytest.raises(OSError, match="lock of another"):
        machine.write(SWAPPINESS, "70")

    assert machine.read(SWAPPINESS) == "60\n"
    assert machine.log == [Write(SWAPPINESS, "70", errno.EBUSY)]


def test_a_hook_may_change_the_machine(machine):
    machine.before_write = lambda number, path, text: machine.exit_process(811)

    machine.write(SWAPPINESS, "70")

    assert not machine.exists("/proc/811")


def test_snapshot_of_everything_that_can_be_written(kernel):
    kernel.context()
    first = snapshot_all(kernel.machine)
    kernel.command("update_schemes_stats")
    assert first == snapshot_all(kernel.machine)

    kernel.write("/sys/kernel/mm/ksm/run", 1)

    changed = snapshot_all(kernel.machine)
    assert {path for path in first if first[path] != changed[path]} == {"/sys/kernel/mm/ksm/run"}
    assert f"{KDAMONDS}/0/state" in first
    assert f"{KDAMONDS}/0/pid" not in first


def test_reboot_brings_everything_back():
    machine = EmulatedMachine.create("7.3", spec={
        "settings": {"/sys/kernel/mm/ksm/run": "1", SWAPPINESS: "10"},
        "modules": {"damon_stat": False},
    })  # fmt: skip
    first = snapshot_all(machine)
    machine.write(SWAPPINESS, "20")
    machine.write(f"{KDAMONDS}/nr_kdamonds", "1")

    machine.reboot()

    assert first == snapshot_all(machine)
    assert machine.read(SWAPPINESS) == "10\n"
    assert host.busy_modules(machine) == []


def test_thousands_of_machines_are_cheap():
    """Measured in CPU time, and the best of many: other tests may run beside this one."""
    times = []
    for _ in range(20):
        begin = time.process_time()
        machine = EmulatedMachine.create("7.3")
        machine.write(f"{KDAMONDS}/nr_kdamonds", "8")
        machine.write(f"{KDAMONDS}/0/contexts/nr_contexts", "1")
        for number in range(98):
            machine.write(f"{KDAMONDS}/0/contexts/0/monitoring_attrs/nr_regions/min", str(number))
        times.append(time.process_time() - begin)
    assert min(times) < 0.02
