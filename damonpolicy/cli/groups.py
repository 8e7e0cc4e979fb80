"""A command with subcommands: `report` and `emulate`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import click

from damonpolicy.base.errors import UsageError
from damonpolicy.cli.context import Invocation
from damonpolicy.cli.show.examples import epilog

__all__ = ("Group",)


class Group(click.Group):
    """A command that lists its subcommands, a line each, and imports one when needed."""

    def __init__(
        self,
        name: str,
        texts: Mapping[str, str],
        find: Callable[[str], click.Command],
        *,
        title: str,
        missing: str,
        **more: Any,
    ) -> None:
        super().__init__(name, **more)
        self._texts = texts
        self._find = find
        self._title = title
        self._missing = missing

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self._texts)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self._texts:
            return None
        found = self._find(cmd_name)
        found.epilog = epilog(f"{self.name} {cmd_name}")
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section(self._title):
            formatter.write_dl(list(self._texts.items()))

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        from damonpolicy.base.diagnostics import did_you_mean

        if args and args[0] not in self._texts:
            message = f"{self._missing} `{args[0][:40]}`"
            raise UsageError(message, hint=did_you_mean(args[0], self._texts))
        if args:
            ctx.ensure_object(Invocation).command = f"{self.name}-{args[0]}"
        return super().resolve_command(ctx, args)
