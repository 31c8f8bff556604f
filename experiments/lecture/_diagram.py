"""State diagrams of small decision processes, drawn on an axis whose unit is the distance of two states."""

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.patches import Circle, FancyArrowPatch

from experiments.harness import style

RADIUS = 0.22


class Arrow(NamedTuple):
    """From one state to another: label, its place, colour, and how far the arrow bends to the left of its way."""

    start: str
    end: str
    label: str
    place: tuple[float, float]
    colour: str = style.BLACK
    bend: float = 0.0
    dash: str = "-"


def draw(axis: Axes, places: dict[str, tuple[float, float]], arrows: Sequence[Arrow], rewarded: Sequence[str]) -> None:
    """Circles at their places, those with a reward filled, and arrows between them; a loop stands above its state."""
    for name, place in places.items():
        fill = "#FBE7B2" if name in rewarded else "white"
        axis.add_patch(Circle(place, RADIUS, facecolor=fill, edgecolor=style.BLACK, linewidth=0.9, zorder=2))
        axis.annotate(f"${name[0]}_{name[1:]}$", place, ha="center", va="center", zorder=3)
    for arrow in arrows:
        _draw_arrow(axis, places, arrow)
        axis.annotate(arrow.label, arrow.place, color=arrow.colour, fontsize=7, ha="center", va="center")
    axis.set_aspect("equal")
    axis.axis("off")


def _draw_arrow(axis: Axes, places: dict[str, tuple[float, float]], arrow: Arrow) -> None:
    look = {"arrowstyle": "-|>", "mutation_scale": 7, "color": arrow.colour, "linewidth": 0.9, "linestyle": arrow.dash}
    (x0, y0), (x1, y1) = places[arrow.start], places[arrow.end]
    if arrow.start == arrow.end:
        side = -1 if arrow.bend < 0 else 1  # a negative bend: below the state
        ends = (x0 - 0.13, y0 + side * 0.19), (x0 + 0.13, y0 + side * 0.19)
        curve = f"arc3,rad={-1.6 * side}"
        axis.add_patch(FancyArrowPatch(*ends, connectionstyle=curve, shrinkA=0, shrinkB=0, **look))
        return
    length = ((x1 - x0) ** 2 + (y1 - y0) ** 2) ** 0.5
    dx, dy = RADIUS * (x1 - x0) / length, RADIUS * (y1 - y0) / length
    ends = (x0 + dx, y0 + dy), (x1 - dx, y1 - dy)
    axis.add_patch(FancyArrowPatch(*ends, connectionstyle=f"arc3,rad={arrow.bend}", shrinkA=1, shrinkB=1, **look))
