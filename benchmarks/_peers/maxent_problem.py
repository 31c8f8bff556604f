"""What every contestant of `benchmarks/maxent_irl.py` is given: a process, features of states, an expert, a target.

Only numpy is imported, because this file is read by the interpreters of all peers.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

FEATURES = 20
TARGET = 1e-3  # the moment gap at which a solver may stop, l2, where a moment is a sum over the horizon
SUCCESSORS = 10  # states that an action can lead to: dense random laws would mix in one step


class Problem(NamedTuple):
    """transition (S, A, S), initial (S,), features (S, K), multipliers (K,) of the expert's reward, horizon."""

    transition: np.ndarray
    initial: np.ndarray
    features: np.ndarray
    multipliers: np.ndarray
    horizon: int


def write(path: Path, states: int, actions: int, horizon: int) -> None:
    """Draw the problem of these sizes."""
    rng = np.random.default_rng(0)
    transition = np.zeros((states, actions, states))
    for row in transition.reshape(-1, states):
        row[rng.choice(states, min(SUCCESSORS, states), replace=False)] = rng.dirichlet(
            np.ones(min(SUCCESSORS, states))
        )
    np.savez(
        path, transition=transition, initial=np.full(states, 1 / states), horizon=horizon,
        features=rng.uniform(size=(states, FEATURES)), multipliers=rng.normal(size=FEATURES),
    )  # fmt: skip


def read(path: str | Path) -> Problem:
    """The problem as arrays."""
    with np.load(path) as data:
        return Problem(data["transition"], data["initial"], data["features"], data["multipliers"], int(data["horizon"]))


def moments(problem: Problem, multipliers: np.ndarray) -> np.ndarray:
    """The features' sum over the H steps under the soft best response, (K,): plain numpy, to check everyone with."""
    reward = problem.features @ multipliers
    value, policies = np.zeros(len(reward)), []
    for _ in range(problem.horizon):
        action_value = reward[:, None] + problem.transition @ value
        top = action_value.max(1, keepdims=True)
        value = top[:, 0] + np.log(np.exp(action_value - top).sum(1))
        policies.append(np.exp(action_value - value[:, None]))
    law, total = problem.initial, np.zeros(len(reward))
    for policy in policies[::-1]:
        total += law
        law = np.einsum("sa,sat->t", law[:, None] * policy, problem.transition, optimize=True)
    return problem.features.T @ total


def gap(problem: Problem, multipliers: np.ndarray) -> float:
    """The l2 distance of the moments to the expert's."""
    return float(np.linalg.norm(moments(problem, multipliers) - moments(problem, problem.multipliers)))
