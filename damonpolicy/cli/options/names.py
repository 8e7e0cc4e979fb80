"""Names on the command line: their completion by shells, and those that are not applied."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

import click

from damonpolicy.base.diagnostics import did_you_mean
from damonpolicy.base.errors import DamonPolicyError, UsageError
from damonpolicy.cli.context import Invocation

if TYPE_CHECKING:
    from damonpolicy.plan.ir import CompiledPolicy

_Completion = Callable[[click.Context, click.Parameter, str], list[str]]


def completed(find: Callable[[click.Context], Iterable[str]]) -> _Completion:
    """Complete a word by those that are found; by none if they cannot be read."""

    def complete(context: click.Context, parameter: click.Parameter, text: str) -> list[str]:
        del parameter
        try:
            return [word for word in find(context) if word.startswith(text)]
        except (DamonPolicyError, OSError):
            return []

    return complete


def _applied(context: click.Context) -> Mapping[str, CompiledPolicy]:
    """Return the applied policies."""
    from damonpolicy.engine.store import Store
    from damonpolicy.kernel.system.host import look

    invocation = context.ensure_object(Invocation)
    boot_id = look(invocation.machine()).boot_id
    return Store(invocation.places()).managed(boot_id).policies


policies = completed(_applied)
"""Complete names of applied policies."""


@completed
def generations(context: click.Context) -> Iterable[str]:
    """Numbers of generations, the newest first."""
    from damonpolicy.engine.store import Store

    numbers = Store(context.ensure_object(Invocation).places()).numbers()
    return (str(number) for number in reversed(numbers))


@completed
def features(_: click.Context) -> Iterable[str]:
    """Names of features."""
    from damonpolicy.kernel.damon.features import FEATURES

    return (feature.name for feature in FEATURES)


def shown(context: click.Context, parameter: click.Parameter, text: str) -> list[str]:
    """Names of applied policies, and numbers of generations."""
    return [*policies(context, parameter, text), *generations(context, parameter, text)]


@completed
def kernels(_: click.Context) -> Iterable[str]:
    """Values of `--kernel`: this machine, and each emulated series."""
    from damonpolicy.emulated.profiles import PROFILES

    return ["live", *(f"emulated:{version}" for version in PROFILES)]


@completed
def schemes(context: click.Context) -> Iterable[str]:
    """Names of schemes of applied policies."""
    from damonpolicy.kernel.damon.view import Kdamond

    listed = [each for policy in _applied(context).values() for each in policy.kdamonds]
    above = f"{Kdamond().schemes.path}/"
    names = (n for each in listed for path, n in each.names.items() if path.startswith(above))
    return dict.fromkeys(names)


@completed
def variables(context: click.Context) -> Iterable[str]:
    """Variables of the policies that are named, each with its `=`."""
    from damonpolicy.policy.source import nodes
    from damonpolicy.policy.source.files import load
    from damonpolicy.policy.source.yaml import parse

    # click leaves words unread in front of an option that has no value yet
    paths = (*(context.params.get("paths") or ()), *context.args)
    files, _ = load(each for each in paths if os.path.exists(each))
    tops = [parse(each.name, each.text)[0] for each in files]
    found = [top.get("vars") for top in tops if top is not None]
    names = [key.text for node in found if isinstance(node, nodes.Mapping) for key, _ in node.items]
    return [f"{name}=" for name in dict.fromkeys(names)]


@completed
def topics(_: click.Context) -> Iterable[str]:
    """Keys of the policy language."""
    from damonpolicy.cli.commands.explain import keys

    return sorted({key.path[-1] for key in keys()})


def not_applied(name: str, applied: Iterable[str], what: str = "policy") -> UsageError:
    """Return the message for a name that is not applied."""
    hint = did_you_mean(name, applied) or "`damonpolicy status` lists what is applied"
    return UsageError(f"no {what} `{name[:127]}` is applied", hint=hint)
