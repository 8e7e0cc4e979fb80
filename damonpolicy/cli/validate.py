"""``damonpolicy validate``."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from damonpolicy.cli.invocation import Invocation, common, pass_invocation
from damonpolicy.cli.loading import monitor_option, policy_options, read
from damonpolicy.cli.output import Result
from damonpolicy.diagnostics import Diagnostic
from damonpolicy.errors import DamonPolicyError, ExitCode

if TYPE_CHECKING:
    from damonpolicy.kernel.sysfs import Machine
    from damonpolicy.plan.compiled import CompiledPolicy
    from damonpolicy.plan.policies import Loaded, Spans


@click.command("validate")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...", type=click.Path())
@click.option("--strict", is_flag=True, help="treat warnings as errors")
@policy_options
@monitor_option
@functools.partial(common, findings=True)
@pass_invocation
def command(
    invocation: Invocation,
    paths: Sequence[str],
    settings: Sequence[str],
    variables: Sequence[str],
    *,
    monitor: bool,
    strict: bool,
) -> Result:
    """Check policies: everything that can be known without touching the machine.

    With `--kernel emulated:VERSION` (or $DAMONPOLICY_KERNEL) also whether that kernel can do it;
    with `--kernel live`, whether this one can. With `--machine FILE` or `--root DIR` also whether
    the processes, cgroups and nodes are there that are named.
    """
    machine = _machine(invocation)
    known = machine if invocation.machine_file or invocation.root else None
    loaded = read(invocation, paths, settings, variables, known, monitor=monitor)
    found = [*loaded.found, *_for_kernel(machine, known, loaded)]
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
        kernel = _named(invocation)
        result.text = f"{many} valid{f' on {kernel}' if kernel else ''}\n"
    return result


def _named(invocation: Invocation) -> str | None:
    return invocation.kernel or os.environ.get("DAMONPOLICY_KERNEL")


def _machine(invocation: Invocation) -> Machine | None:
    """Open the machine that is named, if one is; an emulated one as new."""
    kernel = _named(invocation)
    if invocation.root is not None:
        return invocation.machine()
    description = Path(invocation.machine_file) if invocation.machine_file else None
    if kernel is None and description is None:
        return None
    from damonpolicy.engine.machines import open_machine

    return open_machine(kernel or "live", None, description, kept=False)


def _for_kernel(machine: Machine | None, known: Machine | None, loaded: Loaded) -> list[Diagnostic]:
    """Check against a kernel, if one was named; against what is on the machine where it is known."""
    if machine is None:
        return []
    from damonpolicy.kernel.capabilities import detect
    from damonpolicy.kernel.tree import snapshot
    from damonpolicy.plan.policies import compile_policies

    capabilities = detect(machine, snapshot(machine))
    spans: Spans = {}
    policies, found = compile_policies(
        loaded, capabilities, known, unfed=True, served=True, spans=spans
    )
    if known is None:
        return found
    absent = [each for policy in policies.values() for each in _absent(policy, known, spans)]
    lines = {each.span and each.span.line for each in absent}
    waits = [each for each in found if each.severity != "warning" or not each.span
             or each.span.line not in lines]  # fmt: skip
    return [*waits, *absent]


def _absent(policy: CompiledPolicy, machine: Machine, spans: Spans) -> Iterator[Diagnostic]:
    """Yield what a policy names and the machine lacks."""
    from damonpolicy.plan.bind import bind
    from damonpolicy.plan.policies import place

    for kdamond in policy.kdamonds:
        try:
            bind(kdamond, machine)
        except DamonPolicyError as error:
            for each in (error, *error.also):
                yield Diagnostic.error(each.code, place(each, spans), each.message, hint=each.hint)
