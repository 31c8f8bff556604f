"""DAgger (Ross, Gordon and Bagnell 2011): label the states that the learner itself visits, aggregate, clone again."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from imitation.mdp.tabular import check_probabilities

Visit = Callable[[Tensor], Tensor]  # a policy (S, A) -> how often it is in each state, counted or exact, (S,)
Fit = Callable[[Tensor], Tensor]  # labels n(s, a), (S, A) -> a policy (S, A)


class Learned(NamedTuple):
    """`policies` after each round, (N, S, A), of which the first is cloning; all rounds' `labels` n(s, a), (S, A)."""

    policies: Float[Tensor, "N S A"]
    labels: Float[Tensor, "S A"]


def aggregated(visits: Float[Tensor, "*batch S"], expert: Float[Tensor, "*#batch S A"]) -> Float[Tensor, "*batch S A"]:
    """What the expert answers in the visited states: n(s) pi_E(a|s), (..., S, A)."""
    return visits[..., None] * expert


def dagger(expert: Float[Tensor, "S A"], visit: Visit, fit: Fit, rounds: int) -> Learned:
    """Round 1 clones the expert in its own states; each later one adds those of the policy before it.

    Learner alone in every later round (beta_1 = 1, else 0): the authors' parameter-free choice.

    Args:
        expert: pi_E, which can be asked in every state, (S, A).
        visit: rolls a policy out: the sum of its states over an episode, sampled or exact.
        fit: clones the labels within the learner's class.
        rounds: at least 1; 1 is behavioural cloning.

    Raises:
        ValueError: an expert that is no law, or no round.
    """
    check_probabilities("expert", expert)
    if rounds < 1:
        raise ValueError(f"rounds={rounds}: must be at least 1")
    labels = aggregated(visit(expert), expert)
    policies = [fit(labels)]
    for _ in range(rounds - 1):
        labels = labels + aggregated(visit(policies[-1]), expert)
        policies.append(fit(labels))
    return Learned(torch.stack(policies), labels)
