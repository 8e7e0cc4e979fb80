"""Changes of a machine for fault tests: each can be started again in the same state."""

from __future__ import annotations

import json
import shutil
import tomllib
from dataclasses import replace
from functools import cached_property

from damonpolicy.emulated.machine import EmulatedMachine
from damonpolicy.engine.prepare import prepare
from damonpolicy.engine.session import changing
from damonpolicy.engine.transaction import Terms
from tests.golden.test_golden import CASES
from tests.world import APPLIES, KERNELS, ROOT, World, in_memory_directory

OPERATIONS = ("first", "online", "remove", "rollback", "expiry")
WITHIN = 60.0

WORKERS = """
version: 1
name: watch
kdamonds:
  - name: workers
    ops: vaddr
    when_absent: wait
    targets: [{process: {name: worker}}]
    schemes: [%s]
"""
"""A policy that follows processes; its schemes are to be filled in."""


def texts():
    """Name, kernel, machine and text of every shipped policy and of golden ones that stand alone."""
    for kernel in KERNELS:
        for name in APPLIES[kernel]:
            text = (ROOT / "policies" / f"{name}.yaml").read_text()
            yield f"{name}-{kernel}", kernel, None, text
    for folder in CASES:
        case = tomllib.loads((folder / "case.toml").read_text())
        files = list(folder.glob("*.yaml"))
        applied = case["command"] in (["apply", "policy.yaml"], ["apply", "policy.yaml", "--unfed"])
        plain = applied and not case.keys() & {"before", "foreign", "exit"}
        if plain and len(files) == 1:
            yield folder.name, case["kernel"], case.get("machine"), files[0].read_text()


def changed(policies):
    """The same policies with another number of regions, and another age where there is a scheme."""
    return {name: _changed(each) for name, each in policies.items()}


def _changed(policy):
    kdamonds = tuple(
        replace(each, files={path: _other(path, text) for path, text in each.files.items()})
        for each in policy.kdamonds
    )
    settings = {
        path: {"0": "1", "1": "0"}.get(text, text) if path.endswith("/ksm/run") else text
        for path, text in policy.settings.items()
    }
    return replace(policy, kdamonds=kdamonds, settings=settings)


def _other(path, text):
    if path.endswith(("monitoring_attrs/nr_regions/max", "schemes/0/access_pattern/age/min")):
        return str(int(text) + 1)
    return text


class Scenario:
    """One operation from one start; `begin` makes the start, `do` does the operation."""

    def __init__(self, name, kernel, spec, text, operation):
        self.name = f"{name} {operation}"
        self.kernel, self.spec, self.text, self.operation = kernel, spec, text, operation
        self.directory = in_memory_directory()
        self.machine = EmulatedMachine.create(kernel, spec=spec)
        self.world = World(self.machine, self.directory)

    def close(self):
        shutil.rmtree(self.directory)

    @cached_property
    def policies(self):
        return self.world.compile("policy", text=self.text)

    @cached_property
    def start(self):
        """The machine and our files before the operation, and what is to be seen of both."""
        policies = self.policies
        if self.operation != "first":
            self.apply(self.machine, policies)
        if self.operation in ("rollback", "expiry"):
            within = WITHIN if self.operation == "expiry" else None
            self.apply(self.machine, changed(policies), within=within)
        if self.operation == "expiry":
            self.machine.sleep(2 * WITHIN)
        files = {
            path.relative_to(self.directory): path.read_bytes()
            for path in self.directory.rglob("*")
            if path.is_file()
        }
        return json.dumps(self.machine._world.state), files, self.machine._slept

    @cached_property
    def before(self):
        self.begin()
        return self.world.look()

    @cached_property
    def after(self):
        self.begin()
        self.do(self.machine)
        return self.world.look()

    def begin(self):
        """Start in the same state every time."""
        state, files, slept = self.start
        self.machine._world.state.clear()
        self.machine._world.state.update(json.loads(state))
        self.machine._slept = slept
        self.machine.log.clear()
        for each in self.directory.iterdir():
            shutil.rmtree(each) if each.is_dir() else each.unlink()
        for path, data in files.items():
            target = self.directory / path
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            target.write_bytes(data)
            target.chmod(0o600)

    def apply(self, machine, policies, within=None):
        with changing(machine, self.world.places) as session:
            current, plan = prepare(machine, session.managed, policies, policies)
            session.carry_out(current, plan, Terms("t", confirm_within=within))

    def do(self, machine):
        """Do the operation; raises what the command line would tell."""
        if self.operation == "first":
            self.apply(machine, self.policies)
        elif self.operation == "online":
            self.apply(machine, changed(self.policies))
        elif self.operation == "remove":
            self.apply(machine, {})
        elif self.operation == "rollback":
            with changing(machine, self.world.places, settle=True) as session:
                session.roll_back(1, Terms("t"))
        else:
            with changing(machine, self.world.places):
                pass

    def recover(self, machine=None):
        with changing(machine or self.machine, self.world.places, settle=True) as session:
            return session.remarks

    def __repr__(self):
        return self.name


def scenarios():
    """Every policy with every operation."""
    for name, kernel, spec, text in texts():
        for operation in OPERATIONS:
            yield Scenario(name, kernel, spec, text, operation)
