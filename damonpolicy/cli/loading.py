"""Policies from the command line: options and reading."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from damonpolicy import trust

if TYPE_CHECKING:
    from damonpolicy.cli.invocation import Invocation
    from damonpolicy.kernel.sysfs import Machine
    from damonpolicy.plan.policies import Loaded

__all__ = ("monitor_option", "policy_options", "read")


def policy_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that change what a policy says."""
    function = click.option(
        "--set", "settings", multiple=True, metavar="NAME=VALUE", help="override a variable"
    )(function)
    return click.option(
        "--vars-file",
        "variables",
        multiple=True,
        type=click.Path(),
        metavar="FILE",
        help="override variables",
    )(function)


def monitor_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--monitor``; the service has none, its files say all that they want."""
    return click.option(
        "--monitor",
        is_flag=True,
        help="add a scheme that only looks, for reports, to kdamonds that have none",
    )(function)


def read(
    invocation: Invocation,
    paths: Sequence[str],
    settings: Sequence[str],
    variables: Sequence[str],
    machine: Machine | None,
    *,
    monitor: bool = False,
) -> Loaded:
    """Read policies; their errors are in the result.

    For a live ``machine`` of root's nobody else may be able to change them.
    """
    from damonpolicy.plan.policies import Overrides, load
    from damonpolicy.source.files import load as load_files

    guarded = machine is not None and trust.guarded(machine.name)
    keepers = trust.by_hand() if guarded else None
    files, found = load_files(paths, keepers)
    variable_files, missing = load_files(variables, keepers)
    overrides, wrong = Overrides.read(variable_files, settings)
    overrides = replace(overrides, monitor=monitor)
    loaded = load(files, overrides, machine=machine, found=[*found, *missing, *wrong])
    invocation.texts.update(loaded.texts)
    invocation.texts.update({file.name: file.text for file in variable_files})
    return loaded
