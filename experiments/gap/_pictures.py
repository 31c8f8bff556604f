"""What trained policies look like: energies over the action square with negatives on them, and paths."""

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.patches import Circle

from experiments.gap._particle import Validation, some
from experiments.harness import stats, style
from imitation.envs.particle import GOAL_RADIUS, rollout, rollout_oracle
from imitation.population import Generators

NEGATIVES = 64  # drawn, per observation


def landscapes(validation: Validation, seed: int, times: tuple[int, ...], grid: int) -> list[dict]:
    """Energies of the first member at the oracle's observations at these control steps of its first episode.

    Rows of metric `landscape` (value: the energy less the least on the grid; x, y: the action in the environment's
    units), `negative` (x, y of what the proposal draws) and `demonstrated` (x, y of the oracle's action).
    """
    one, data = validation.one, validation.data
    shown = rollout_oracle(some(validation.start, 1))
    side = torch.linspace(0, 1, grid, dtype=torch.float64)
    actions = torch.cartesian_prod(side, side)[None, None]  # (1, 1, G, 2)
    rows = []
    for time in times:
        observation = torch.cat([shown.observations[max(time - 1, 0)], shown.observations[time]], -1)  # (P, 1, 8N)
        scaled = data.input_scaling.scaled(observation).float()
        square = data.action_scaling.scaled(actions.expand(len(scaled), -1, -1, -1)).float()
        with torch.no_grad():
            energies = one.energy(scaled, square)[0, 0]
        negatives = _negatives(validation, scaled, shown.actions[time], seed)
        rows += _points("landscape", time, actions[0, 0], (energies - energies.min()).tolist())
        rows += _points("negative", time, negatives)
        rows += _points("demonstrated", time, shown.actions[time][0])
    return [row | {"seed": seed} for row in rows]


def _negatives(validation: Validation, observation: torch.Tensor, action: torch.Tensor, seed: int) -> torch.Tensor:
    """What the first member's proposal draws now, (NEGATIVES or more, 2)."""
    one, data = validation.one, validation.data
    random = Generators([seed + 2**33 + member for member in range(len(observation))], observation.device)
    positive, drawn = data.action_scaling.scaled(action).float(), []
    while sum(each.shape[1] for each in drawn) < NEGATIVES:
        drawn.append(one.proposal.draw(one.energy, observation, positive, random)[:, 0])
    return data.action_scaling.unscaled(torch.cat(drawn, 1).double())[0]


def paths(validation: Validation, iterations: int, seed: int, episodes: int) -> list[dict]:
    """The first member's first episodes: rows of metric `path`, x, y at control step `step` of episode `item`.

    `value` is 1 where the episode succeeded. `goal` rows give both goals, `step` 1 and 2.
    """
    start = some(validation.start, episodes)
    found = rollout(validation.policy(iterations).act, start)
    rows = []
    for item in range(found.success.shape[1]):
        success = float(found.success[0, item])
        rows += [row | {"step": step} for step, row in enumerate(_points("path", item, found.positions[:, 0, item]))]
        goals = torch.stack([start.first_goal[0, item], start.second_goal[0, item]])
        rows += [row | {"step": step} for step, row in enumerate(_points("goal", item, goals), start=1)]
        rows = [{"value": success} | row for row in rows]
    return [row | {"seed": seed} for row in rows]


def _points(metric: str, item: int, points: torch.Tensor, values: list[float] | None = None) -> list[dict]:
    rows = [{"metric": metric, "item": item, "x": x, "y": y} for x, y in points.tolist()]
    return rows if values is None else [row | {"value": value} for row, value in zip(rows, values, strict=True)]


def draw_landscape(axis: Axes, rows: pd.DataFrame, reach: float) -> None:
    """Energies up to `reach` above their least, the negatives and the oracle's action."""
    energies = rows[rows.metric == "landscape"].pivot_table(index="y", columns="x", values="value")
    axis.pcolormesh(
        energies.columns.to_numpy(float), energies.index.to_numpy(float), energies.to_numpy(), cmap="Blues_r",
        shading="nearest", vmin=0, vmax=reach, rasterized=True,
    )  # fmt: skip
    negatives, wanted = rows[rows.metric == "negative"], rows[rows.metric == "demonstrated"]
    axis.plot(negatives.x, negatives.y, ".", color=style.ORANGE, markersize=2.5, markeredgewidth=0, label="negatives")
    axis.plot(wanted.x, wanted.y, "x", color=style.VERMILION, markersize=6, markeredgewidth=1.5, label="demonstrated")
    _square(axis)


def draw_paths(axis: Axes, rows: pd.DataFrame) -> None:
    """Paths from their starts; circles are the goals, within which an episode must have been."""
    for _, path in rows[rows.metric == "path"].groupby("item"):
        colour = style.BLUE if path.value.iloc[0] else style.VERMILION
        axis.plot(path.x, path.y, "-", color=colour, linewidth=1)
        axis.plot(path.x.iloc[0], path.y.iloc[0], ".", color=colour, markersize=4)
    for _, goal in rows[rows.metric == "goal"].iterrows():
        fill = style.GREY if goal.step == 1 else "none"
        axis.add_patch(Circle((goal.x, goal.y), GOAL_RADIUS, facecolor=fill, edgecolor=style.BLACK, linewidth=0.6))
    _square(axis)


def draw_curve(axis: Axes, rows: pd.DataFrame, colour: str, label: str = "") -> pd.DataFrame:
    """Success by the inference that decides: each seed thin, the interquartile mean with its 95 % interval thick.

    Returns what it drew, a line per step, a column per seed.
    """
    rows = rows[(rows.metric == "success") & (rows.decides == 1)]
    table = rows.pivot_table(index="step", columns="seed", values="value")
    axis.plot(table.index, table.to_numpy(), color=colour, linewidth=0.6, alpha=0.6)
    middle = [stats.bootstrap_interval(seeds, stats.interquartile_mean) for seeds in table.to_numpy()]
    center, low, high = np.array(middle).T
    axis.plot(table.index, center, color=colour, linewidth=2.2, label=label)
    axis.fill_between(table.index.to_numpy(), low, high, color=colour, alpha=0.25, linewidth=0)
    return table


def _square(axis: Axes) -> None:
    axis.set(xlim=(0, 1), ylim=(0, 1), aspect="equal", xticks=[0, 1], yticks=[0, 1])
