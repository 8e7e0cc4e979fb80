"""Heatmaps as one self-contained HTML file, with plotly inside."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

import numpy as np

from damonpolicy.base.diagnostics import visible
from damonpolicy.base.errors import UsageError
from damonpolicy.observe.heatmap.axes import title
from damonpolicy.observe.heatmap.colours import OF_SCREENS, UNKNOWN
from damonpolicy.observe.heatmap.matrix import Heatmap

__all__ = ("page",)

_SECOND = 1_000_000_000
_ELSEWHERE = r"https://cdn\.[^\"'`\s]*"
"""The address from which plotly would fetch world maps, which a heatmap does not need."""


def _library() -> str:
    try:
        from plotly.offline import get_plotlyjs  # type: ignore[import-untyped]
    except ImportError as error:
        raise UsageError("HTML needs plotly", hint="`pip install 'damonpolicy[html]'`") from error
    return re.sub(_ELSEWHERE, "", get_plotlyjs()).replace("</script", "<\\/script")


def page(heatmaps: Sequence[Heatmap], *, colours: str = "heat", absolute: bool = False) -> str:
    """Return a page that shows one map at a time, with zoom, selection and hover.

    There is at least one map. Values are 32-bit floats in base64, a row of time for each address:
    250,000 pixels take 1.3 MiB. Raises UsageError if plotly is missing.
    """
    told = {
        "maps": [_told(each) for each in heatmaps],
        "colours": colours,
        "scales": dict(OF_SCREENS),
        "absolute": absolute,
        "unknown": UNKNOWN,
        "opens": _hottest(heatmaps),
    }
    # `<` could end the script, and names come from others
    data = json.dumps(told).replace("<", "\\u003c")
    text = files("damonpolicy.observe.heatmap").joinpath("page.html").read_text("utf-8")
    before, rest = text.split("/*DATA*/")
    between, after = rest.split("/*LIBRARY*/")
    return f"{before}{data}{between}{_library()}{after}"


def _hottest(heatmaps: Sequence[Heatmap]) -> int:
    """Return the first map to show: the one with the most heat in its known pixels."""
    known = [each.values[~np.isnan(each.values)] for each in heatmaps]
    means = [float(each.mean()) if each.size else float("-inf") for each in known]
    return means.index(max(means))


def _told(heatmap: Heatmap) -> dict[str, Any]:
    """Return a map in the page's form; numbers beyond 2^53 are text."""
    window = heatmap.window
    low, high = heatmap.scale
    rows = np.ascontiguousarray(heatmap.values.T, dtype="<f4")
    begun = datetime.fromtimestamp(heatmap.origin // _SECOND, UTC)
    return {
        "title": visible(title(heatmap), kept=""),
        "shows": visible(heatmap.shows, kept=""),
        "unit": heatmap.unit,
        "sorted": heatmap.sorted,
        "origin": str(heatmap.origin),
        "begun": begun.strftime("%Y-%m-%d %H:%M:%S UTC"),
        "from": (window.begin - heatmap.origin) / _SECOND,
        "to": (window.end - heatmap.origin) / _SECOND,
        "start": str(window.start),
        "size": window.stop - window.start,
        "shape": list(heatmap.values.shape),
        "low": low,
        "high": high,
        "values": base64.b64encode(rows.tobytes()).decode("ascii"),
    }
