"""One look for all figures, and bytes that are the same every time they are drawn."""

import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pandas.core.groupby import SeriesGroupBy

PAGE = 6.9  # inches: the full width of a two-column paper

# Okabe and Ito's colours, told apart with any colour vision; names say what a colour stands for in every figure.
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
BLUE, VERMILION, PURPLE, GREY = "#0072B2", "#D55E00", "#CC79A7", "#7F7F7F"
DIVERGING = "PuOr"  # for signed maps, centred on zero
DASHES: tuple[Any, ...] = ("-", "--", ":", "-.", (0, (6, 1, 1, 1, 1, 1)), (0, (8, 4)))

_STYLE = Path(__file__).with_name("paper.mplstyle")


def panels(rows: int = 1, columns: int = 2, height: float = 2.4, width: float = PAGE, **options) -> tuple[Figure, list]:
    """A figure in the project's style and its axes in reading order, lettered (a), (b), ... where there are several.

    Args:
        height: inches per row of panels.
        options: passed on to `plt.subplots`.
    """
    _begin()
    figure, grid = plt.subplots(rows, columns, figsize=(width, height * rows), squeeze=False, **options)
    axes: list[Axes] = list(grid.flat)
    if len(axes) > 1:
        _letter(axes)
    return figure, axes


def mosaic(layout: Sequence[Sequence[str]], heights: Sequence[float]) -> tuple[Figure, dict[str, Axes]]:
    """A figure of the page's width with panels of several sizes: axes by their names in `layout`, in reading order.

    Args:
        layout: rows of names; a name that stands in several cells spans them.
        heights: inches per row.
    """
    _begin()
    size = (PAGE, sum(heights))
    figure, axes = plt.subplot_mosaic(layout, figsize=size, height_ratios=heights)  # type: ignore[arg-type]
    return figure, axes


def _begin() -> None:
    matplotlib.use("Agg")
    plt.style.use(["default", _STYLE])


def _letter(axes: Sequence[Axes]) -> None:
    for letter, axis in zip("abcdefghijkl", axes, strict=False):
        # Left of the axes, where no title can run into it.
        axis.annotate(f"({letter})", (0, 1), (-28, 6), "axes fraction", "offset points", fontweight="bold")


def diverging_map(
    figure: Figure, axis: Axes, table: pd.DataFrame, center: float, reach: float, label: str, lines: Sequence[float]
) -> None:
    """A map coloured by which side of `center` a value lies on, up to `reach` away, with contour lines.

    Args:
        table: values by row (vertical coordinate) and column (horizontal coordinate); contours need two of each.
        label: of the colour bar, with the unit.
    """
    values = table.to_numpy()
    horizontal, vertical = table.columns.to_numpy(float), table.index.to_numpy(float)
    image = axis.pcolormesh(horizontal, vertical, values, cmap=DIVERGING, shading="nearest", rasterized=True)
    image.set_clim(center - reach, center + reach)
    if min(table.shape) > 1:
        drawn = axis.contour(horizontal, vertical, values, lines, colors=BLACK, linewidths=0.7)
        axis.clabel(drawn, fontsize=6)
    clipped = bool((np.abs(values - center) > reach).any())
    figure.colorbar(image, ax=axis, label=label, extend="both" if clipped else "neither")


def median_and_range(axis: Axes, values: SeriesGroupBy, line: str, color: str, **options: Any) -> None:
    """A line through the medians of the groups, over their keys, and a band from the least to the largest of each."""
    middle = values.median()
    axis.fill_between(middle.index, values.min(), values.max(), color=color, alpha=0.2, linewidth=0)
    axis.plot(middle.index, middle.to_numpy(), line, color=color, **options)


def rendered(figure: Figure) -> dict[str, bytes]:
    """figure.png and figure.svg, without dates or versions in them, and the figure closed."""
    pictures = {}
    for kind, metadata in (("png", {"Software": None}), ("svg", {"Date": None, "Creator": None})):
        stream = io.BytesIO()
        figure.savefig(stream, format=kind, metadata=metadata)
        pictures[f"figure.{kind}"] = stream.getvalue()
    plt.close(figure)
    return pictures | {"figure.svg": _numbered(pictures["figure.svg"])}


def _numbered(drawing: bytes) -> bytes:
    """Clipping paths and markers by number: their names are hashes of coordinates, whose last bits no layout fixes."""
    names: dict[bytes, bytes] = {}

    def number(match: re.Match[bytes]) -> bytes:
        return names.setdefault(match[0], match[1] + str(len(names)).encode())

    return re.sub(rb'(?<=[#"])([a-z])[0-9a-f]{10}(?=[)"])', number, drawing)
