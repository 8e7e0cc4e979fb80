"""Policies from the command line: options, reading, compiling, refusing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from damonpolicy.diagnostics import Diagnostic
from damonpolicy.errors import KernelLacks, PolicyInvalid

if TYPE_CHECKING:
    from damonpolicy.cli.invocation import Invocation
    from damonpolicy.kernel.capabilities import Capabilities
    from damonpolicy.kernel.sysfs import Machine
    from damonpolicy.plan.compiled import CompiledPolicy
    from damonpolicy.plan.managed import Managed
    from damonpolicy.plan.policies import Loaded

__all__ = ("Compiled", "Source", "compile_on", "policy_options", "read", "refuse", "wanted")


def policy_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that change what a policy says."""
    function = click.option(
        "--set", "settings", multiple=True, metavar="NAME=VALUE", help="override a variable"
    )(function)
    return click.option(
        "--vars-file",
        "variables",
        multiple=True,
        type=click.Path(),
        metavar="FILE",
        help="override variables",
    )(function)


@dataclass(frozen=True, slots=True)
class Source:
    """Policies that share their overrides, and whom they belong to."""

    loaded: Loaded
    owner: str = "hand"


@dataclass(frozen=True, slots=True)
class Compiled:
    """Policies for one kernel, and what was found short of an error."""

    policies: dict[str, CompiledPolicy]
    found: list[Diagnostic]


def read(
    invocation: Invocation,
    paths: Sequence[str],
    settings: Sequence[str],
    variables: Sequence[str],
    machine: Machine | None,
) -> Loaded:
    """Read policies; their errors are in the result."""
    from damonpolicy.plan.policies import Overrides, load
    from damonpolicy.source.files import load as load_files

    files, found = load_files(paths)
    variable_files, missing = load_files(variables)
    overrides, wrong = Overrides.read(variable_files, settings)
    loaded = load(files, overrides, machine=machine, found=[*found, *missing, *wrong])
    invocation.texts.update(loaded.texts)
    invocation.texts.update({file.name: file.text for file in variable_files})
    return loaded


def refuse(found: Sequence[Diagnostic]) -> None:
    """Raise where there are errors: KernelLacks if the kernel is all that is wrong."""
    errors = [each for each in found if each.severity == "error"]
    if not errors:
        return
    if all(each.unsupported for each in errors):
        raise KernelLacks(diagnostics=found)
    raise PolicyInvalid(diagnostics=found)


def compile_on(
    sources: Sequence[Source], machine: Machine, capabilities: Capabilities, *, unfed: bool
) -> Compiled:
    """Compile for a machine; raises where anything is wrong with the policies on it."""
    from damonpolicy.plan.policies import compile_policies

    everything = [each for source in sources for each in source.loaded.found]
    refuse(everything)
    policies: dict[str, CompiledPolicy] = {}
    for source in sources:
        compiled, found = compile_policies(
            source.loaded, capabilities, machine, owner=source.owner, unfed=unfed
        )
        policies |= compiled
        everything += found
    refuse(everything)
    return Compiled(policies, everything)


def wanted(managed: Managed, compiled: Compiled, *, prune: bool) -> dict[str, CompiledPolicy]:
    """Return the set that is to be managed; pruning by hand leaves the service's policies."""
    kept = {
        name: policy
        for name, policy in managed.policies.items()
        if not prune or policy.owner != "hand"
    }
    return {**kept, **compiled.policies}
