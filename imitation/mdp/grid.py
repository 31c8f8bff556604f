"""The grid worlds of the tabular study: sparse and dense rewards, with and without a wind to the right.

Watson et al. 2023, Section 5.1; sizes and rewards as in the authors' public notebook. State s = y width + x; the
actions are right, left, up and down (x + 1, x - 1, y + 1, y - 1), and walls stop the agent. A goal sends the agent
back to a first state.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from imitation.mdp.tabular import TabularMDP

MOVES = ((1, 0), (-1, 0), (0, 1), (0, -1))


@dataclass(frozen=True)
class GridWorld:
    """Dynamics, the reward of a state under every action (S, A), and the states that end an episode."""

    mdp: TabularMDP
    reward: Float[Tensor, "S A"]
    goals: tuple[int, ...]


def sparse_grid(width: int, discount: float, wind: float = 0.0) -> GridWorld:
    """From one corner to the next one along an edge: +1/(1-gamma) there, -1/(1-gamma) at a trap on the way.

    Args:
        width: at least 5, so that the way around the trap exists.
        discount: gamma in [0, 1).
        wind: probability with which a step goes to the right instead.

    Raises:
        ValueError: a value outside its range.
    """
    _check(width, discount, wind)
    goal, trap = width * (width - 1), 3 * width
    initial = torch.zeros(width * width, dtype=torch.float64)
    initial[0] = 1
    reward = torch.zeros_like(initial)
    reward[goal], reward[trap] = 1 / (1 - discount), -1 / (1 - discount)
    return _grid(width, initial, reward, (goal,), wind)


def dense_grid(width: int, discount: float, wind: float = 0.0) -> GridWorld:
    """Uniform first states and four goals of reward 1, near the quarter points; arguments as in `sparse_grid`."""
    _check(width, discount, wind)
    goals = tuple(share * width // 4 for share in (13, 15, 29, 31))
    initial = torch.full((width * width,), 1 / width**2, dtype=torch.float64)
    reward = torch.zeros_like(initial)
    reward[list(goals)] = 1
    return _grid(width, initial, reward, goals, wind)


def _check(width: int, discount: float, wind: float) -> None:
    if width < 5:
        raise ValueError(f"width={width}: must be at least 5")
    if not 0 <= discount < 1:
        raise ValueError(f"discount={discount}: must be at least 0 and below 1")
    if not 0 <= wind <= 1:
        raise ValueError(f"wind={wind}: must be between 0 and 1")


def _grid(width: int, initial: Tensor, reward: Tensor, goals: Sequence[int], wind: float) -> GridWorld:
    state = torch.arange(width * width)
    moves = [_moved(state, dx, dy, width) for dx, dy in MOVES]
    one_hot = torch.eye(width * width, dtype=torch.float64)
    calm = torch.stack([one_hot[after] for after in moves], dim=1)
    transition = (1 - wind) * calm + wind * one_hot[moves[0]][:, None]
    transition[list(goals)] = initial  # no wind where the episode ends
    return GridWorld(TabularMDP(transition, initial), reward[:, None].repeat(1, len(MOVES)), tuple(goals))


def _moved(state: Tensor, dx: int, dy: int, width: int) -> Tensor:
    x = (state % width + dx).clamp(0, width - 1)
    y = (state // width + dy).clamp(0, width - 1)
    return y * width + x
