"""Our training step, plain autograd's, and one idea after another between them, served to `benchmarks/ibc_step.py`.

All variants train the same energies from the same start on the same batches, and draw the same numbers in the same
order: only the arithmetic differs.
"""

import sys
from collections.abc import Callable
from itertools import cycle
from unittest import mock

import problem
import serving
import torch
import training
from torch import Tensor, nn

from imitation.ebm import losses
from imitation.ebm.implicit import Learner, Objective
from imitation.ebm.langevin import Gradient, Langevin
from imitation.ebm.mlp import MLPEnergy
from imitation.ebm.negatives import ShortChains
from imitation.nn import products
from imitation.nn.optimiser import stepwise
from imitation.population import Generators, uniform_like

GIVEN = training.read(sys.argv[1])
OBSERVATIONS, ACTIONS = torch.from_numpy(GIVEN.observations), torch.from_numpy(GIVEN.actions)
BOUNDS = (problem.LOW, problem.HIGH)
SIZES = [problem.NETWORK_STEP_SIZE] * problem.NETWORK_STEPS
KERNEL = Langevin("ibc", clip=problem.CLIP, bounds=BOUNDS)
MEMBER = 0  # the population has one

Sampler = Callable[[MLPEnergy, nn.Sequential, Tensor], Gradient]  # from observations (B, Dx)


def start() -> MLPEnergy:
    """Our energy with the common weights."""
    energy = MLPEnergy(problem.OBSERVATION_DIM, problem.ACTION_DIM, torch.Generator(), problem.HIDDEN)
    with torch.no_grad():
        pairs = zip([*energy.weights, *energy.biases], [*GIVEN.weights, *GIVEN.biases], strict=True)
        for parameter, value in pairs:
            parameter.copy_(torch.from_numpy(value).reshape(parameter.shape))
    return energy


def as_sequential(energy: MLPEnergy) -> nn.Sequential:
    """The same network of torch's own layers, which share their memory with our energy's weights."""
    layers: list[nn.Module] = []
    for weight, bias in zip(energy.weights, energy.biases, strict=True):
        linear = nn.Linear(*weight.shape[1:])
        linear.weight = nn.Parameter(weight.detach()[MEMBER].mT)
        linear.bias = nn.Parameter(bias.detach()[MEMBER, 0])
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def inputs(observation: Tensor, action: Tensor) -> Tensor:
    """Observations (B, Dx) beside their actions (B, M, Dy): (B, M, Dx + Dy)."""
    return torch.cat([observation[:, None].expand(-1, action.shape[1], -1), action], -1)


def by_autograd(energy: MLPEnergy, network: nn.Sequential, observation: Tensor) -> Gradient:
    """dE/dy of actions (1, B, M, Dy) as everyone writes it first."""

    def gradient(action: Tensor) -> Tensor:
        with torch.enable_grad():
            action = action.detach().requires_grad_()
            return torch.autograd.grad(network(inputs(observation, action[MEMBER])).sum(), action)[0]

    return gradient


def by_hand(energy: MLPEnergy, network: nn.Sequential, observation: Tensor) -> Gradient:
    """The chain rule written out: no graph, no slopes of observations, masks from the activations."""
    *hidden, last = [one for one in network if isinstance(one, nn.Linear)]

    @torch.no_grad()
    def gradient(action: Tensor) -> Tensor:
        """dE/dy of actions (1, B, M, Dy)."""
        value, active = inputs(observation, action[MEMBER]).flatten(0, 1), []
        for linear in hidden:
            value = linear(value).relu_()
            active.append(value)
        slope = last.weight.expand_as(value)
        for linear, value in zip(reversed(hidden), reversed(active), strict=True):
            columns = linear.weight[:, -problem.ACTION_DIM :] if linear is hidden[0] else linear.weight
            slope = torch.ops.aten.threshold_backward(slope, value, 0) @ columns
        return slope.reshape(action.shape)

    return gradient


def with_share(energy: MLPEnergy, network: nn.Sequential, observation: Tensor) -> Gradient:
    """The observation's share of the first layer once for all iterations, and rows in blocks; torch's products."""
    with mock.patch.object(products, "_fused", return_value=False):
        return energy.action_gradient(observation[None])


def with_fused(energy: MLPEnergy, network: nn.Sequential, observation: Tensor) -> Gradient:
    """The same by oneDNN's products, bias and ReLU in them: what our learner does."""
    return energy.action_gradient(observation[None])


