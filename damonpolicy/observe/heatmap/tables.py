"""Heatmaps as numbers for other programs: JSON, CSV, and the available ranges."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from damonpolicy.base.diagnostics import cell
from damonpolicy.observe.heatmap.matrix import Heatmap, areas, hottest, recorded, with_past
from damonpolicy.observe.regions import Series

__all__ = ("guide", "head", "to_csv", "to_json")

_NAME = 200
"""The most characters of a name, which is on each line."""


def head(heatmap: Heatmap) -> dict[str, Any]:
    """Return a map's data without its pixels."""
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


def to_csv(heatmaps: Sequence[Heatmap]) -> Iterator[str]:
    """Write a line for each known pixel, with its edges in ns and bytes; in pieces."""
    yield f"map,begin_ns,end_ns,start,end,{heatmaps[0].unit or heatmaps[0].shows}\n"
    for heatmap in heatmaps:
        # quoted by RFC 4180: by hand, as the library's writer takes a second
        name = '"' + cell(heatmap.name[:_NAME]).replace('"', '""') + '"'
        times = [f"{name},{first},{last}," for first, last in pairwise(heatmap.times)]
        addresses = [f"{first},{last}," for first, last in pairwise(heatmap.addresses)]
        for time, row in zip(times, heatmap.values, strict=True):
            # NaN is not equal to itself
            yield "".join(
                f"{time}{address}{value!r}\n"
                for address, value in zip(addresses, row.tolist(), strict=True)
                if value == value  # noqa: PLR0124
            )


def guide(series: Series) -> dict[str, Any]:
    """Return the available ranges of a series: its time, its areas, and their heat."""
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
