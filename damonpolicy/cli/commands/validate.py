"""``damonpolicy validate``."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
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
    from damonpolicy.policy.compile.policies import Loaded, Spans


@subcommand("validate", findings=True, kernels=True)
@click.option("--strict", is_flag=True, help="treat warnings as errors")
@policies(required=True, monitor=True)
def command(invocation: Invocation, named: Named, *, strict: bool) -> Result:
    """Check policies: everything that can be known without touching the machine.

    With `--kernel emulated:VERSION` (or $DAMONPOLICY_KERNEL) also whether that kernel can do it;
    with `--kernel live`, whether this one can. With `--machine FILE` or `--root DIR` also whether
    the processes, cgroups and nodes are there that are named.
    """
    kernels = invocation.kernels or (_named(invocation),)
    by_kernel: list[list[Diagnostic]] = []
    loaded: Loaded | None = None
    for kernel in dict.fromkeys(kernels):
        machine = _machine(invocation, kernel)
        known = machine if invocation.description or invocation.root else None
        if loaded is None or known is not None:  # standard input can be read only once
            loaded = named.read(invocation, known)
        by_kernel.append([*loaded.found, *_for_kernel(machine, known, loaded)])
    assert loaded is not None
    found = _together(dict.fromkeys(kernels), by_kernel)
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
    names = [name for read, _ in loaded.reads if (name := read.policy.known("name"))]
    result = Result(exit_code=code, diagnostics=found, texts=invocation.texts)
    result.data = {"policies": names, "errors": len(errors)}
    if not errors:
        many = f"{len(names)} policies are" if len(names) != 1 else f"`{names[0]}` is"
        on = " and ".join(filter(None, dict.fromkeys(kernels)))
        result.text = f"{many} valid{f' on {on}' if on else ''}\n"
    return result


def _named(invocation: Invocation) -> str | None:
    return invocation.kernel or os.environ.get("DAMONPOLICY_KERNEL")


def _together(kernels: Iterable[str | None], found: list[list[Diagnostic]]) -> list[Diagnostic]:
    """Merge the findings for several kernels; one that is not on all of them names its kernels."""
    names = list(kernels)
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


def _for_kernel(machine: Machine | None, known: Machine | None, loaded: Loaded) -> list[Diagnostic]:
    """Check against the named kernel, if any, and against the content of a known machine."""
    if machine is None:
        return []
    from damonpolicy.kernel.damon.capabilities import detect
    from damonpolicy.kernel.damon.tree import snapshot
    from damonpolicy.policy.compile.policies import Upkeep, compile_policies

    capabilities = detect(machine, snapshot(machine))
    spans: Spans = {}
    upkeep = Upkeep(unfed=True, served=True)
    compiled, found = compile_policies(loaded, capabilities, known, upkeep, spans)
    if known is None:
        return found
    absent = [each for policy in compiled.values() for each in _absent(policy, known, spans)]
    lines = {each.span and each.span.line for each in absent}
    waits = [each for each in found if each.severity != "warning" or not each.span
             or each.span.line not in lines]  # fmt: skip
    return [*waits, *absent]


def _absent(policy: CompiledPolicy, machine: Machine, spans: Spans) -> Iterator[Diagnostic]:
    """Yield what a policy names and the machine lacks."""
    from damonpolicy.plan.bind import bind
    from damonpolicy.policy.compile.policies import place

    for kdamond in policy.kdamonds:
        try:
            bind(kdamond, machine)
        except DamonPolicyError as error:
            for each in (error, *error.also):
                yield Diagnostic.error(each.code, place(each, spans), each.message, hint=each.hint)
