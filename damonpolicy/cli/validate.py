"""``damonpolicy validate``."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence

import click

from damonpolicy.cli.invocation import Invocation, common, pass_invocation
from damonpolicy.cli.loading import monitor_option, policy_options, read
from damonpolicy.cli.output import Result
from damonpolicy.diagnostics import Diagnostic
from damonpolicy.errors import ExitCode


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
    with `--kernel live`, whether this one can.
    """
    loaded = read(invocation, paths, settings, variables, None, monitor=monitor)
    found = [*loaded.found, *_for_kernel(invocation, loaded)]
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


def _for_kernel(invocation: Invocation, loaded: object) -> list[Diagnostic]:
    """Check against a kernel, if one was named."""
    from damonpolicy.plan.policies import Loaded, compile_policies

    assert isinstance(loaded, Loaded)
    kernel = _named(invocation)
    if kernel is None:
        return []
    from damonpolicy.engine.machines import open_machine
    from damonpolicy.kernel.capabilities import detect
    from damonpolicy.kernel.tree import snapshot

    machine = open_machine(kernel, kept=False)
    capabilities = detect(machine, snapshot(machine))
    return compile_policies(loaded, capabilities, None, unfed=True, served=True)[1]
