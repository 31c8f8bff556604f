"""What a learner reads from demonstrations: one row per action, with the observations that it was chosen for."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from imitation.demonstrations.episodes import Demonstrations


class Frames(NamedTuple):
    """B transitions in order of episode and time.

    Attributes:
        inputs: (B, history Dx), the last observations side by side, the oldest first.
        actions: (B, Dy).
        episodes: (B,), the number of the episode that a row is from.
    """

    inputs: Float64[Tensor, "B D"]
    actions: Float64[Tensor, "B Dy"]
    episodes: Int64[Tensor, "B"]


def frames(demonstrations: Demonstrations, history: int = 2) -> Frames:
    """The last `history` observations before each action; the first one stands in for those before the start.

    With `history=2` these are the inputs that `imitation.envs.particle.rollout` gives to a policy.

    Raises:
        ValueError: `history` below 1.
    """
    if history < 1:
        raise ValueError(f"history={history}: must be at least 1")
    inputs = []
    for episode in demonstrations.episodes:
        # (T, history): which observations stand in which row.
        which = np.arange(len(episode))[:, None] + np.arange(1 - history, 1)
        inputs.append(episode.observations[which.clip(min=0)].reshape(len(episode), -1))
    lengths = torch.tensor([len(episode) for episode in demonstrations.episodes])
    return Frames(
        _joined(inputs),
        _joined([episode.actions for episode in demonstrations.episodes]),
        torch.arange(len(lengths)).repeat_interleave(lengths),
    )


def _joined(arrays: list[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.concatenate(arrays).astype(np.float64, copy=False))
