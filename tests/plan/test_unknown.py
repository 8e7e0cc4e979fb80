"""What looking cannot tell is tried first, and undone where the kernel refuses."""

from __future__ import annotations

import errno

import pytest

from damonpolicy.emulated.machine import EmulatedMachine
from damonpolicy.kernel.sysfs import KDAMONDS, read_value

BTF = "/sys/kernel/btf/vmlinux"
POLICY = """\
version: 1
name: p
kdamonds:
  - name: k
    ops: paddr
    targets: [{system_ram: true}]
    accesses: {kind: write, optional: true}
    schemes:
      - name: s
        action: stat
        quota: {size: 1MiB, every: 1s}
settings: {/sys/module/damon_stat/parameters/enabled: N}
"""


class Blind:
    """A machine whose kernel was built without BTF."""

    def __init__(self, version):
        self.machine = EmulatedMachine.create(version)

    def __getattr__(self, name):
        return getattr(self.machine, name)

    def read_bytes(self, path):
        if path == BTF:
            raise OSError(errno.ENOENT, "no such file", path)
        return self.machine.read_bytes(path)


@pytest.fixture
def blind(monkeypatch, tmp_path):
    def make(version, text=POLICY):
        machine = Blind(version)
        monkeypatch.setattr("damonpolicy.engine.machines.open_machine", lambda *_: machine)
        monkeypatch.setenv("DAMONPOLICY_KERNEL", machine.name)
        (tmp_path / "p.yaml").write_text(text)
        return machine

    return make


def written(machine):
    return [each.path.removeprefix(f"{KDAMONDS}/") for each in machine.log]


@pytest.mark.parametrize("version", ["6.12", "6.18", "7.3"])
def test_what_the_kernel_refuses_is_left_out_where_it_may(version, blind, cli):
    machine = blind(version)
    outcome = cli("apply", "p.yaml")

    assert outcome.code == 0, outcome.err
    assert "note[DP0601]: counting only write accesses is left out" in outcome.err
    assert any("/sample/" in path for path in written(machine)), "it was tried"
    assert read_value(machine, f"{KDAMONDS}/0/state") == "on"
    assert machine.poisoned == ""


@pytest.mark.parametrize("version", ["6.12", "6.18", "7.3"])
def test_what_may_not_be_left_out_is_refused_and_undone(version, blind, cli):
    machine = blind(version, POLICY.replace(", optional: true", ""))
    before = machine.snapshot_all()
    outcome = cli("apply", "p.yaml")

    assert outcome.code == 69, outcome.err
    assert "this kernel lacks choosing which accesses count" in outcome.err
    assert before == machine.snapshot_all()


def test_what_kernels_do_anyway_is_not_tried(blind, cli):
    machine = blind("6.12", POLICY.replace("    accesses: {kind: write, optional: true}\n", ""))

    assert cli("apply", "p.yaml").code == 0
    new = {"dests", "fail_charge_num", "goal_tuner", "pause", "probes", "addr_unit", "refresh_ms"}
    assert not [path for path in written(machine) if new & set(path.split("/"))]


def test_a_word_that_is_unknown_is_tried(blind, cli):
    text = POLICY.replace("accesses: {kind: write, optional: true}", "paused: true")

    assert cli("apply", "p.yaml").code != 0
    refused = blind("6.12", text)
    assert cli("apply", "p.yaml").code == 69
    assert refused.poisoned == ""
    taken = blind("7.3", text)
    assert cli("apply", "p.yaml").code == 0
    assert read_value(taken, f"{KDAMONDS}/0/contexts/0/pause") == "Y"
