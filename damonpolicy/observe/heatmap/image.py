"""Heatmaps as image files, png, svg and pdf, with matplotlib."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from damonpolicy.base.atomic import PUBLIC, whole_file
from damonpolicy.base.diagnostics import visible
from damonpolicy.base.errors import UsageError
from damonpolicy.observe.heatmap.axes import (
    address_marks,
    address_title,
    time_marks,
    time_title,
    title,
)
from damonpolicy.observe.heatmap.colours import OF_SCREENS, UNKNOWN
from damonpolicy.observe.heatmap.matrix import Heatmap

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ("save",)

_SIZE = (9.0, 5.0)
"""Inches of one map."""


def _matplotlib() -> Any:
    try:
        import matplotlib as mpl
        import matplotlib.colors
        import matplotlib.figure
        import matplotlib.patches  # all are reached through the package
    except ImportError as error:
        hint = "`pip install 'damonpolicy[images]'`"
        raise UsageError("images need matplotlib", hint=hint) from error
    return mpl


def save(
    heatmaps: Sequence[Heatmap], path: str, *, colours: str = "heat", absolute: bool = False
) -> None:
    """Write maps below each other into one file, in the form of its suffix.

    Unknown pixels have a colour of their own. Raises UsageError if matplotlib is missing, OSError
    of the file.
    """
    library = _matplotlib()
    width, height = _SIZE
    figure = library.figure.Figure(figsize=(width, height * len(heatmaps)), layout="constrained")
    for index, each in enumerate(heatmaps):
        _draw(library, figure, each, (len(heatmaps), 1, index + 1), colours, absolute=absolute)
    dated = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
    form = path.rsplit(".", 1)[-1].lower()
    # the same record gives the same file; and figures without pyplot need no display
    with library.rc_context({"svg.hashsalt": "damonpolicy"}), warnings.catch_warnings():
        # names may have letters that the font lacks, which become boxes
        warnings.filterwarnings("ignore", "Glyph", UserWarning)
        with whole_file(path, PUBLIC) as file:
            figure.savefig(file, format=form, dpi=150, metadata=dated[form])


def _draw(
    library: Any,
    figure: Figure,
    heatmap: Heatmap,
    place: tuple[int, int, int],
    colours: str,
    *,
    absolute: bool,
) -> None:
    axes = figure.add_subplot(*place)
    low, high = heatmap.scale
    # a list: matplotlib 3.8.0 reads a tuple of two as a colour and its alpha
    shown = library.colors.LinearSegmentedColormap.from_list(colours, [*OF_SCREENS[colours]])
    # pixels are counted from the window's edges: doubles are too short for ns since the epoch
    columns, rows = heatmap.values.shape
    picture = axes.imshow(
        np.ma.masked_invalid(heatmap.values.T),
        origin="lower",
        aspect="auto",
        interpolation="nearest",
        extent=(0.0, float(columns), 0.0, float(rows)),
        cmap=shown.with_extremes(bad=UNKNOWN),
        vmin=low,
        vmax=high if high > low else low + 1,
    )
    bar = figure.colorbar(picture, ax=axes, pad=0.02)
    shows = visible(heatmap.shows, kept="")
    # a name is never a formula
    bar.set_label(f"{shows} ({heatmap.unit})" if heatmap.unit else shows, parse_math=False)
    window = heatmap.window
    for marks, low, high, pixels, place_ticks in (
        (time_marks, window.begin, window.end, columns, axes.set_xticks),
        (address_marks, window.start, window.stop, rows, axes.set_yticks),
    ):
        shown = marks(heatmap, 8, absolute=absolute)
        places = [(each.at - low) / max(high - low, 1) * pixels for each in shown]
        place_ticks(places, [each.text for each in shown])
    axes.set_xlabel(time_title(heatmap, absolute=absolute))
    axes.set_ylabel(address_title(heatmap, absolute=absolute))
    axes.set_title(visible(title(heatmap), kept=""), fontsize="medium", parse_math=False)
    if np.isnan(heatmap.values).any():
        patch = library.patches.Patch(facecolor=UNKNOWN, edgecolor="grey", label="unknown")
        axes.legend(
            handles=[patch], loc="lower right", bbox_to_anchor=(1.0, 1.0), frameon=False,
            fontsize="small", borderaxespad=0.1,
        )  # fmt: skip
    if np.isnan(heatmap.values).all():
        axes.text(0.5, 0.5, "nothing is known", ha="center", transform=axes.transAxes)
