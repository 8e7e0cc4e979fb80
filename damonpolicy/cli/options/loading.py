"""Policies named on the command line: their options, and reading them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from damonpolicy.base import trust
from damonpolicy.base.errors import DamonPolicyError
from damonpolicy.cli.options import names

if TYPE_CHECKING:
    from damonpolicy.cli.context import Invocation
    from damonpolicy.kernel.system.machine import Machine
    from damonpolicy.plan.ir import CompiledPolicy
    from damonpolicy.policy.compile.loading import Given

__all__ = ("compiled_before", "monitor_option", "policy_options", "read")


def policy_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that change the content of a policy."""
    function = click.option(
        "--set",
        "settings",
        multiple=True,
        metavar="NAME=VALUE",
        shell_complete=names.variables,
        help="override a variable",
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
    """Add ``--monitor``; the service has none, as its files are complete."""
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
) -> Given:
    """Read the files of policies and variables; what cannot be read is in the result.

    As root on a live ``machine``, nobody else may be able to change them.
    """
    from damonpolicy.policy.compile.loading import Given
    from damonpolicy.policy.source.files import load as load_files

    guarded = machine is not None and trust.guarded(machine.name)
    keepers = trust.by_hand() if guarded else None
    files, found = load_files(paths, keepers)
    variable_files, missing = load_files(variables, keepers)
    invocation.texts.update({file.name: file.text for file in (*files, *variable_files)})
    return Given(tuple(files), tuple(variable_files), tuple(settings), monitor, (*found, *missing))


@contextmanager
def compiled_before(
    invocation: Invocation, policies: Callable[[], Mapping[str, CompiledPolicy]]
) -> Iterator[None]:
    """Give errors their places if policies come from a plan or a generation.

    Their sources are read once something has failed: going back needs no policy language.
    """
    try:
        yield
    except DamonPolicyError as error:
        if error.about:
            from damonpolicy.kernel.damon.capabilities import detect
            from damonpolicy.plan.machine_state import retrieve
            from damonpolicy.policy.compile.loading import locate, spans_of

            machine = invocation.machine()
            capabilities = detect(machine, retrieve(machine).tree)
            locate(error, spans_of(policies(), machine, capabilities, invocation.texts))
        raise
