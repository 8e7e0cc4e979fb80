"""Tests of your own policies, on emulated kernels: nothing real is touched.

Everything in ``__all__`` is public. With pytest::

    from pathlib import Path
    from damonpolicy.testing import Host, check

    def test_our_kernels_can_do_it():
        assert check(Path("cold.yaml"), kernel="6.12").errors == ()

    def test_a_host_gets_it(tmp_path):
        host = Host("7.3", tmp_path)
        host.apply(Path("cold.yaml"), {"cold_for": "5m"})
        assert host.files("cold/idle")["contexts/0/schemes/0/action"] == "pageout"
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from damonpolicy.base.diagnostics import Diagnostic, render_text
from damonpolicy.base.errors import DamonPolicyError
from damonpolicy.engine.machines import open_machine
from damonpolicy.engine.prepare import prepare
from damonpolicy.engine.session import changing
from damonpolicy.engine.state_directory import find
from damonpolicy.engine.transaction import Terms
from damonpolicy.kernel.damon.capabilities import detect
from damonpolicy.kernel.damon.features import NEWEST
from damonpolicy.kernel.damon.tree import slot_tree, snapshot
from damonpolicy.kernel.system.machine import Machine
from damonpolicy.policy.compile import loading
from damonpolicy.policy.compile.policies import Loaded, Overrides, Upkeep, compile_policies, load
from damonpolicy.policy.source import files

__all__ = ("Checked", "DamonPolicyError", "Diagnostic", "Host", "check")

Policy: TypeAlias = str | Path
"""The text of a policy, or its file."""
Variables: TypeAlias = Mapping[str, str] | None


@dataclass(frozen=True, slots=True)
class Checked:
    """The findings, and the files of each ``POLICY/KDAMOND``, without targets and filters."""

    findings: tuple[Diagnostic, ...]
    files: Mapping[str, Mapping[str, str]]
    settings: Mapping[str, str]

    @property
    def errors(self) -> tuple[Diagnostic, ...]:
        """The findings that make `damonpolicy validate` fail."""
        return tuple(each for each in self.findings if each.severity == "error")


class Host:
    """An emulated machine on which policies are applied as `damonpolicy apply` does it.

    ``state`` is an empty directory, such as pytest's ``tmp_path``; ``description`` a machine file.
    """

    def __init__(self, kernel: str, state: Path, description: Path | None = None) -> None:
        self._machine = open_machine(f"emulated:{kernel}", None, description, kept=False)
        self._places = find(self._machine, state)

    def apply(self, policy: Policy, variables: Variables = None) -> None:
        """Apply a policy. Raises DamonPolicyError; the machine is then as before."""
        machine = self._machine
        loaded = _loaded(policy, variables, machine)
        capabilities = detect(machine, snapshot(machine))
        try:
            with changing(machine, self._places) as session:
                compiled = loading.compile_on([loading.Source(loaded)], machine, capabilities)
                policies = loading.wanted(session.managed, compiled.policies)
                with loading.located(compiled.spans):
                    planned = prepare(machine, session.managed, policies, compiled.policies)
                    session.carry_out(*planned, Terms("test", capabilities=capabilities))
        except DamonPolicyError as error:
            error.add_note(render_text(error.diagnostics, loaded.texts))
            raise

    def files(self, kdamond: str) -> Mapping[str, str]:
        """Return the files of an applied ``POLICY/KDAMOND``, by the path below its directory."""
        with changing(self._machine, self._places) as session:
            slots = {each.kdamond: slot for slot, each in session.managed.slots.items()}
        return slot_tree(snapshot(self._machine), slots[kdamond])

    def read(self, path: str) -> str:
        """Read a file of the machine, such as a setting; raises OSError as the kernel would."""
        return self._machine.read(path).removesuffix("\n")


def check(policy: Policy, variables: Variables = None, *, kernel: str = NEWEST) -> Checked:
    """Check a policy for one kernel, as `damonpolicy validate --kernel` does it."""
    machine = open_machine(f"emulated:{kernel}", kept=False)
    loaded = _loaded(policy, variables, None)
    upkeep = Upkeep(unfed=True, served=True)
    capabilities = detect(machine, snapshot(machine))
    policies, found = compile_policies(loaded, capabilities, None, upkeep)
    kdamonds = [each for name in policies for each in policies[name].kdamonds]
    return Checked(
        findings=(*loaded.found, *found),
        files={each.full_name: each.files for each in kdamonds},
        settings={k: v for each in policies.values() for k, v in each.settings.items()},
    )


def _loaded(policy: Policy, variables: Variables, machine: Machine | None) -> Loaded:
    found: list[Diagnostic] = []
    if isinstance(policy, Path):
        sources, found = files.load([str(policy)])
    else:
        sources = [files.SourceFile("<policy>", policy)]
    overrides = Overrides(variables or {}, frozenset(variables or ()))
    return load(sources, overrides, machine=machine, found=found)
