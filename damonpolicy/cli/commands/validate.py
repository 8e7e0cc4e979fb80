"""``damonpolicy validate``."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from damonpolicy.base.diagnostics import Diagnostic
from damonpolicy.base.errors import DamonPolicyError, ExitCode
from damonpolicy.cli.context import Invocation, subcommand
from damonpolicy.cli.options.loading import Named, policies
from damonpolicy.cli.show.output import Result

if TYPE_CHECKING:
    from damonpolicy.kernel.system.machine import Machine
    from damonpolicy.plan.ir import CompiledPolicy
    from damonpolicy.policy.compile.loading import Compiled
    from damonpolicy.policy.compile.policies import Spans


@subcommand("validate", findings=True, kernels=True)
@click.option("--strict", is_flag=True, help="treat warnings as errors")
@policies(required=True, monitor=True)
def command(invocation: Invocation, named: Named, *, strict: bool) -> Result:
    """Check policies: everything that can be known without touching the machine.

    With `--kernel emulated:VERSION` (or $DAMONPOLICY_KERNEL) also whether that kernel can do it;
    with `--kernel live`, whether this one can. With `--machine FILE` or `--root DIR` also whether
    the processes, cgroups and nodes are there that are named.
    """
    from damonpolicy.kernel.damon.capabilities import detect
    from damonpolicy.kernel.damon.tree import snapshot
    from damonpolicy.policy.compile.cache import recalled

    alone = invocation.kernel or os.environ.get("DAMONPOLICY_KERNEL")
    kernels = dict.fromkeys(invocation.kernels or (alone,))
    given = named.read(invocation, None)
    by_kernel: list[list[Diagnostic]] = []
    names: Sequence[str] = ()
    for kernel in kernels:
        machine = _machine(invocation, kernel)
        known = machine if invocation.description or invocation.root else None
        capabilities = None if machine is None else detect(machine, snapshot(machine))
        compiled = recalled(given, known, capabilities, unfed=True, served=True)
        names = compiled.names
        by_kernel.append([*compiled.found] if known is None else _known(known, compiled))
    found = _together(kernels, by_kernel)
    if strict:
        found = [
            Diagnostic.error(each.code, each.span, each.message, hint=each.hint)
            if each.severity == "warning"
            else each
            for each in found
        ]
    errors = [each for each in found if each.severity == "error"]
    code = ExitCode.OK
    if errors:
        unsupported = all(each.unsupported for each in errors)
        code = ExitCode.UNSUPPORTED if unsupported else ExitCode.INVALID
    result = Result(exit_code=code, diagnostics=found, texts=invocation.texts)
    result.data = {"policies": list(names), "errors": len(errors)}
    if not errors:
        many = f"{len(names)} policies are" if len(names) != 1 else f"`{names[0]}` is"
        on = " and ".join(filter(None, kernels))
        result.text = f"{many} valid{f' on {on}' if on else ''}\n"
    return result


def _together(names: Collection[str | None], found: list[list[Diagnostic]]) -> list[Diagnostic]:
    """Merge the findings for several kernels; one that is not on all of them names its kernels."""
    on: dict[Diagnostic, list[str]] = {}
    for kernel, each in zip(names, found, strict=True):
        for diagnostic in dict.fromkeys(each):
            on.setdefault(diagnostic, []).append(kernel or "")
    return [
        each
        if len(where) == len(names)
        else replace(each, message=f"{', '.join(where)}: {each.message}")
        for each, where in on.items()
    ]


def _machine(invocation: Invocation, kernel: str | None) -> Machine | None:
    """Open the named machine, if any; an emulated one as new."""
    if invocation.root is not None:
        return invocation.machine()
    description = invocation.description
    if kernel is None and description is None:
        return None
    from damonpolicy.engine.machines import open_machine

    return open_machine(kernel or "live", None, description, kept=False)


def _known(machine: Machine, compiled: Compiled) -> list[Diagnostic]:
    """Return the findings, those of what the machine lacks instead of warnings at their lines."""
    policies, found = compiled.policies.values(), compiled.found
    absent = [each for policy in policies for each in _absent(policy, machine, compiled.spans)]
    lines = {each.span and each.span.line for each in absent}
    waits = [each for each in found[compiled.read :] if each.severity != "warning" or not each.span
             or each.span.line not in lines]  # fmt: skip
    return [*found[: compiled.read], *waits, *absent]


def _absent(policy: CompiledPolicy, machine: Machine, spans: Spans) -> Iterator[Diagnostic]:
    """Yield what a policy names and the machine lacks."""
    from damonpolicy.plan.bind import bind
    from damonpolicy.policy.compile.loading import place

    for kdamond in policy.kdamonds:
        try:
            bind(kdamond, machine)
        except DamonPolicyError as error:
            for each in (error, *error.also):
                yield Diagnostic.error(each.code, place(each, spans), each.message, hint=each.hint)
