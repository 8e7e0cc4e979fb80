"""``damonpolicy report``: finds the file of a report when it is asked for."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import click

from damonpolicy.cli.examples import epilog
from damonpolicy.cli.invocation import Invocation, common
from damonpolicy.errors import UsageError

__all__ = ("REPORTS", "command")

REPORTS: Mapping[str, str] = {
    "snapshot": "regions with size, access rate, age and temperature",
    "histogram": "memory by temperature or idle time, and percentiles",
    "heatmap": "how hot memory was where and when: a picture",
    "wss": "the working set, over all snapshots",
    "rank": "who is hot, who writes, whose memory is idle",
    "numa": "which node's CPUs touch which node's memory",
}
"""Every report and what it shows."""


class _Reports(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(REPORTS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in REPORTS:
            return None
        found: click.Command = importlib.import_module(
            f"damonpolicy.cli.reports.{cmd_name}"
        ).command
        found.epilog = epilog(f"report {cmd_name}")
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Reports"):
            formatter.write_dl(list(REPORTS.items()))

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        from damonpolicy.diagnostics import did_you_mean

        if args and args[0] not in REPORTS:
            message = f"there is no report `{args[0][:40]}`"
            raise UsageError(message, hint=did_you_mean(args[0], REPORTS))
        if args:
            ctx.ensure_object(Invocation).command = f"report-{args[0]}"
        return super().resolve_command(ctx, args)


@click.group("report", cls=_Reports)
@common
def command() -> None:
    """Show what the kernel sees: of records, or of what runs now.

    Nothing is changed. Running kdamonds are asked for the regions that their schemes try, or
    watched by trace events where they cannot be asked.
    """
