"""``damonpolicy completion``."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from damonpolicy.cli.invocation import Invocation, common, pass_invocation
from damonpolicy.cli.output import Result
from damonpolicy.errors import UsageError


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@common
@pass_invocation
def command(invocation: Invocation, shell: str) -> Result:
    """Print a completion script for SHELL.

    For bash: `source <(damonpolicy completion bash)`.
    """
    del invocation
    kind = get_completion_class(shell)
    if kind is None:
        raise UsageError(f"there is no completion for `{shell}`")
    from damonpolicy.cli.main import damonpolicy

    script = kind(damonpolicy, {}, "damonpolicy", "_DAMONPOLICY_COMPLETE").source()
    return Result(script + "\n", {"script": script}, raw=True)