class Variant:
    """A training from the start with some of our ideas and not the others."""

    def __init__(self, sampler: Sampler, our_layers: bool = False, our_adam: bool = False) -> None:
        self.energy, self.random, self.batches = start(), Generators([0]), cycle(torch.from_numpy(GIVEN.batches))
        self.network, self.sampler, self.our_layers = as_sequential(self.energy), sampler, our_layers
        parameters = self.energy.parameters() if our_layers else self.network.parameters()
        self.adam = torch.optim.Adam(parameters, lr=training.LEARNING_RATE, fused=our_adam)

    def draw(self, observation: Tensor) -> Tensor:
        """Negatives (1, B, M, Dy) for observations (B, Dx)."""
        first = torch.empty(1, len(observation), problem.NEGATIVES, problem.ACTION_DIM)
        gradient = self.sampler(self.energy, self.network, observation)
        return KERNEL.sample(gradient, uniform_like(first, self.random, *BOUNDS), SIZES, self.random)[0]

    def negatives(self) -> list[float]:
        """Those of the next batch, without a step."""
        return self.draw(OBSERVATIONS[next(self.batches)]).flatten().tolist()

    def step(self) -> float:
        """Takes a step and returns its loss."""
        index = next(self.batches)
        observation, positive = OBSERVATIONS[index], ACTIONS[index]
        candidates = torch.cat([positive[:, None], self.draw(observation)[MEMBER]], 1)
        if self.our_layers:
            energies = self.energy(observation[None], candidates[None])[MEMBER]
        else:
            energies = self.network(inputs(observation, candidates))[..., 0]
        loss = losses.infonce(energies[:, 0], energies[:, 1:]).mean()
        self.adam.zero_grad()
        loss.backward()
        self.adam.step()
        return float(loss.detach())


class GivenBatches(Learner):
    """Our learner on the common batches."""

    def __init__(self, precision: torch.dtype | None, penalty: float) -> None:
        chains = ShortChains(problem.NEGATIVES, BOUNDS, KERNEL, SIZES, precision)
        rates = stepwise(training.LEARNING_RATE, 1.0, 1)
        data, objective = (OBSERVATIONS[None], ACTIONS[None]), Objective(penalty=penalty)
        super().__init__(start(), *data, chains, Generators([0]), rates, problem.OBSERVATIONS, objective)
        self.batches = cycle(torch.from_numpy(GIVEN.batches))

    def _draw(self) -> tuple[Tensor, Tensor]:
        index = next(self.batches)
        return OBSERVATIONS[None, index], ACTIONS[None, index]


class Ours:
    """A training from the start by our learner."""

    def __init__(self, precision: torch.dtype | None = None, penalty: float = 0.0) -> None:
        self.learner = GivenBatches(precision, penalty)

    def negatives(self) -> list[float]:
        """Those of the next batch, without a step."""
        batch = self.learner._draw()
        return self.learner.proposal.draw(self.learner.energy, *batch, self.learner.random).flatten().tolist()

    def step(self) -> float:
        """Takes a step and returns its loss."""
        return float(self.learner.step().loss)


CONTESTANTS: dict[str, Callable[[], serving.Steps]] = {
    "plain/ours": Ours,
    "plain/ours, bfloat16 sampler": lambda: Ours(torch.bfloat16),
    "plain/plain autograd": lambda: Variant(by_autograd),
    "penalty/ours": lambda: Ours(penalty=1.0),
    "penalty/ours, bfloat16 sampler": lambda: Ours(torch.bfloat16, penalty=1.0),
    "ideas/+ gradient by hand": lambda: Variant(by_hand),
    "ideas/+ observation's share once": lambda: Variant(with_share),
    "ideas/+ oneDNN in the sampler": lambda: Variant(with_fused),
    "ideas/+ our layers in training": lambda: Variant(with_fused, our_layers=True),
    "ideas/+ fused Adam": lambda: Variant(with_fused, our_layers=True, our_adam=True),
}


def matrix_products() -> dict[str, Callable[[], Tensor]]:
    """The hidden layer's product for all negatives, by torch and by oneDNN: what this core reaches."""
    rows, (inner, outer) = problem.OBSERVATIONS * problem.NEGATIVES, problem.HIDDEN
    value, weight, result = torch.randn(rows, inner), torch.randn(inner, outer), torch.empty(rows, outer)
    served = {"product/-/torch": lambda: torch.mm(value, weight, out=result)}
    if products._fused(weight[None], rows):
        packed = products.packed(weight.mT[None], rows)
        served["product/-/oneDNN"] = lambda: products.linear(value[None], packed)
    return served


if __name__ == "__main__":
    reply = serving.open_reply()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    serving.serve(reply, "", "torch", matrix_products() | serving.of_trainings(CONTESTANTS, training.BATCHES))
