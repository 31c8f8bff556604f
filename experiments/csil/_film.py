"""A film strip that a table can hold: where a MuJoCo body's capsules are at a few times, drawn from the side."""

from collections.abc import Callable, Mapping
from typing import Any

import gymnasium as gym
import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from torch import Tensor

from experiments.harness import style
from imitation.envs.control import OPTIONS
from imitation.envs.making import make, middle_and_half
from imitation.envs.pictures import CAPSULE, ends_of

TIMES = (0, 20, 40, 60, 80, 120, 160, 200, 240)  # control steps that are shown


def poses(environment: str, act: Callable[[Tensor], Tensor], seed: int) -> list[dict[str, float]]:
    """Rows of an episode, one per time and capsule: both ends (x, z) in metres, and the capsule's radius.

    Args:
        act: observation (1, 1, Do) -> action (1, 1, Da) in [-1, 1].
        seed: of the episode's start. It ends early if the task does.
    """
    env = make(environment, OPTIONS.get(environment))
    assert isinstance(env.action_space, gym.spaces.Box)
    middle, half = middle_and_half(env.action_space.low, env.action_space.high)
    observation, _ = env.reset(seed=seed)
    rows, over = [], False
    for time in range(TIMES[-1] + 1):
        if time in TIMES:
            rows += [{"time": time, **one} for one in _capsules(env.unwrapped)]
        if over:
            break
        with torch.no_grad():
            action = act(torch.from_numpy(observation).float()[None, None])[0, 0].double().numpy()
        observation, _, terminated, truncated, _ = env.step(middle + half * action)
        over = terminated or truncated
    env.close()
    return rows


def _capsules(env: Any) -> list[dict[str, float]]:
    numbers = np.flatnonzero(env.model.geom_type == CAPSULE)
    radii, half = env.model.geom_size[numbers, :2].T
    placed = zip(ends_of(env.data, numbers, half), radii, strict=True)
    return [{"x0": x0, "z0": z0, "x1": x1, "z1": z1, "radius": radius} for ((x0, z0), (x1, z1)), radius in placed]


def draw(axis: Axes, frame: pd.DataFrame, looks: Mapping[str, tuple[str, str]]) -> None:
    """A line of poses per policy, from left to right in time, with the distance that the body has moved.

    Args:
        looks: method -> label and colour, from the top; methods without poses are left out.
    """
    rows = frame[frame.metric == "pose"]
    if rows.empty:
        axis.set_axis_off()
        return
    ends = rows.assign(left=rows[["x0", "x1"]].min(axis=1), right=rows[["x0", "x1"]].max(axis=1))
    spans = ends.groupby(["method", "time"]).agg({"left": "min", "right": "max"})
    height = 1.3 * float(rows[["z0", "z1"]].max().max())
    width = max(1.15 * float((spans.right - spans.left).max()), height)  # a Hopper is tall and thin
    for line, name in enumerate(name for name in looks if name in set(rows.method)):
        mine, base = rows[rows.method == name], -line * height
        start = _middle(mine[mine.time == TIMES[0]])
        for time, pose in mine.groupby("time"):
            place, moved = TIMES.index(int(float(str(time)))) * width, _middle(pose) - start
            across = pose[["x0", "x1"]].to_numpy().T - start - moved + place
            axis.plot(across, pose[["z0", "z1"]].to_numpy().T + base, color=looks[name][1], linewidth=2.5)
            axis.annotate(
                f"{moved:+.1f}",
                (place, base),
                (0, -1),
                textcoords="offset points",
                fontsize=5.5,
                va="top",
                ha="center",
            )
        seen = mine.time.nunique()
        if seen < len(TIMES):
            axis.annotate("episode over", ((seen - 0.4) * width, base + 0.4 * height), fontsize=6)
        axis.axhline(base, color=style.GREY, linewidth=0.6, zorder=0)
        axis.annotate(looks[name][0], (-1.35 * width, base + 0.4 * height), fontsize=7)
    axis.set(aspect="equal", yticks=[], xlim=(-1.4 * width, (len(TIMES) - 0.4) * width))
    axis.set_ylim(axis.get_ylim()[0] - 0.25 * height)  # room for the distances
    axis.set_xticks([place * width for place in range(len(TIMES))], [str(time) for time in TIMES])
    axis.set_xlabel("control steps; below the poses, how far the body has moved by then (m)")
    axis.spines["left"].set_visible(False)


def _middle(pose: pd.DataFrame) -> float:
    return float(pose[["x0", "x1"]].to_numpy().mean())
