"""Policies named on the command line: their options, and reading them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from damonpolicy.base import trust
from damonpolicy.base.errors import DamonPolicyError
from damonpolicy.base.lazy import dataclass
from damonpolicy.cli.context import Invocation, with_options
from damonpolicy.cli.options import names

if TYPE_CHECKING:
    from damonpolicy.kernel.system.machine import Machine
    from damonpolicy.plan.ir import CompiledPolicy
    from damonpolicy.policy.compile.loading import Given

__all__ = ("Named", "compiled_before", "policies")


@dataclass(frozen=True, slots=True)
class Named:
    """Policies named on the command line, and the options that change their content."""

    paths: Sequence[str]
    settings: Sequence[str]
    variables: Sequence[str]
    monitor: bool = False

    def read(self, invocation: Invocation, machine: Machine | None) -> Given:
        """Read the files of policies and variables; what cannot be read is in the result.

        As root on a live ``machine``, nobody else may be able to change them.
        """
        from damonpolicy.policy.compile.loading import Given
        from damonpolicy.policy.source.files import load

        guarded = machine is not None and trust.guarded(machine.name)
        keepers = trust.by_hand() if guarded else None
        files, found = load(self.paths, keepers)
        variables, missing = load(self.variables, keepers)
        invocation.texts.update({file.name: file.text for file in (*files, *variables)})
        found += missing
        return Given(
            tuple(files), tuple(variables), tuple(self.settings), self.monitor, tuple(found)
        )


def policies(
    *, required: bool = False, monitor: bool = False
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Take policies, and hand them over as `Named`; this stands directly above a command.

    ``monitor`` adds an option that the service has not, as its files are complete.
    """
    usage = "PATH..." if required else "[PATH]..."
    options = [
        click.argument("paths", nargs=-1, required=required, metavar=usage, type=click.Path()),
        click.option(
            "--vars-file",
            "variables",
            multiple=True,
            type=click.Path(),
            metavar="FILE",
            help="override variables",
        ),
        click.option(
            "--set",
            "settings",
            multiple=True,
            metavar="NAME=VALUE",
            shell_complete=names.variables,
            help="override a variable",
        ),
        click.option(
            "--monitor",
            is_flag=True,
            help="add a scheme that only looks, for reports, to kdamonds that have none",
        ),
    ]

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def called(*arguments: Any, paths: Any, settings: Any, variables: Any, **more: Any) -> Any:
            named = Named(paths, settings, variables, more.pop("monitor", False))
            return function(*arguments, named, **more)

        return with_options(called, options if monitor else options[:-1])

    return add


@contextmanager
def compiled_before(
    invocation: Invocation, policies_of: Callable[[], Mapping[str, CompiledPolicy]]
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
            locate(error, spans_of(policies_of(), machine, capabilities, invocation.texts))
        raise
