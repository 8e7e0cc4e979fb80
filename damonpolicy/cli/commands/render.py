"""``damonpolicy render``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from damonpolicy.base.errors import UsageError
from damonpolicy.cli.context import Invocation, subcommand
from damonpolicy.cli.options.loading import Named, policies
from damonpolicy.cli.show.output import Result

if TYPE_CHECKING:
    from damonpolicy.kernel.system.machine import Machine
    from damonpolicy.plan.bind import Bound
    from damonpolicy.plan.ir import CompiledPolicy


@subcommand("render")
@click.option("--script", is_flag=True, help="as a shell script, as without an option")
@click.option("--cmdline", is_flag=True, help="as parameters of the kernel")
@click.option("--unfed", is_flag=True, help="allow goals that nothing feeds")
@policies(required=True)
def command(
    invocation: Invocation, named: Named, *, script: bool, cmdline: bool, unfed: bool
) -> Result:
    """Print policies in a form that needs no damonpolicy, as for an image or an initramfs.

    A script has a line `echo VALUE > FILE` for each write, for a machine like this one on which
    no kdamond is configured. The kernel's command line has room for modules and sysctls only.
    Nothing of it is verified or undone; `damonpolicy import` reads both again.
    """
    from damonpolicy.kernel.damon.capabilities import detect
    from damonpolicy.kernel.damon.modules import watched
    from damonpolicy.plan import deployment
    from damonpolicy.plan.machine_state import retrieve
    from damonpolicy.policy.compile.cache import recalled
    from damonpolicy.policy.compile.loading import located, refuse

    if script and cmdline:
        raise UsageError("`render` makes a script or parameters", hint="take one of the options")
    machine = invocation.machine()
    given = named.read(invocation, machine)
    capabilities = detect(machine, retrieve(machine).tree)
    compiled = recalled(given, machine, capabilities, unfed=unfed)
    refuse(compiled.found)
    files = {path for policy in compiled.policies.values() for path in policy.settings}
    current = retrieve(machine, files | watched(files))
    with located(compiled.spans):
        if cmdline:
            text = deployment.cmdline(compiled.policies, current)
        else:
            text = deployment.script(compiled.policies, _bound(compiled.policies, machine), current)
    return Result(
        text,
        {"cmdline" if cmdline else "script": text},
        raw=True,
        diagnostics=compiled.found,
        texts=invocation.texts,
    )


def _bound(policies: Mapping[str, CompiledPolicy], machine: Machine) -> dict[str, Bound]:
    from damonpolicy.plan.bind import Waits, bind

    found: dict[str, Bound] = {}
    for kdamond in (each for policy in policies.values() for each in policy.kdamonds):
        if kdamond.ops != "paddr":
            message = f"`{kdamond.full_name}` monitors processes, whose pids a script cannot know"
            raise UsageError(message, hint="`damonpolicy run` follows them")
        bound = bind(kdamond, machine)
        if isinstance(bound, Waits):
            message = f"`{kdamond.full_name}` waits for {bound.what}, which a script cannot do"
            raise UsageError(message, hint="`damonpolicy run` waits")
        found[kdamond.full_name] = bound
    return found
