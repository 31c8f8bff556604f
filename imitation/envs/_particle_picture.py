"""A picture of the particle task, drawn with NumPy alone: all of it is thick lines with round ends and smooth edges."""

from itertools import pairwise

import numpy as np

from imitation.envs.particle import GOAL_RADIUS

SIZE = 480  # pixels, both ways
MARGIN = 0.1  # of the unit square, left free around it

# Okabe and Ito's colours, told apart with any colour vision; the goals also carry one bar and two bars.
WHITE, GREY = (255, 255, 255), (205, 205, 205)
FIRST, SECOND, PATH, AGENT = (0, 158, 115), (0, 114, 178), (230, 159, 0), (213, 94, 0)

Point = np.ndarray


def picture(path: np.ndarray, first_goal: Point, second_goal: Point) -> np.ndarray:
    """Draw the first two dimensions, the second one upwards; a single dimension lies on a horizontal line.

    Args:
        path: positions so far (steps, N), the last one is where the agent is.
        first_goal: (N,), a green disc of the radius that counts as visited, with one bar.
        second_goal: (N,), a blue one with two bars.

    Returns:
        Red, green and blue, (480, 480, 3), unsigned bytes.
    """
    canvas = np.full((SIZE, SIZE, 3), 255.0)
    _frame(canvas, path.shape[1])
    points, goals = [_flat(position) for position in path], [_flat(first_goal), _flat(second_goal)]
    for goal, colour in zip(goals, (FIRST, SECOND), strict=True):
        _disc(canvas, goal, GOAL_RADIUS, colour)
        _disc(canvas, goal, GOAL_RADIUS - 0.006, tuple(0.25 * np.array(colour) + 0.75 * 255))
    for start, end in pairwise(points):
        _line(canvas, start, end, 0.004, PATH)
    for point in points:
        _disc(canvas, point, 0.007, PATH)
    for goal, colour, bars in zip(goals, (FIRST, SECOND), ([0.0], [-0.012, 0.012]), strict=True):
        for shift in bars:
            _line(canvas, goal + np.array([shift, -0.02]), goal + np.array([shift, 0.02]), 0.004, colour)
    _disc(canvas, points[0], 0.014, PATH)
    _disc(canvas, points[0], 0.008, WHITE)
    _disc(canvas, points[-1], 0.024, WHITE)
    _disc(canvas, points[-1], 0.02, AGENT)
    return np.rint(canvas).astype(np.uint8)


def _frame(canvas: np.ndarray, dimensions: int) -> None:
    """The unit square, or the unit interval with its ends."""
    if dimensions > 1:
        corners = [np.array(corner, dtype=float) for corner in ([0, 0], [1, 0], [1, 1], [0, 1])]
        edges = list(zip(corners, corners[1:] + corners[:1], strict=True))
    else:
        left, right, tick = np.array([0, 0.5]), np.array([1, 0.5]), np.array([0, 0.02])
        edges = [(left, right), (left - tick, left + tick), (right - tick, right + tick)]
    for start, end in edges:
        _line(canvas, start, end, 0.003, GREY)


def _flat(point: Point) -> Point:
    return point[:2] if len(point) > 1 else np.array([point[0], 0.5])


def _disc(canvas: np.ndarray, centre: Point, radius: float, colour: tuple) -> None:
    _line(canvas, centre, centre, radius, colour)


def _line(canvas: np.ndarray, start: Point, end: Point, radius: float, colour: tuple) -> None:
    """Blend in the points nearer than `radius` to the segment; a pixel on the edge takes its share of the colour."""
    start, end, radius = _pixels(start), _pixels(end), radius * _SCALE
    low = np.clip(np.floor(np.minimum(start, end) - radius - 1), 0, SIZE).astype(int)
    high = np.clip(np.ceil(np.maximum(start, end) + radius + 2), 0, SIZE).astype(int)
    across, down = np.meshgrid(np.arange(low[0], high[0]), np.arange(low[1], high[1]))
    offset, direction = np.stack([across, down], axis=-1) - start, end - start
    along = np.clip(offset @ direction / max(direction @ direction, 1e-12), 0, 1)
    gap = np.linalg.norm(offset - along[..., None] * direction, axis=-1)
    share = np.clip(radius - gap + 0.5, 0, 1)[..., None]
    area = canvas[low[1] : high[1], low[0] : high[0]]
    area += share * (np.array(colour) - area)


_SCALE = SIZE / (1 + 2 * MARGIN)


def _pixels(point: Point) -> Point:
    """Column and row, counted from the upper left."""
    return np.array([point[0] + MARGIN, 1 + MARGIN - point[1]]) * _SCALE - 0.5
