"""What CSIL's figures share: last scores with their intervals, and scores over the steps taken."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments.csil import _scores
from experiments.harness import style


def levels(
    axis: Axes, tables: Mapping[str, pd.DataFrame], places: Mapping[str, tuple[float, str]], names: Sequence[str]
) -> None:
    """Means over seeds with their intervals, squares for clones (BC), circles for what learnt on.

    Args:
        tables: as `_scores.tables` has them.
        places: method -> place on the axis, and colour.
        names: of the places 0, 1, ...
    """
    for name, (place, colour) in places.items():
        center, low, high = _scores.average(tables[name])
        bars = np.nan_to_num([[center - low], [high - center]])
        axis.errorbar(place, center, bars, fmt="s" if name.startswith("BC") else "o", markersize=4, color=colour)
    _limits(axis)
    axis.set_xticks(range(len(names)), [name.replace(" ", "\n") for name in names])
    axis.set(xlim=(-0.5, len(names) - 0.5))


def curves(axis: Axes, frame: pd.DataFrame, looks: Mapping[str, str]) -> None:
    """Scores over the environment steps of each member, thin, and their means over members, thick.

    Args:
        looks: method -> colour.
    """
    rows = _scores.scores(frame)
    for name, colour in looks.items():
        mine = rows[rows.method == name]
        table = mine.pivot_table(index="steps", columns=["demonstrations", "seed"], values="score")
        axis.plot(table.index / 1000, table.to_numpy(), color=colour, linewidth=0.4, alpha=0.35)
        axis.plot(table.index / 1000, table.mean(axis=1), color=colour)
    _limits(axis)
    axis.set(xlabel="thousand environment steps")


def legend(drawing: Figure, looks: Mapping[str, str], columns: int) -> None:
    """Above the panels: the colours of CSIL's methods, and the marks of `levels`."""
    handles = [Line2D([], [], color=colour, label=f"CSIL, {name}") for name, colour in looks.items()]
    handles += [
        Line2D([], [], color=style.BLACK, marker=marker, linestyle="", label=label)
        for marker, label in (("s", "clone"), ("o", "CSIL"))
    ]
    drawing.legend(handles=handles, loc="outside upper center", ncols=columns)


def _limits(axis: Axes) -> None:
    """Lines at the scores of uniform actions and of the expert."""
    axis.axhline(1, color=style.GREY, linewidth=0.7)
    axis.axhline(0, color=style.GREY, linewidth=0.7)
