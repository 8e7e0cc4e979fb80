import re

import pytest

from damonpolicy.base.errors import UsageError
from damonpolicy.emulated.machine import EmulatedMachine, open_emulated
from damonpolicy.emulated.spec import DEFAULT, read
from damonpolicy.kernel.system import memory, numa, processes

EXAMPLE = """
[[nodes]]
memory = "2GiB"
cpus = "0-3"

[[nodes]]
memory = "512MiB"              # without CPUs, as memory behind CXL is

[[processes]]
name = "qemu-system-x86_64"
pid = 77
uid = 107
cgroup = "vms/one/"

[[processes.areas]]
size = "64MiB"
rate = "80%"
written = 0.5
age = "30s"
node = 1
huge = true
start = "0x1000000"

[[processes]]
name = "me"
self = true

[[cgroups]]
path = "/idle"
memory = false

[settings]
"/sys/kernel/mm/ksm/run" = 1

[modules]
damon_stat = false

[users]
alice = 1000
"""


def test_a_machine_file(tmp_path):
    file = tmp_path / "machine.toml"
    file.write_text(EXAMPLE)
    machine = open_emulated("7.3", tmp_path / "store", file)

    assert memory.node_ram(machine, 1) == [(4 << 30, (4 << 30) + (512 << 20))]
    assert [numa.cpus_of(machine, node) for node in (0, 1)] == [(0, 1, 2, 3), ()]
    [found] = processes.find(machine, processes.Selector(cgroup="/vms"))
    assert (found.pid, found.uid, found.cgroup) == (77, 107, "/vms/one")
    assert machine.read("/proc/self/comm") == "me\n"
    assert machine.read("/sys/fs/cgroup/idle/cgroup.controllers") == "pids\n"
    assert machine.read("/sys/kernel/mm/ksm/run") == "1\n"
    assert machine.read("/sys/module/damon_stat/parameters/enabled") == "N\n"
    assert machine.read("/etc/passwd").startswith("alice:x:1000:")


def test_units_become_numbers():
    area = {"size": "64MiB", "rate": "80%", "written": 0.5, "age": "30s", "start": "4GiB"}
    spec = read({"processes": [{"areas": [area]}]})

    [found] = spec.processes[0].areas

    assert (found.size, found.rate, found.written, found.age) == (64 << 20, 0.8, 0.5, 30.0)
    assert found.start == 4 << 30
    assert len(spec.nodes) == 2, "as in the default machine"


@pytest.mark.parametrize(
    ("description", "message"),
    [
        ({"node": []}, "a machine has no `node`"),
        ({"nodes": [{"cpu": "0"}]}, "a machine has no `nodes[0].cpu`"),
        ({"nodes": {}}, "the machine's `nodes` cannot be read: this is not a list"),
        ({"nodes": [3]}, "the machine's `nodes[0]` is not a table"),
        (
            {"nodes": [{"memory": "1GB"}]},
            "the machine's `nodes[0].memory`: `GB` is not a unit of size",
        ),
        ({"nodes": [{"cpus": "3-1"}]}, "the machine's `nodes[0].cpus`: `3-1` goes backwards"),
        (
            {"processes": [{"areas": [{"size": "1KiB"}]}]},
            "the machine's `processes[0].areas[0].size` is not a whole number of pages",
        ),
        (
            {"processes": [{"areas": [{"rate": 2}]}]},
            "the machine's `processes[0].areas[0].rate` cannot be read: a share lies between 0 and 1",
        ),
        (
            {"processes": [{"name": "x", "areas": [{"node": 2}]}]},
            "`x` lies on node 2, which is not there",
        ),
        (
            {"processes": [{"name": "x", "areas": [{"size": "4GiB"}]}]},
            "this machine cannot be: node 0",
        ),
        (
            {"processes": [{"pid": 9}, {"pid": 9}]},
            "this machine cannot be: there is a process 9 already",
        ),
        ({"processes": [{"pid": 1 << 23}]}, "a process' id is at most 4194304"),
        ({"processes": [{"cgroup": "../.."}]}, "named from the root"),
        ({"processes": [{"name": "x", "cpus": "99"}]}, "`x` runs on CPU 99, which is not there"),
        (
            {"nodes": [{"cpus": "0-1"}, {"cpus": "1-2"}]},
            "a CPU of the machine belongs to two of its nodes",
        ),
        (
            {"processes": [{"name": "x", "areas": [{"start": (1 << 47) - 4096, "size": 8192}]}]},
            "an area of `x` ends beyond 128TiB",
        ),
        (
            {"processes": [{"areas": [{"age": 10**400}]}]},
            "the machine's `processes[0].areas[0].age` cannot be read",
        ),
        (
            {"settings": {"/sys/kernel/mm/ksm/run": "1" * 5000}},
            "`/sys/kernel/mm/ksm/run` cannot be",
        ),
        ({"root": "no"}, "the machine's `root` cannot be read: this is not a bool"),
    ],
)
def test_mistakes_are_located(description, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        EmulatedMachine.create("7.3", spec=description)


def test_a_file_that_is_no_toml(tmp_path):
    file = tmp_path / "machine.toml"
    file.write_text("[nodes")

    with pytest.raises(UsageError, match="is not TOML"):
        open_emulated("7.3", tmp_path / "store", file)
    file.write_text("a = " + "[" * 50_000)
    with pytest.raises(UsageError, match="is nested too deeply"):
        open_emulated("7.3", tmp_path / "store", file)
    file.write_text(f"a = {'9' * 5000}")
    with pytest.raises(UsageError, match="is not TOML"):
        open_emulated("7.3", tmp_path / "store", file)
    with pytest.raises(UsageError, match="cannot read the machine file"):
        open_emulated("7.3", tmp_path / "store", tmp_path / "none.toml")


def test_the_default_machine_is_one():
    spec = read(DEFAULT)

    assert [node.memory for node in spec.nodes] == [1 << 30, 1 << 30]
    assert sum(area.size for process in spec.processes for area in process.areas) < 2 << 30
