"""Linear policies with Gaussian weights: a = w . phi(s) + noise, w ~ N(m, C). Everything is in closed form.

The policy is the predictive law, N(m . phi, phi' C phi + noise^2), and the prior is that of w ~ N(0, I).
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from imitation.mdp import TabularMDP, discounted_occupancy


class Weights(NamedTuple):
    """The law of w: `mean` (B, d) and `covariance` (B, d, d)."""

    mean: Tensor
    covariance: Tensor


def standard(count: int, dimension: int) -> Weights:
    """N(0, I) for each of `count` processes."""
    eye = torch.eye(dimension, dtype=torch.float64)
    return Weights(torch.zeros(count, dimension, dtype=torch.float64), eye.repeat(count, 1, 1))


class Data(NamedTuple):
    """Demonstrations: the `states` visited (B, n) and the `actions` taken (B, n)."""

    states: Tensor
    actions: Tensor


def demonstrate(
    mdp: TabularMDP, features: Tensor, noise: float, discount: float, count: int, rng: np.random.Generator
) -> Data:
    """An expert with weights from the prior: states from its own occupancy, and its noisy actions there."""
    size, _, dimension = features.shape
    expert = Weights(
        torch.from_numpy(rng.normal(size=(size, dimension))), torch.zeros(1, dimension, dimension).double()
    )
    law = predictive(expert, features, noise)
    visits = occupancy(mdp, law, discount)
    states = torch.from_numpy(np.stack([rng.choice(len(row), size=count, p=row) for row in visits.numpy()]))
    draws = torch.from_numpy(rng.normal(size=(size, count)))
    return Data(states, law.mean.gather(-1, states) + noise * draws)


def posterior(features: Tensor, data: Data, noise: float) -> Weights:
    """Bayes' posterior of w under the prior N(0, I), given features (B, S, d)."""
    seen = torch.take_along_dim(features, data.states[..., None], dim=1)  # (B, n, d)
    precision = seen.mT @ seen / noise**2 + torch.eye(features.shape[-1], dtype=torch.float64)
    covariance = torch.linalg.inv(precision)
    mean = covariance @ (seen.mT @ data.actions[..., None]) / noise**2
    return Weights(mean.squeeze(-1), (covariance + covariance.mT) / 2)


def mean_log_likelihood(policy: Normal, data: Data) -> Tensor:
    """E_D[log q(a|s)], (B,)."""
    chosen = Normal(policy.mean.gather(-1, data.states), policy.stddev.gather(-1, data.states))
    return chosen.log_prob(data.actions).mean(-1)


def arbitrary(count: int, dimension: int, rng: np.random.Generator) -> Weights:
    """Any mean, and covariances narrower and wider than the prior's."""
    factor = torch.from_numpy(rng.normal(size=(count, dimension, dimension)) / math.sqrt(dimension))
    scale = torch.from_numpy(np.exp(rng.normal(size=(count, 1, 1))))
    covariance = scale * factor @ factor.mT + 1e-3 * torch.eye(dimension, dtype=torch.float64)
    return Weights(torch.from_numpy(rng.normal(size=(count, dimension))), covariance)


def weight_divergence(weights: Weights) -> Tensor:
    """KL(q(w) || N(0, I)), (B,)."""
    prior = standard(*weights.mean.shape)
    return kl_divergence(MultivariateNormal(*weights), MultivariateNormal(*prior))


def predictive(weights: Weights, features: Tensor, noise: float) -> Normal:
    """The policy at features (B, S, d): a law of one action, (B, S)."""
    mean = (features @ weights.mean[..., None]).squeeze(-1)
    variance = (features @ weights.covariance * features).sum(-1) + noise**2
    return Normal(mean, variance.sqrt())


def occupancy(mdp: TabularMDP, policy: Normal, discount: float) -> Tensor:
    """How often each state is visited, (B, S), summing to one, where action a leads to P_1 with probability Phi(a).

    E Phi(a) = Phi(mean / sqrt(1 + variance)) for a Gaussian a; P_0 and P_1 are the process's two actions.
    """
    one = torch.special.ndtr(policy.mean / (1 + policy.variance).sqrt())
    return discounted_occupancy(mdp, torch.stack([1 - one, one], -1), discount)


def mean_log_ratio(policy: Normal, prior: Normal) -> Tensor:
    """E_{a ~ q(.|s)}[log q(a|s) - log p(a|s)] by Gauss-Hermite quadrature, exact for quadratics, (B, S)."""
    nodes, weights = (torch.from_numpy(values) for values in np.polynomial.hermite.hermgauss(5))
    actions = policy.mean + policy.stddev * math.sqrt(2) * nodes[:, None, None]
    ratio = policy.log_prob(actions) - prior.log_prob(actions)
    return (weights[:, None, None] * ratio).sum(0) / math.sqrt(math.pi)
