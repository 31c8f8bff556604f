"""Demonstrations of a greedy expert as counts of states and actions."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from imitation.mdp.grid import GridWorld

TIE = 1e-11  # nats: rounding of log-probabilities stays below, so that it never chooses between equal actions


def demonstrate(
    world: GridWorld, log_policy: Float[Tensor, "S A"], episodes: int, rng: np.random.Generator
) -> Float[Tensor, "S A"]:
    """How often each action was taken in each state by the policy's likeliest actions, (S, A).

    Of equally likely actions it is the first. An episode starts from the initial law and ends with the action taken
    at a goal.

    Raises:
        ValueError: no episode, or one that reaches no goal within 1000 steps.
    """
    if episodes < 1:
        raise ValueError(f"episodes={episodes}: must be at least 1")
    transition, initial = world.mdp.transition.numpy(), world.mdp.initial.numpy()
    likeliest = log_policy >= log_policy.amax(-1, keepdim=True) - TIE
    greedy = likeliest.int().argmax(-1).tolist()
    counts = torch.zeros_like(log_policy)
    for _ in range(episodes):
        state = int(rng.choice(len(initial), p=initial))
        for _ in range(1000):
            counts[state, greedy[state]] += 1
            if state in world.goals:
                break
            state = int(rng.choice(len(initial), p=transition[state, greedy[state]]))
        else:
            raise ValueError("an episode reached no goal within 1000 steps")
    return counts


def frequencies(counts: Float[Tensor, "*batch S A"]) -> Float[Tensor, "*batch S A"]:
    """Shares of all demonstrated steps, (..., S, A), summing to one over states and actions.

    Raises:
        ValueError: counts that are negative or not finite, or no step.
    """
    total = counts.sum((-2, -1), keepdim=True)
    if not bool((counts >= 0).all()) or not bool(((total > 0) & total.isfinite()).all()):
        raise ValueError("counts of demonstrated steps must be finite and not negative, with at least one step")
    return counts / total
