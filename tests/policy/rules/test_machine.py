"""Names in a policy have to exist: cases that the emulated machine cannot show."""

from __future__ import annotations

from damonpolicy.emulated.machine import EmulatedMachine
from damonpolicy.policy.reading.read import read_policy
from damonpolicy.policy.rules.machine import check_kdamond
from damonpolicy.policy.source.nodes import plain
from damonpolicy.policy.source.yaml import parse

POLICY = """\
version: 1
name: p
kdamonds:
  - name: k
    ops: paddr
    targets: [{numa_node: 1}]
    schemes:
      - name: s
        action: pageout
        quota: {size: 1MiB, every: 1s, goals: [{metric: some_mem_psi_us, target: 1ms}]}
"""


class Other:
    """A machine that differs in some files."""

    def __init__(self, hidden=(), texts=None):
        self.machine = EmulatedMachine.create("7.3")
        self.hidden = hidden
        self.texts = texts or {}

    def __getattr__(self, name):
        return getattr(self.machine, name)

    def exists(self, path):
        return not path.startswith(self.hidden) and self.machine.exists(path)

    def read(self, path):
        if path.startswith(self.hidden):
            raise FileNotFoundError(path)
        return self.texts.get(path) or self.machine.read(path)

    def scan(self, path):
        return [
            each for each in self.machine.scan(path) if f"{path}/{each.name}" not in self.hidden
        ]


def found(machine):
    top, _ = parse("p.yaml", POLICY)
    read, errors = read_policy(*plain(top))
    assert not errors
    return [
        (each.code, each.span.line, each.span.column)
        for each in check_kdamond(read.policy.kdamonds[0], read.cursor("kdamonds", 0), machine)
    ]


def test_nothing_is_wrong_with_a_machine_that_has_it_all():
    assert found(Other(hidden=("/nothing",))) == []


def test_pressure_that_nobody_measures():
    assert found(Other(hidden=("/proc/pressure",))) == [("DP0308", 10, 57)]


def test_a_node_without_memory(monkeypatch):
    monkeypatch.setattr("damonpolicy.kernel.system.memory.node_ram", lambda machine, node: [])

    assert found(Other(hidden=("/nothing",))) == [("DP0310", 6, 27)]
