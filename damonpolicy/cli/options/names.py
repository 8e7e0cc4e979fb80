"""Shell completion of names that depend on the machine."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import click

from damonpolicy.base.errors import DamonPolicyError
from damonpolicy.cli.context import Invocation

if TYPE_CHECKING:
    from damonpolicy.plan.ir import CompiledPolicy

__all__ = (
    "features",
    "generations",
    "kernels",
    "policies",
    "schemes",
    "shown",
    "topics",
    "variables",
)


def policies(context: click.Context, parameter: click.Parameter, text: str) -> list[str]:
    """Names of applied policies."""
    del parameter
    return _beginning(text, _applied(context))


def generations(context: click.Context, parameter: click.Parameter, text: str) -> list[str]:
    """Numbers of generations, the newest first."""
    del parameter
    from damonpolicy.engine.store import Store

    try:
        numbers = Store(context.ensure_object(Invocation).places()).numbers()
    except (DamonPolicyError, OSError):
        return []
    return _beginning(text, (str(number) for number in reversed(numbers)))


def features(context: click.Context, parameter: click.Parameter, text: str) -> list[str]:
    """Names of features."""
    del context, parameter
    from damonpolicy.kernel.damon.features import FEATURES

    return _beginning(text, (feature.name for feature in FEATURES))


def shown(context: click.Context, parameter: click.Parameter, text: str) -> list[str]:
    """Names of applied policies, and numbers of generations."""
    return [*policies(context, parameter, text), *generations(context, parameter, text)]


def kernels(context: click.Context, parameter: click.Parameter, text: str) -> list[str]:
    """Values of `--kernel`: this machine, and each emulated series."""
    del context, parameter
    from damonpolicy.emulated.profiles import PROFILES

    return _beginning(text, ["live", *(f"emulated:{version}" for version in PROFILES)])


def schemes(context: click.Context, parameter: click.Parameter, text: str) -> list[str]:
    """Names of schemes of applied policies."""
    del parameter
    from damonpolicy.kernel.damon.view import Kdamond

    listed = [each for policy in _applied(context).values() for each in policy.kdamonds]
    above = f"{Kdamond().schemes.path}/"
    names = (n for each in listed for path, n in each.names.items() if path.startswith(above))
    return _beginning(text, dict.fromkeys(names))


def variables(context: click.Context, parameter: click.Parameter, text: str) -> list[str]:
    """Variables of the policies that are named, each with its `=`."""
    del parameter
    from damonpolicy.policy.source import nodes
    from damonpolicy.policy.source.files import load
    from damonpolicy.policy.source.yaml import parse

    try:
        # click leaves words unread in front of an option that has no value yet
        paths = (*(context.params.get("paths") or ()), *context.args)
        files, _ = load(each for each in paths if os.path.exists(each))
    except OSError:
        return []
    tops = [parse(each.name, each.text)[0] for each in files]
    found = [top.get("vars") for top in tops if top is not None]
    names = [key.text for node in found if isinstance(node, nodes.Mapping) for key, _ in node.items]
    return _beginning(text, [f"{name}=" for name in dict.fromkeys(names)])


def topics(context: click.Context, parameter: click.Parameter, text: str) -> list[str]:
    """Keys of the policy language."""
    del context, parameter
    from damonpolicy.cli.commands.explain import keys

    return _beginning(text, sorted({key.path[-1] for key in keys()}))


def _beginning(text: str, words: Iterable[str]) -> list[str]:
    return [word for word in words if word.startswith(text)]


def _applied(context: click.Context) -> Mapping[str, CompiledPolicy]:
    """Return the applied policies; none if they cannot be read."""
    from damonpolicy.engine.store import Store
    from damonpolicy.kernel.system.host import look

    invocation = context.ensure_object(Invocation)
    try:
        boot_id = look(invocation.machine()).boot_id
        return Store(invocation.places()).managed(boot_id).policies
    except (DamonPolicyError, OSError):
        return {}
