"""One invocation of the command line: its options, its machine, and its places."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import field
from typing import TYPE_CHECKING, Any, TypeVar

import click

from damonpolicy.base.errors import UsageError
from damonpolicy.base.lazy import dataclass

if TYPE_CHECKING:
    from pathlib import Path

    from damonpolicy.engine.state_directory import Places
    from damonpolicy.kernel.system.machine import Machine

__all__ = ("FOR_FINDINGS", "Invocation", "common", "subcommand", "with_options")

FOR_FINDINGS = ("github", "sarif")
"""Formats that contain only findings."""

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass
class Invocation:
    """The options that every command takes, before or after its name."""

    kernel: str | None = None
    kernels: tuple[str, ...] = ()
    """All kernels that were named, for commands that check several."""
    root: str | None = None
    state_dir: str | None = None
    machine_file: str | None = None
    form: str = "text"
    log_format: str | None = None
    verbosity: int = 0
    quiet: bool = False
    texts: dict[str, str] = field(default_factory=dict)
    opened: Machine | None = None
    command: str = "damonpolicy"
    """The name of the command, once known."""

    @property
    def kernel_name(self) -> str:
        """``live`` unless an option or the environment says otherwise."""
        return self.kernel or os.environ.get("DAMONPOLICY_KERNEL") or "live"

    @property
    def description(self) -> Path | None:
        """The file that describes an emulated machine, by option or environment."""
        from damonpolicy.engine.machines import description_of

        return description_of(self.kernel_name, _path(self.machine_file))

    def machine(self) -> Machine:
        """Open the machine, once."""
        if self.opened is None:
            if self.root is not None:
                self.opened = _copied(self.root, self.kernel_name)
            else:
                from damonpolicy.engine.machines import open_machine

                self.opened = open_machine(
                    self.kernel_name, _path(self.state_dir), self.description
                )
        return self.opened

    def places(self) -> Places:
        """Return where the machine's state is kept."""
        from damonpolicy.engine.state_directory import find

        return find(self.machine(), _path(self.state_dir))

    def kernel_json(self) -> dict[str, str] | None:
        """Name and release of the machine, if it was opened."""
        if self.opened is None:
            return None
        from damonpolicy.kernel.system.machine import read_or

        release = read_or(self.opened, "/proc/sys/kernel/osrelease")
        return {"name": self.opened.name, "release": release}

    def passed_on(self) -> list[str]:
        """Options for another process on the same machine."""
        pairs = (("--state-dir", self.state_dir), ("--machine", self.description))
        return [word for option, value in pairs if value for word in (option, str(value))]


def _copied(root: str, kernel: str) -> Machine:
    if kernel != "live":
        raise UsageError("`--root` is a copy of a live machine: leave `--kernel` out")
    if not os.path.isdir(root):
        hint = "copy /sys and /proc of a machine below it"
        raise UsageError(f"there is no directory `{root}`", hint=hint)
    from damonpolicy.kernel.system.machine import LiveMachine

    machine = LiveMachine(root)
    if machine.writable:
        raise UsageError("`--root /` is this machine itself: leave `--root` out")
    return machine


def _path(text: str | None) -> Path | None:
    from pathlib import Path

    return Path(text) if text else None


def _passing(function: Callable[..., Any]) -> Callable[..., Any]:
    """Set up logging as the options ask, then call a command with its invocation."""

    @click.pass_context
    @functools.wraps(function)
    def called(context: click.Context, *arguments: Any, **options: Any) -> Any:
        invocation = context.ensure_object(Invocation)
        if invocation.form in FOR_FINDINGS and context.info_name != "validate":
            message = f"only `validate` has the format `{invocation.form}`"
            invocation.form = "text"
            raise UsageError(message, hint="choose `text` or `json`")
        if invocation.verbosity or invocation.log_format:
            from damonpolicy.cli.logs import configure

            configure(verbosity=invocation.verbosity, form=invocation.log_format or "text")
        elif sys.stderr.isatty() and invocation.form == "text":
            from damonpolicy.cli.show.progress import showing

            with showing(sys.stderr):
                return function(invocation, *arguments, **options)
        return function(invocation, *arguments, **options)

    return called


def _kernels(context: click.Context, parameter: click.Parameter, text: str) -> list[str]:
    """Names of kernels, whole, as shells end a word at a colon."""
    from damonpolicy.cli.options import names

    return names.kernels(context, parameter, text)


def _store(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
    """Store an option's value; without one, that given before the command's name stays."""
    invocation = context.ensure_object(Invocation)
    if isinstance(value, tuple):
        if value:
            invocation.kernels, invocation.kernel = value, value[-1]
    elif value not in (None, 0):
        setattr(invocation, str(parameter.name), value)
    return value


def with_options(function: Function, options: Sequence[Callable[..., Any]]) -> Function:
    """Add options in the order in which the help lists them."""
    return functools.reduce(lambda made, option: option(made), reversed(options), function)


def common(function: Function, *, findings: bool = False, kernels: bool = False) -> Function:
    """Add the options that every command takes; ``findings`` adds the formats for them alone.

    With ``kernels`` several kernels may be named.
    """
    forms = click.Choice(["text", "json", *(FOR_FINDINGS if findings else ())])
    folder = click.Path(file_okay=False)
    options = [
        click.option(
            "--kernel",
            metavar="NAME",
            multiple=kernels,
            shell_complete=_kernels,
            show_default="$DAMONPOLICY_KERNEL, else live",
            help="live, or emulated:VERSION" + ("; several may be named" if kernels else ""),
        ),
        click.option(
            "--machine",
            "machine_file",
            type=click.Path(),
            metavar="FILE",
            show_default="$DAMONPOLICY_MACHINE",
            help="another emulated machine",
        ),
        click.option("--root", type=folder, metavar="DIR", help="read a copy of a machine's files"),
        click.option("--state-dir", type=folder, metavar="DIR", help="keep state here"),
        click.option(
            "--format",
            "form",
            type=forms,
            help="text, one JSON document"
            + (", or findings for GitHub Actions or as SARIF" if findings else ""),
        ),
        click.option("--log-format", type=click.Choice(["text", "json"]), help="turn logging on"),
        click.option("-q", "--quiet", is_flag=True, help="print only errors and requested files"),
        click.option(
            "-v",
            "--verbose",
            "verbosity",
            count=True,
            show_default=False,
            help="log; twice for more",
        ),
    ]
    result = with_options(function, options)
    parameters = getattr(result, "__click_params__", [])
    for parameter in parameters[-len(options) :]:
        parameter.expose_value = False
        parameter.callback = _store
    return result


def subcommand(
    name: str, *, findings: bool = False, kernels: bool = False, **more: Any
) -> Callable[[Callable[..., Any]], click.Command]:
    """Make a command of a function that takes an invocation and the command's own options.

    The options of `common`, which see, follow them.
    """

    def made(function: Callable[..., Any]) -> click.Command:
        own = function.__dict__.pop("__click_params__", [])
        whole: Any = common(_passing(function), findings=findings, kernels=kernels)
        whole.__click_params__ += own  # the last ones come first
        # click types neither the class of a command nor what the decorators made of it
        return click.command(name, **more)(whole)  # type: ignore[no-untyped-call,no-any-return]

    return made
