"""A command with subcommands: `damonpolicy` itself, `report` and `emulate`."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

import click

from damonpolicy.base.errors import UsageError
from damonpolicy.cli.context import Invocation
from damonpolicy.cli.show.examples import epilog

__all__ = ("PROGRAM", "Group", "imported")

PROGRAM = "damonpolicy"


def imported(file: str) -> click.Command:
    """Import a command's file, and return the command."""
    found: click.Command = importlib.import_module(f"damonpolicy.cli.commands.{file}").command
    return found


class Group(click.Group):
    """A command that lists its subcommands, a line each, and imports one when needed."""

    def __init__(
        self,
        name: str | None,
        texts: Mapping[str, str],
        find: Callable[[str], click.Command],
        *,
        title: str,
        missing: str,
        hints: Mapping[str, str] | None = None,
        **more: Any,
    ) -> None:
        """Take each subcommand's text; ``hints`` are for words that are none of them."""
        super().__init__(name, **more)
        self._texts = texts
        self._find = find
        self._title = title
        self._missing = missing
        self._hints = hints or {}
        self._above = [] if name == PROGRAM else [str(name)]

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self._texts)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self._texts:
            return None
        found = self._find(cmd_name)
        found.epilog = epilog(" ".join([*self._above, cmd_name]))
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section(self._title):
            formatter.write_dl(list(self._texts.items()))

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        from damonpolicy.base.diagnostics import did_you_mean

        if args and args[0] not in self._texts:
            message = f"{self._missing} `{args[0][:40]}`"
            hint = self._hints.get(args[0]) or did_you_mean(args[0], self._texts)
            raise UsageError(message, hint=hint)
        if args:
            ctx.ensure_object(Invocation).command = "-".join([*self._above, args[0]])
        return super().resolve_command(ctx, args)
