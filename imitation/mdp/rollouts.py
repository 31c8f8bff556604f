"""Episodes of time-indexed policies in tabular processes, all simulated side by side, and counts of them."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from imitation.mdp.tabular import TabularMDP, check_probabilities


class Episodes(NamedTuple):
    """`states` and `actions` of steps 1..H of N episodes, (N, H)."""

    states: Int[Tensor, "N H"]
    actions: Int[Tensor, "N H"]


def rollouts(mdp: TabularMDP, policy: Float[Tensor, "H S A"], episodes: int, rng: np.random.Generator) -> Episodes:
    """Draw episodes of one policy in one process.

    Raises:
        ValueError: a process with leading axes, a policy of a wrong shape or that is no law, or no episode.
    """
    shape = (mdp.states, mdp.actions)
    if mdp.transition.ndim != 3 or policy.ndim != 3 or tuple(policy.shape[1:]) != shape or not len(policy):
        raise ValueError(f"policy {tuple(policy.shape)}: must be (H, S, A) with S, A = {shape}, in one process")
    if episodes < 1:
        raise ValueError(f"episodes={episodes}: must be at least 1")
    check_probabilities("policy", policy)
    choose, move = _thresholds(policy), _thresholds(mdp.transition)
    draws = rng.random((2 * len(policy) + 1, episodes, 1))  # at once: a call per step costs more than its numbers
    state = _inverted(_thresholds(mdp.initial), draws[0])
    states, actions = np.empty((2, len(policy), episodes), dtype=np.int64)
    for step, (first, second) in enumerate(zip(draws[1::2], draws[2::2], strict=True)):
        states[step] = state
        actions[step] = _inverted(choose[step, state], first)
        state = _inverted(move[state, actions[step]], second)
    return Episodes(torch.from_numpy(states.T), torch.from_numpy(actions.T))


def _thresholds(probabilities: Tensor) -> np.ndarray:
    """Cumulative sums whose last entries with mass are one, so that rounding never draws what is impossible."""
    sums = probabilities.numpy().cumsum(-1)
    return np.where(sums >= sums[..., -1:], 1.0, sums)


def _inverted(thresholds: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """One index per row, (N, K) or (K,) at draws (N, 1) -> (N,), by inversion."""
    return np.add.reduce(draws >= thresholds, -1)


def step_counts(episodes: Episodes, states: int, actions: int) -> Float[Tensor, "H S A"]:
    """n_h(s, a), how many episodes were in s and took a at step h, (H, S, A).

    Raises:
        ValueError: a state or an action outside its range.
    """
    for name, values, size in (("state", episodes.states, states), ("action", episodes.actions, actions)):
        if not bool(((values >= 0) & (values < size)).all()):
            raise ValueError(f"{name}: must be between 0 and {size - 1}")
    number, horizon = episodes.states.shape
    step = torch.arange(horizon).expand(number, horizon)
    flat = (step * states + episodes.states) * actions + episodes.actions
    return torch.bincount(flat.flatten(), minlength=horizon * states * actions).double().view(horizon, states, actions)
