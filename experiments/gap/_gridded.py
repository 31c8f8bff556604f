"""Random network energies on a quadrature grid of the action space: densities and gradients without sampling error."""

import copy
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from imitation.ebm.mlp import MLPEnergy
from imitation.population import normal_like, uniform_like

LIMIT = 1.1  # the paper samples actions from [-1.1, 1.1], in units where the data fill [-1, 1]
ACTIONS = OBSERVATIONS = 2  # dimensions


class Grid(NamedTuple):
    """Nodes (G, D) and the logarithms of their weights (G,), which sum to the volume."""

    nodes: Tensor
    log_weights: Tensor

    @property
    def log_volume(self) -> float:
        """The entropy of the uniform density, in nats."""
        return float(self.log_weights.logsumexp(0))


def grid(points: int, dimensions: int = ACTIONS) -> Grid:
    """Gauss and Legendre's rule with so many points per axis of [-LIMIT, LIMIT]^D."""
    places, weights = (torch.from_numpy(LIMIT * part) for part in np.polynomial.legendre.leggauss(points))
    nodes = torch.cartesian_prod(*[places] * dimensions).reshape(-1, dimensions)
    products = torch.cartesian_prod(*[weights] * dimensions).reshape(-1, dimensions)
    return Grid(nodes, products.log().sum(-1))


class Problem(NamedTuple):
    """One seed's network with B observations, a positive action for each, and where its integrals are taken."""

    network: MLPEnergy
    observation: Tensor  # (1, B, Dx)
    positive: Tensor  # (1, B, 1, Dy)
    grid: Grid

    def energies(self, action: Tensor) -> Tensor:
        """Energies (B, M) of actions (B, M, Dy)."""
        return self.network(self.observation, action[None])[0]

    def at_nodes(self) -> Tensor:
        """Energies of all nodes under each observation, (B, G)."""
        return self.energies(self.grid.nodes.expand(self.observation.shape[1], -1, -1))

    def of_positive(self) -> Tensor:
        """Energies of the positives, (B,)."""
        return self.energies(self.positive[0])[:, 0]


def problem(random: torch.Generator, observations: int, points: int, hidden: Sequence[int], std: float) -> Problem:
    """A network with normal weights, uniform observations and uniform positives, all in float64."""
    network = MLPEnergy(OBSERVATIONS, ACTIONS, random, hidden, std=std).double()
    empty = torch.empty(1, observations, OBSERVATIONS, dtype=torch.float64)
    observation = uniform_like(empty, random, -1.0, 1.0)
    positive = uniform_like(torch.empty(1, observations, 1, ACTIONS, dtype=torch.float64), random, -1.0, 1.0)
    return Problem(network, observation, positive, grid(points))


def log_masses(energies: Tensor, log_weights: Tensor) -> Tensor:
    """Logarithms of the nodes' probabilities w e^-E / Z: (..., G)."""
    return (log_weights - energies).log_softmax(-1)


def log_likelihood(positive: Tensor, energies: Tensor, log_weights: Tensor) -> Tensor:
    """log p(y_i | x_i) = -E+ - log Z of the continuous density: (...)."""
    return -positive - (log_weights - energies).logsumexp(-1)


def entropy(energies: Tensor, log_weights: Tensor) -> Tensor:
    """H(p(. | x)) = -integral of p log p, in nats and relative to the action's volume: (...)."""
    logs = log_masses(energies, log_weights)
    return -(logs.exp() * (logs - log_weights)).sum(-1)


def gradient(loss: Tensor, network: MLPEnergy) -> Tensor:
    """All of the loss's derivatives in the network's parameters, one after the other; the graph is kept."""
    slopes = torch.autograd.grad(loss, list(network.parameters()), retain_graph=True)
    return torch.cat([slope.flatten() for slope in slopes])


def gradients_apart(network: MLPEnergy, count: int, losses: Callable[[MLPEnergy], Tensor]) -> Tensor:
    """The gradients of `count` losses of one network: (count, parameters).

    Args:
        losses: from a population of `count` copies of the network to one loss per member, (count,).
    """
    copies = copy.deepcopy(network)
    for value in copies.parameters():
        value.data = value.data.expand(count, -1, -1).clone()
    slopes = torch.autograd.grad(losses(copies).sum(), list(copies.parameters()))
    return torch.cat([slope.flatten(1) for slope in slopes], 1)


def drawn(random: torch.Generator, masses: Tensor, count: int) -> Tensor:
    """Independent draws of nodes (B, count) by inverting the distribution function of masses (B, G)."""
    uniform = uniform_like(masses.new_empty(len(masses), count), random)
    steps = masses.cumsum(-1)
    return torch.searchsorted(steps / steps[:, -1:], uniform, right=True).clamp(max=masses.shape[-1] - 1)


@torch.no_grad()
def finite_difference(
    objective: Callable[[], Tensor], network: MLPEnergy, random: torch.Generator, step: float
) -> tuple[Tensor, float]:
    """A random unit direction of parameter space and the central difference of `objective()` along it.

    ReLU's kinks ask for a small step: a node that crosses one within the step spoils the difference.
    """
    start = nn.utils.parameters_to_vector(network.parameters())
    direction = nn.functional.normalize(normal_like(start, random), dim=0)
    values = []
    for sign in (1, -1):
        nn.utils.vector_to_parameters(start + sign * step * direction, network.parameters())
        values.append(float(objective()))
    nn.utils.vector_to_parameters(start, network.parameters())
    return direction, (values[0] - values[1]) / (2 * step)


def relative_error(estimate: Tensor, truth: Tensor) -> float:
    """Length of the difference over the length of the truth."""
    return float((estimate - truth).norm() / truth.norm())
