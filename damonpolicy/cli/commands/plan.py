"""``damonpolicy plan``."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from damonpolicy.base.errors import DamonPolicyError, UsageError
from damonpolicy.cli.context import Invocation, subcommand
from damonpolicy.cli.options import names
from damonpolicy.cli.options.loading import Named, policies
from damonpolicy.cli.show.output import Result, write_file
from damonpolicy.cli.show.preview import (
    back,
    known,
    looked_at,
    previewed,
    shown,
    unsettled,
    without,
)
from damonpolicy.engine.prepare import prepare
from damonpolicy.kernel.damon.capabilities import detect
from damonpolicy.plan import saved
from damonpolicy.plan.machine_state import retrieve


@subcommand("plan")
@click.option(
    "--remove",
    "removed",
    multiple=True,
    metavar="NAME",
    shell_complete=names.policies,
    help="what `remove NAME` would do",
)
@click.option(
    "--rollback",
    "generation",
    type=click.IntRange(min=0),
    metavar="GENERATION",
    shell_complete=names.generations,
    help="what `rollback GENERATION` would do",
)
@click.option(
    "--out", type=click.Path(), metavar="FILE", help="save the plan for `apply --plan FILE`"
)
@click.option("--prune", is_flag=True, help="end policies that are not given")
@click.option("--takeover", is_flag=True, help="allow taking over someone else's slots")
@click.option("--unfed", is_flag=True, help="allow goals that nothing feeds")
@click.option("--served", is_flag=True, help="what the service would do, which feeds and follows")
@policies(monitor=True)
def command(
    invocation: Invocation, named: Named, /, generation: int | None, **options: Any
) -> Result:
    """Show what `apply` would do, as a diff; writes nothing to the machine.

    Exits with 0 where nothing would change, with 2 where something would. Policies that a running
    service follows are planned as it would apply them.
    """
    removed = options["removed"]
    if bool(named.paths) + bool(removed) + (generation is not None) != 1:
        message = "`plan` takes either policies, `--remove NAME` or `--rollback GENERATION`"
        raise UsageError(message, hint="`damonpolicy plan ksm.yaml` plans a policy")
    if named.paths:
        return _policies(invocation, named, options)
    if options["out"] is not None:
        raise UsageError("only a plan of policies can be saved", hint="leave `--out` out")
    if generation is None:
        return previewed(invocation, lambda session: without(session, removed))
    return previewed(invocation, lambda session: back(session, known(session, generation)))


def _policies(invocation: Invocation, named: Named, options: Mapping[str, Any]) -> Result:
    from damonpolicy.plan.loops import carried
    from damonpolicy.policy.compile.cache import recalled
    from damonpolicy.policy.compile.loading import located, refuse, wanted

    machine = invocation.machine()
    given = named.read(invocation, machine)
    capabilities = detect(machine, retrieve(machine).tree)
    owner = _service_of(invocation, named.paths, asked=options["served"])
    served = bool(owner)
    compiled = recalled(
        given, machine, capabilities, owner=owner or "hand", unfed=options["unfed"], served=served
    )
    refuse(compiled.found)
    session, remembered = looked_at(invocation)
    managed = session.managed
    now = compiled.policies
    if served:
        now = {name: carried(managed.policies.get(name), each) for name, each in now.items()}
    ends = "hand" if options["prune"] else owner if owner == _owner(named.paths) else ""
    wished = wanted(managed, now, without=ends)
    with located(compiled.spans):
        _, plan = prepare(machine, managed, wished, now, takeover=options["takeover"], waits=served)
    if options["out"] is not None:
        if served:
            hint = "leave `--out` out: the service applies its files by itself"
            raise UsageError("a plan of the service's cannot be applied by hand", hint=hint)
        data = saved.to_json(plan, capabilities.digest)
        write_file(Path(options["out"]), json.dumps(data, indent=1) + "\n", 0o600)
    result = shown(plan, managed, [*compiled.found, *unsettled(remembered, session)])
    if served and not options["served"]:
        result.text += "note: a service follows these files: this is what it would do\n"
    result.texts = invocation.texts
    return result


def _owner(paths: Sequence[str]) -> str:
    """Return the owner of a service's policies, as `daemon.jobs.reload` names it."""
    return f"service:{','.join(paths)}"


def _service_of(invocation: Invocation, paths: Sequence[str], *, asked: bool) -> str:
    """Return the owner of what a running service, or on request a future one, follows."""
    from damonpolicy.cli.service import served

    with suppress(DamonPolicyError):  # `status` reports what is wrong with it
        service = served(invocation.machine(), invocation.places())
        if service is not None and service["running"]:
            followed = [os.path.realpath(each) for each in service["paths"]]
            given = [os.path.realpath(each) for each in paths]
            if all(each in followed or os.path.dirname(each) in followed for each in given):
                return _owner(service["paths"])
    return _owner(paths) if asked else ""
