"""Previews of a change: for `plan`, and for `--dry-run` of other commands."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import click

from damonpolicy.base.diagnostics import Diagnostic, did_you_mean
from damonpolicy.base.errors import ExitCode, UsageError
from damonpolicy.cli.context import Invocation
from damonpolicy.cli.show.output import Result, notes
from damonpolicy.engine.prepare import prepare
from damonpolicy.engine.session import Session
from damonpolicy.engine.store import NoGeneration, Store
from damonpolicy.kernel.system.host import look
from damonpolicy.observe.status.stored_state import CONFIRM, Remembered, overdue, warning
from damonpolicy.plan.ir import CompiledPolicy
from damonpolicy.plan.plan import Plan
from damonpolicy.plan.show import render
from damonpolicy.plan.state import Managed

__all__ = ("back", "done", "dry_run", "known", "looked_at", "previewed", "shown", "unsettled",
           "without")  # fmt: skip

Policies = Mapping[str, CompiledPolicy]
Chosen = tuple[Policies, Iterable[str], Sequence[Diagnostic]]
"""Policies to manage, those that this is about, and what was found when they were chosen."""


dry_run = click.option(
    "--dry-run", is_flag=True, help="only show what would be done: 0 is nothing, 2 is something"
)
"""Adds ``--dry-run`` to a command that changes the machine."""


def looked_at(invocation: Invocation) -> tuple[Session, Remembered]:
    """Return the managed set without holding the machine, and the readable part of the machine."""
    machine, store = invocation.machine(), Store(invocation.places())
    remembered = Remembered(store)
    return Session(machine, store, remembered.managed(look(machine).boot_id)), remembered


def previewed(invocation: Invocation, choose: Callable[[Session], Chosen]) -> Result:
    """Show the plan to manage exactly the chosen policies."""
    session, remembered = looked_at(invocation)
    policies, affected, found = choose(session)
    _, plan = prepare(session.machine, session.managed, policies, affected)
    result = shown(plan, session.managed, [*unsettled(remembered, session), *found])
    result.texts = invocation.texts
    return result


def shown(plan: Plan, managed: Managed, found: Iterable[Diagnostic]) -> Result:
    """Return a plan as the result of a command that only shows it."""
    changes = plan.changes(managed)
    return Result(
        text=render.render(plan, changes=changes),
        data=render.to_json(plan),
        exit_code=ExitCode.CHANGES if changes else ExitCode.OK,
        changed=changes,
        diagnostics=tuple(found),
    )


def done(
    session: Session,
    plan: Plan,
    what: str,
    *,
    changed: bool,
    within: float | None = None,
    served: bool = False,
) -> Result:
    """Return a plan that was carried out as a result; ``what`` says so if anything changed.

    It tells the deadline ``within`` which it has to be confirmed, and if asked for the service.
    """
    text = notes(session) + render.render(plan, changes=changed)
    number = session.managed.generation
    if changed:
        text += f"\n{what} as generation {number}.\n"
    if changed and within is not None:
        text += f"It is rolled back in {within:g} s unless you run `damonpolicy confirm`.\n"
    if changed and served:
        from damonpolicy.cli.service import beside

        text += beside(session.machine, session.store.places)
    return Result(text, {**render.to_json(plan), "generation": number}, changed=changed)


def unsettled(store: Remembered, session: Session) -> list[Diagnostic]:
    """Return what precedes a plan, or what it could not know."""
    found, managed = [], session.managed
    if store.interrupted():
        what = "a transaction was interrupted: `apply` ends it first, and then makes a new plan"
        found.append(warning("DP0612", what, "`damonpolicy recover` ends it now"))
    if late := overdue(managed, session.machine.monotonic()):
        what = f"{late}: `apply` rolls it back first, and then makes a new plan"
        found.append(warning("DP0661", what, "`damonpolicy recover` rolls it back now"))
    elif managed.pending is not None:
        what = f"generation {managed.generation} waits to be confirmed: `apply` is refused"
        found.append(warning("DP0613", what, CONFIRM))
    return [*store.found, *found]


def back(session: Session, number: int) -> Chosen:
    """Return the policies of a generation, all of which going back to it is about."""
    then = session.policies_of(number)
    return then, then, ()


def known(session: Session, number: int) -> int:
    """Return a number that the user typed; its generation has to exist."""
    try:
        session.policies_of(number)
    except NoGeneration as error:
        numbers = sorted(session.store.numbers())
        hint = (
            f"there are {', '.join(map(str, (0, *numbers[-8:])))}: `damonpolicy history` lists them"
        )
        raise UsageError(f"there is no generation {number}", hint=hint) from error
    return number


def without(session: Session, names: Iterable[str]) -> Chosen:
    """Return the policies that remain after some end, and a warning for each unknown one.

    Raises UsageError for policies that cannot be ended by hand, and for files.
    """
    managed, found = session.managed.policies, []
    wanted = tuple(names)
    for name in wanted:
        if name not in managed:
            if wrong := _of_a_file(name, managed):
                raise wrong
            message = f"no policy `{name[:63]}` is applied: there is nothing to end"
            hint = did_you_mean(name, managed) or "`damonpolicy status` lists what is applied"
            found.append(Diagnostic.warning("DP0403", None, message, hint=hint))
        elif managed[name].owner != "hand":
            message = f"the policy `{name}` belongs to {managed[name].owner}"
            hint = (
                "remove its file there; if that service no longer exists,"
                " `damonpolicy apply FILE` makes it yours"
            )
            raise UsageError(message, hint=hint)
    return {name: policy for name, policy in managed.items() if name not in wanted}, (), found


def _of_a_file(path: str, managed: Policies) -> UsageError | None:
    """Return the message for a file given in place of a policy's name."""
    if not path.endswith((".yaml", ".yml")) and "/" not in path:
        return None
    from damonpolicy.policy.source.files import read_file
    from damonpolicy.policy.source.nodes import Scalar
    from damonpolicy.policy.source.yaml import parse

    file, wrong = read_file(path)
    top = None if wrong else parse(file.name, file.text)[0]
    node = top.get("name") if top else None
    name = node.text if isinstance(node, Scalar) else ""
    hint = f"`damonpolicy remove {name}` ends the policy of that file" if name in managed else ""
    hint = hint or "`damonpolicy status` lists the names of what is applied"
    return UsageError(
        f"`remove` takes the names of policies, not files such as `{path[:80]}`", hint=hint
    )
