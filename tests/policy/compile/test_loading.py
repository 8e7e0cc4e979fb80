"""Errors found only while planning have their place in the policy."""

from __future__ import annotations

import pytest

from damonpolicy.base.errors import DamonPolicyError
from damonpolicy.emulated.machine import EmulatedMachine
from damonpolicy.kernel.damon.capabilities import detect
from damonpolicy.plan.bind import Absent, bind
from damonpolicy.plan.machine_state import retrieve
from damonpolicy.policy.compile.loading import Source, compile_on, located
from damonpolicy.policy.compile.policies import Overrides, compile_policies, load
from damonpolicy.policy.source.files import SourceFile

TEXT = """\
version: 1
name: p
kdamonds:
  - name: k
    ops: paddr
    targets: [{system_ram: true}]
    schemes:
      - name: s
        action: stat
        filters:
          - allow: {memcg: /system.slice/nginx.service}
"""


def test_a_cgroup_that_goes_between_the_rules_and_binding():
    machine = EmulatedMachine.create("7.3")
    loaded = load([SourceFile("p.yaml", TEXT)], Overrides(), machine=machine)
    compiled = compile_on([Source(loaded)], machine, detect(machine, retrieve(machine).tree))
    machine.exit_process(530)
    machine.remove_cgroup("/system.slice/nginx.service")

    with pytest.raises(Absent) as caught, located(compiled.spans):
        bind(compiled.policies["p"].kdamonds[0], machine)

    (told,) = caught.value.diagnostics
    assert (str(told.span), caught.value.message) == ("p.yaml:10:9", "")
    assert "nginx.service` is gone" in told.message


def test_a_wrong_operation_set_is_a_mistake_of_the_policy_and_no_defect():
    machine = EmulatedMachine.create("7.3")
    text = TEXT.replace("ops: paddr", "ops: everything")
    loaded = load([SourceFile("p.yaml", text)], Overrides(), machine=machine)

    policies, _ = compile_policies(loaded, detect(machine, retrieve(machine).tree), machine)

    assert [each.code for each in loaded.found] == ["DP0104"]
    assert policies == {}


def test_what_is_about_no_part_stays_as_it_is():
    with pytest.raises(DamonPolicyError) as caught, located({}):
        raise DamonPolicyError("the machine is on fire")

    assert (caught.value.message, caught.value.diagnostics) == ("the machine is on fire", ())
