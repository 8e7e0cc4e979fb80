"""``damonpolicy convert``."""

from __future__ import annotations

from collections.abc import Sequence

import click

from damonpolicy.base.diagnostics import as_text
from damonpolicy.cli.commands.record import FORMS, some
from damonpolicy.cli.context import Invocation, subcommand
from damonpolicy.cli.show.output import Result

__all__ = ("command",)


@subcommand("convert")
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path())
@click.argument("out", metavar="OUT", type=click.Path())
@click.option(
    "--form",
    "wanted",
    type=click.Choice(FORMS),
    show_default="as OUT's name says",
    help="what to write",
)
@click.option("--force", is_flag=True, help="overwrite OUT")
def command(
    invocation: Invocation, files: Sequence[str], out: str, *, wanted: str | None, force: bool
) -> Result:
    """Write records in another form, several as one.

    FILEs are records of damonpolicy and of damo, and what `perf script` or `trace-cmd report`
    print of DAMON's trace events. OUT is Parquet if it is named `*.parquet`, JSON of damo if
    `*.json`, text if `*.txt`, and else a compressed record of damo. Text has no place for
    intervals, begins and page filters.
    """
    from damonpolicy.base.atomic import Rotation
    from damonpolicy.observe.records import files as records

    del invocation  # files are files, on any machine
    if not force:
        Rotation(out).refuse_to_overwrite()
    form = wanted or records.form_of(out)
    series = records.convert(files, out, form)
    snapshots = sum(len(each) for each in series)
    regions = sum(len(each.regions) for each in series)
    counts = ((snapshots, "snapshot"), (regions, "region"), (len(series), "source"))
    counted = [some(number, word) for number, word in counts]
    return Result(
        text=as_text(["{} and {} of {} → {}".format(*counted, out)]),
        data={
            "file": out,
            "form": form,
            "sources": [each.source.name for each in series],
            "snapshots": snapshots,
            "regions": regions,
        },
    )
