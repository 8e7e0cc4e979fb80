"""``damonpolicy apply``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from damonpolicy.base import bounded_io, trust
from damonpolicy.base.diagnostics import Diagnostic
from damonpolicy.base.errors import DamonPolicyError, UsageError, reason_of
from damonpolicy.base.recursion import deep
from damonpolicy.cli.context import Invocation, subcommand
from damonpolicy.cli.options.confirmation import confirmation, terms
from damonpolicy.cli.options.loading import Named, compiled_before, policies
from damonpolicy.cli.show.output import Result
from damonpolicy.cli.show.preview import done
from damonpolicy.engine.prepare import prepare
from damonpolicy.engine.session import Session, changing
from damonpolicy.engine.transaction import FeatureRefused, Terms
from damonpolicy.kernel.damon.capabilities import detect
from damonpolicy.plan import saved
from damonpolicy.plan.machine_state import Current, retrieve
from damonpolicy.plan.plan import Plan

if TYPE_CHECKING:
    from damonpolicy.policy.compile.loading import Source


@subcommand("apply")
@click.option(
    "--plan",
    "plan_file",
    type=click.Path(),
    metavar="FILE",
    help="apply a saved plan, and nothing else",
)
@click.option("--boot", is_flag=True, help="restore the confirmed generation after a boot")
@click.option("--confirm-within", metavar="TIME", help="roll back unless confirmed in time")
@click.option("--prune", is_flag=True, help="end policies that are not given")
@click.option("--takeover", is_flag=True, help="allow taking over someone else's slots")
@click.option("--unfed", is_flag=True, help="allow goals that nothing feeds")
@click.option("--wait", is_flag=True, help="wait while another damonpolicy changes the machine")
@policies(monitor=True)
def command(invocation: Invocation, named: Named, /, **options: Any) -> Result:
    """Bring the machine under policies: everything, or nothing.

    Policies that are not named stay as they are. A running kdamond is changed online, so that its
    results stay. Whatever fails, the machine is put back as it was.
    """
    if bool(named.paths) + (options["plan_file"] is not None) + options["boot"] != 1:
        hint = "`damonpolicy apply --help` shows more"
        raise UsageError("`apply` takes either policies, `--plan FILE` or `--boot`", hint=hint)
    within = confirmation(options["confirm_within"])
    machine, places = invocation.machine(), invocation.places()
    with changing(machine, places, wait=options["wait"]) as session:
        if options["plan_file"] is not None:
            return _saved(invocation, session, options["plan_file"], within)
        return _policies(invocation, session, named, options, within)


def _reason(named: Named, options: dict[str, Any]) -> str:
    """Return the part of the command line that decides what is applied."""
    words = ["apply", *named.paths]
    words += [word for each in named.variables for word in ("--vars-file", each)]
    words += [word for each in named.settings for word in ("--set", each)]
    flags = {**options, "monitor": named.monitor}
    words += [f"--{name}" for name in ("prune", "takeover", "unfed", "monitor") if flags[name]]
    return " ".join(words)


def _policies(
    invocation: Invocation,
    session: Session,
    named: Named,
    options: dict[str, Any],
    within: float | None,
) -> Result:
    from damonpolicy.policy.compile.cache import recalled
    from damonpolicy.policy.compile.loading import compile_on, located, refuse, wanted

    machine = invocation.machine()
    capabilities = detect(machine, retrieve(machine).tree)
    if options["boot"]:
        sources = _at_boot(invocation, session)
        if not sources:
            return Result(text="nothing was confirmed before this boot\n", data=None)
        reason = f"boot of generation {session.store.confirmed()}"
    else:
        given = named.read(invocation, machine)
        reason = _reason(named, options)
    while True:
        if options["boot"]:
            # a confirmed generation may be unfed: whoever applied it said so
            compiled = compile_on(sources, machine, capabilities, unfed=True)
        else:
            compiled = recalled(given, machine, capabilities, unfed=options["unfed"])
            refuse(compiled.found)
        # pruning by hand leaves the service's policies
        without = "hand" if options["prune"] else ""
        now = wanted(session.managed, compiled.policies, without=without)
        with located(compiled.spans):
            current, plan = prepare(
                machine, session.managed, now, compiled.policies, takeover=options["takeover"]
            )
        try:
            with located(compiled.spans):
                how = terms(invocation, reason, within, capabilities)
                result = _execute(invocation, session, current, plan, how, compiled.found)
        except FeatureRefused as refused:
            # the attempt has shown that the feature is missing: optional parts can be left out
            capabilities = refused.capabilities
        else:
            if result.changed and compiled.anew:
                # and now with the settings as they are: so the next apply need not compile
                with suppress(DamonPolicyError, OSError):
                    known = capabilities.learned(machine)
                    recalled(given, machine, known, unfed=options["unfed"])
            return result


def _at_boot(invocation: Invocation, session: Session) -> list[Source]:
    """Read the confirmed generation again, because the kernel may have changed.

    Each policy is read by itself: the same variable may differ between two of them.
    """
    from damonpolicy.policy.compile.loading import Source
    from damonpolicy.policy.compile.policies import Overrides, load
    from damonpolicy.policy.source.files import SourceFile

    number = session.store.confirmed()
    sources = []
    for policy in session.store.generation(number).policies.values():
        file = SourceFile(f"generation {number}: {policy.name}", policy.source)
        overrides = Overrides(policy.variables, monitor=policy.monitored)
        loaded = load([file], overrides, machine=invocation.machine())
        invocation.texts.update(loaded.texts)
        sources.append(Source(loaded, policy.owner))
    return sources


def _saved(invocation: Invocation, session: Session, name: str, within: float | None) -> Result:
    keepers = trust.by_hand() if trust.guarded(session.machine.name) else None
    try:
        with deep():
            data = json.loads(bounded_io.text(Path(name), keepers=keepers))
    except (OSError, ValueError, RecursionError) as error:
        reason = reason_of(error) if isinstance(error, OSError) else "it is not JSON"
        hint = "make one with `damonpolicy plan --out FILE`"
        raise UsageError(f"cannot read the plan `{name}`: {reason}", hint=hint) from error
    plan, known = saved.from_json(data if isinstance(data, dict) else {}, name)
    machine = invocation.machine()
    capabilities = detect(machine, retrieve(machine).tree)
    current, now = prepare(
        machine, session.managed, plan.policies, plan.affected, takeover=plan.takeover
    )
    saved.refuse_stale(plan, known, now, capabilities.digest)
    with compiled_before(invocation, lambda: plan.policies):
        how = terms(invocation, f"apply --plan {name}", within, capabilities)
        return _execute(invocation, session, current, now, how)


def _execute(
    invocation: Invocation,
    session: Session,
    current: Current,
    plan: Plan,
    how: Terms,
    found: Sequence[Diagnostic] = (),
) -> Result:
    changes, before = plan.changes(session.managed), session.managed.policies
    if changes:
        session.carry_out(current, plan, how)
    both = before.keys() & plan.policies
    taken = any(before[name].owner != plan.policies[name].owner for name in both)
    within, what = how.confirm_within, "Applied and verified"
    result = done(session, plan, what, changed=changes, within=within, served=taken)
    result.diagnostics, result.texts = found, invocation.texts
    return result
