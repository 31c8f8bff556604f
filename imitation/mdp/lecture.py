"""The decision processes of Lecture 18: Figs. 18.1 and 18.2, an example about Pareto frontiers, and a cliff.

Where a figure leaves a transition open, the action keeps the agent where it is.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from imitation.mdp.tabular import TabularMDP


@dataclass(frozen=True)
class Example:
    """A process, the rewards that may judge a policy in it, and names for drawing.

    Args:
        mdp: the dynamics.
        rewards: f_k(s, a), (S, A, K): the set R; where it has one member, that is the reward.
        states: names of the states.
        actions: names of the actions.
    """

    mdp: TabularMDP
    rewards: Float[Tensor, "S A K"]
    states: tuple[str, ...]
    actions: tuple[str, ...]


def compounding() -> Example:
    """Fig. 18.1: a1 moves on (s0 to s1, s1 to s2, s2 to s1), a2 stays; the reward is 1 in s1. The start is s0."""
    return Example(
        _deterministic([[1, 0], [2, 1], [1, 2]]), _in_states(3, 2, [{1: 1.0}]), ("s0", "s1", "s2"), ("a1", "a2")
    )


def compounding_policy(epsilon: Float[Tensor, "*batch"], recovery: Float[Tensor, "*batch"]) -> Tensor:
    """The learners of Fig. 18.1: a1 in s0, a1 with probability `epsilon` in s1 and `recovery` in s2, (..., 3, 2).

    Recovery 1 is pi_1, recovery 0 is pi_2; epsilon 0 is the expert.

    Raises:
        ValueError: a probability outside [0, 1].
    """
    _check_probability("epsilon", epsilon)
    _check_probability("recovery", recovery)
    first = torch.stack([torch.ones_like(epsilon), epsilon, recovery], -1)
    return torch.stack([first, 1 - first], -1)


def two_mistakes() -> Example:
    """Fig. 18.2: from s1, `stay` remains, `change lane` leads to s2 and `crash` to s3, both for ever.

    R has the cost of either mistake and the expert's own state: -1[s2], -1[s3] and 1[s1].
    """
    rewards = _in_states(4, 3, [{2: -1.0}, {3: -1.0}, {1: 1.0}])
    following = [[1, 0, 0], [1, 2, 3], [2, 2, 2], [3, 3, 3]]
    return Example(_deterministic(following), rewards, ("s0", "s1", "s2", "s3"), ("stay", "change lane", "crash"))


def two_mistakes_policy(lane: Float[Tensor, "*batch"], crash: Float[Tensor, "*batch"]) -> Tensor:
    """In s1, change lane and crash with these probabilities; else what the expert does, (..., 4, 3).

    (epsilon, 0) is the lecture's first policy, (0, epsilon) its second (the caption calls both pi_1).

    Raises:
        ValueError: a probability, or their sum, outside [0, 1].
    """
    for name, value in (("lane", lane), ("crash", crash), ("lane + crash", lane + crash)):
        _check_probability(name, value)
    policy = torch.zeros(*lane.shape, 4, 3, dtype=torch.float64)
    policy[..., 0] = 1
    policy[..., 1, :] = torch.stack([1 - lane - crash, lane, crash], -1)
    return policy


def pareto() -> Example:
    """One state and three actions whose returns over H = 5 under (r1, r2) are (5, 5), (5, 5) and (5, 6).

    The expert takes the first. The second solves the game (18.1), and the third dominates it: equilibria are
    weakly Pareto-optimal only.
    """
    rewards = torch.tensor([[[1, 1], [1, 1], [1, 1.2]]], dtype=torch.float64)
    return Example(_deterministic([[0, 0, 0]]), rewards, ("s0",), ("expert", "A", "B"))


def cliff(depth: int, escape: bool = True) -> Example:
    """A path along a cliff: state 0 is the path, state i > 0 is i steps below it, and the bottom is `depth` below.

    `keep` stays on the path and climbs one step below it; `slip` falls to the bottom from anywhere. The reward is 1
    on the path. A policy that slips with probability 1/2 below the path needs 2^(depth + 1) - 2 steps to come back,
    one that never does `depth` steps.

    Args:
        depth: at least 1.
        escape: whether the bottom can be left at all.

    Raises:
        ValueError: a depth below 1.
    """
    if depth < 1:
        raise ValueError(f"depth={depth}: must be at least 1")
    following = [[max(state - 1, 0), depth] for state in range(depth + 1)]
    if not escape:
        following[depth] = [depth, depth]
    names = ("path", *(f"{below} below" for below in range(1, depth + 1)))
    return Example(_deterministic(following), _in_states(depth + 1, 2, [{0: 1.0}]), names, ("keep", "slip"))


def expert(example: Example, action: int = 0) -> Float[Tensor, "S A"]:
    """The policy that takes one action everywhere, (S, A)."""
    policy = torch.zeros(example.mdp.states, example.mdp.actions, dtype=torch.float64)
    policy[:, action] = 1
    return policy


def _deterministic(following: list[list[int]]) -> TabularMDP:
    """The process that goes from s to following[s][a], starting in state 0."""
    one_hot = torch.eye(len(following), dtype=torch.float64)
    return TabularMDP(one_hot[torch.tensor(following)], one_hot[0])


def _in_states(states: int, actions: int, rewards: list[dict[int, float]]) -> Tensor:
    """Rewards that depend on the state alone, (S, A, K), from state -> value for each of the K."""
    values = torch.zeros(states, actions, len(rewards), dtype=torch.float64)
    for number, reward in enumerate(rewards):
        for state, value in reward.items():
            values[state, :, number] = value
    return values


def _check_probability(name: str, value: Tensor) -> None:
    if not bool(((value >= 0) & (value <= 1)).all()):
        raise ValueError(f"{name}: must be between 0 and 1")
