"""Learners that look at the demonstrations once: cloning, a fixed classifier's reward, and the coherent reward."""

from jaxtyping import Float
from torch import Tensor

from imitation.mdp.soft import Solution, coherent_reward, soft_value_iteration
from imitation.mdp.tabular import TabularMDP

FLOOR = 1e-6  # added to every cloned probability: it bounds the coherent reward below


def cloned(counts: Float[Tensor, "*batch S A"], log_prior: Float[Tensor, "*#batch S A"]) -> Float[Tensor, "*batch S A"]:
    """log q(a|s) of the policy that maximises sum_a n(s, a) q(a|s) - KL(q(.|s) || p(.|s)): q ~ p exp n, (..., S, A).

    In a state without demonstrations it is the prior. `FLOOR` keeps it positive everywhere.
    """
    policy = (counts + log_prior).softmax(-1) + FLOOR
    return (policy / policy.sum(-1, keepdim=True)).log()


def classifier(
    mdp: TabularMDP,
    counts: Float[Tensor, "*batch S A"],
    log_prior: Float[Tensor, "*#batch S A"],
    discount: float,
    temperature: float = 0.01,
    iterations: int = 1000,
) -> Solution:
    """Reward 1 for what was demonstrated and 0 for the rest, the ideal of SQIL and ORIL."""
    reward = (counts > 0).to(counts)
    return soft_value_iteration(mdp, reward, log_prior, temperature, discount, iterations)


def coherent_imitation(
    mdp: TabularMDP,
    counts: Float[Tensor, "*batch S A"],
    log_prior: Float[Tensor, "*#batch S A"],
    discount: float,
    reward_temperature: float = 1.0,
    policy_temperature: float = 1e-3,
    iterations: int = 1000,
) -> Solution:
    """Coherent soft imitation learning (CSIL): the clone's coherent reward, optimised at a lower temperature.

    At policy_temperature = reward_temperature the result is the clone itself.

    Args:
        reward_temperature: alpha, of the reward alpha (log q - log p).
        policy_temperature: beta < alpha, of the policy.
    """
    reward = coherent_reward(cloned(counts, log_prior), log_prior, reward_temperature)
    return soft_value_iteration(mdp, reward, log_prior, policy_temperature, discount, iterations)
