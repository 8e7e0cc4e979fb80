"""``damonpolicy report``: imports the file of a report when it is called."""

from __future__ import annotations

from collections.abc import Mapping

import click

from damonpolicy.cli.context import common
from damonpolicy.cli.groups import Group, imported

__all__ = ("REPORTS", "command")

REPORTS: Mapping[str, str] = {
    "snapshot": "regions with size, access rate, age and temperature",
    "histogram": "memory by temperature or idle time, and percentiles",
    "heatmap": "a picture of hot and cold memory over time",
    "wss": "the working set, over all snapshots",
    "rank": "targets by temperature, writes or idle memory",
    "numa": "accesses of each node's CPUs to each node's memory",
}
"""Every report and its summary."""


@click.group(
    "report",
    cls=Group,
    texts=REPORTS,
    find=lambda name: imported(f"reports.{name}"),
    title="Reports",
    missing="there is no report",
)
@common
def command() -> None:
    """Show what the kernel sees: of records, or of what runs now.

    Nothing is changed. Running kdamonds are asked for the regions that their schemes try, or
    watched by trace events where they cannot be asked.
    """
