"""What a shell may complete: names that depend on the machine, looked up when asked."""

from __future__ import annotations

from collections.abc import Iterable

import click

from damonpolicy.cli.invocation import Invocation
from damonpolicy.errors import DamonPolicyError

__all__ = ("features", "generations", "kernels", "policies", "shown", "topics")


def policies(context: click.Context, parameter: click.Parameter, text: str) -> list[str]:
    """Names of applied policies."""
    del parameter
    from damonpolicy.engine.store import Store
    from damonpolicy.kernel.host import look

    invocation = context.ensure_object(Invocation)
    try:
        boot_id = look(invocation.machine()).boot_id
        return _beginning(text, Store(invocation.places()).managed(boot_id).policies)
    except (DamonPolicyError, OSError):
        return []


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
    from damonpolicy.kernel.features import FEATURES

    return _beginning(text, (feature.name for feature in FEATURES))


def shown(context: click.Context, parameter: click.Parameter, text: str) -> list[str]:
    """Names of applied policies, and numbers of generations."""
    return [*policies(context, parameter, text), *generations(context, parameter, text)]


def kernels(context: click.Context, parameter: click.Parameter, text: str) -> list[str]:
    """What `--kernel` takes: this machine, and each emulated series."""
    del context, parameter
    from damonpolicy.emulated.profiles import PROFILES

    return _beginning(text, ["live", *(f"emulated:{version}" for version in PROFILES)])


def topics(context: click.Context, parameter: click.Parameter, text: str) -> list[str]:
    """Keys of the policy language."""
    del context, parameter
    from damonpolicy.cli.explain import keys

    return _beginning(text, sorted({key.path[-1] for key in keys()}))


def _beginning(text: str, words: Iterable[str]) -> list[str]:
    return [word for word in words if word.startswith(text)]
