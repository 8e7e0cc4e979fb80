"""Transactions in which one operation fails by a real error: `apply_spoiled`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from damonpolicy.engine.prepare import prepare
from damonpolicy.engine.session import changing
from damonpolicy.engine.state_directory import find
from damonpolicy.engine.transaction import Terms, execute
from damonpolicy.kernel.damon.capabilities import detect
from damonpolicy.kernel.system.machine import LiveMachine
from damonpolicy.plan.ir import CompiledPolicy
from damonpolicy.plan.machine_state import retrieve
from damonpolicy.policy.compile.policies import Overrides, compile_policies, load
from damonpolicy.policy.source.files import SourceFile

__all__ = ("apply_spoiled", "compiled")


def compiled(
    files: Sequence[SourceFile], variables: dict[str, str] | None = None
) -> dict[str, CompiledPolicy]:
    """Compile policies for this kernel."""
    machine = LiveMachine()
    loaded = load(files, Overrides(variables or {}), machine=machine)
    policies, _ = compile_policies(loaded, detect(machine, retrieve(machine).tree), machine)
    return policies


def apply_spoiled(policies: dict[str, CompiledPolicy], index: int) -> int:
    """Apply, but let one operation write what the kernel itself refuses; returns how many."""
    machine = LiveMachine()
    with changing(machine, find(machine, None)) as session:
        wanted = {**session.managed.policies, **policies}
        current, plan = prepare(machine, session.managed, wanted, policies)
        operations = list(plan.operations)
        if index < len(operations):
            # no file of DAMON and no setting takes this word, and no command is called so
            operations[index] = replace(operations[index], after="-x-")
        changed = replace(plan, operations=tuple(operations))
        execute(machine, current, changed, session.managed, session.store, Terms("test"))
        return len(operations)
