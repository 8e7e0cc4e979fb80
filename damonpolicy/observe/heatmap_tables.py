"""Heatmaps as numbers for other programs: JSON, CSV, and what there is to choose from."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from damonpolicy.observe.heatmap import Heatmap, areas, hottest, recorded, with_past
from damonpolicy.observe.regions import Series

__all__ = ("guide", "head", "to_csv", "to_json")


def head(heatmap: Heatmap) -> dict[str, Any]:
    """Return what a map is of, without its pixels."""
    window = heatmap.window
    low, high = heatmap.scale
    return {
        "name": heatmap.name,
        "shows": heatmap.shows,
        "unit": heatmap.unit or None,
        "sorted": heatmap.sorted or None,
        "time_ns": {"begin": window.begin, "end": window.end, "origin": heatmap.origin},
        "addresses": {"start": window.start, "end": window.stop},
        "resolution": list(heatmap.values.shape),
        "lowest": low,
        "highest": high,
    }


def to_json(heatmap: Heatmap) -> dict[str, Any]:
    """Return a map with its pixels: a list for each step of time, null where unknown."""
    unknown = np.isnan(heatmap.values)
    values = heatmap.values.astype(object)
    values[unknown] = None
    return {**head(heatmap), "values": values.tolist()}


def to_csv(heatmaps: Sequence[Heatmap]) -> str:
    """Write a line for each pixel that is known, with its edges in ns and bytes."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(
        ["map", "begin_ns", "end_ns", "start", "end", heatmaps[0].unit or heatmaps[0].shows]
    )
    for heatmap in heatmaps:
        times, addresses = heatmap.times, heatmap.addresses
        for row, column in np.argwhere(~np.isnan(heatmap.values)).tolist():
            writer.writerow(
                [
                    heatmap.name,
                    times[row],
                    times[row + 1],
                    addresses[column],
                    addresses[column + 1],
                    repr(float(heatmap.values[row, column])),
                ]
            )
    return stream.getvalue()


def guide(series: Series) -> dict[str, Any]:
    """Return what maps of a series can show: its time, its areas, and how hot each is."""
    begin, end = recorded(series)
    found = areas(series)
    most = hottest(found) if found else None
    return {
        "name": series.source.name,
        "snapshots": len(series),
        "time_ns": {"begin": begin, "end": end, "known_from": with_past(series)[0]},
        "areas": [
            {
                "start": each.start,
                "end": each.end,
                "size": each.size,
                "accesses_per_second": each.heat,
                "hotness": each.hotness,
                "hottest": each is most,
            }
            for each in found
        ],
    }
