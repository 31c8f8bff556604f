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

from imitation.ebm import _linear, losses
from imitation.ebm._optimiser import stepwise
from imitation.ebm.implicit import Learner, Objective
from imitation.ebm.langevin import Gradient, Langevin
from imitation.ebm.mlp import MLPEnergy
from imitation.ebm.negatives import ShortChains
from imitation.population import Generators

GIVEN = training.read(sys.argv[1])
OBSERVATIONS, ACTIONS = torch.from_numpy(GIVEN.observations), torch.from_numpy(GIVEN.actions)
BOUNDS = (problem.LOW, problem.HIGH)
SIZES = [problem.NETWORK_STEP_SIZE] * problem.NETWORK_STEPS
KERNEL = Langevin("ibc", clip=problem.CLIP, bounds=BOUNDS)
MEMBER = 0  # the population has one


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
    with mock.patch.object(_linear, "_fused", return_value=False):
        return energy.action_gradient(observation[None])


def with_fused(energy: MLPEnergy, network: nn.Sequential, observation: Tensor) -> Gradient:
    """The same by oneDNN's products, bias and ReLU in them: what our learner does."""
    return energy.action_gradient(observation[None])


def variant(
    sampler: Callable[[MLPEnergy, nn.Sequential, Tensor], Gradient], our_layers: bool = False, our_adam: bool = False
) -> Callable[[], float]:
    """A training with some of our ideas and not the others; the function takes a step and returns its loss."""
    energy, random, batches = start(), Generators([0]), cycle(torch.from_numpy(GIVEN.batches))
    network = as_sequential(energy)
    parameters = energy.parameters() if our_layers else network.parameters()
    adam = torch.optim.Adam(parameters, lr=training.LEARNING_RATE, fused=our_adam)

    def step() -> float:
        index = next(batches)
        observation, positive = OBSERVATIONS[index], ACTIONS[index]
        first = torch.empty(1, problem.OBSERVATIONS, problem.NEGATIVES, problem.ACTION_DIM)
        first[MEMBER].uniform_(*BOUNDS, generator=random.members[MEMBER])
        negatives = KERNEL.sample(sampler(energy, network, observation), first, SIZES, random)[0]
        candidates = torch.cat([positive[:, None], negatives[MEMBER]], 1)
        if our_layers:
            energies = energy(observation[None], candidates[None])[MEMBER]
        else:
            energies = network(inputs(observation, candidates))[..., 0]
        loss = losses.infonce(energies[:, 0], energies[:, 1:]).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
        return float(loss.detach())

    return step


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


def learner(precision: torch.dtype | None = None, penalty: float = 0.0) -> Callable[[], float]:
    """A training by our learner; the function takes a step and returns its loss."""
    made = GivenBatches(precision, penalty)
    return lambda: float(made.step().loss)


VARIANTS: dict[str, Callable[[], Callable[[], float]]] = {
    "plain/ours": learner,
    "plain/ours, bfloat16 sampler": lambda: learner(torch.bfloat16),
    "plain/plain autograd": lambda: variant(by_autograd),
    "penalty/ours": lambda: learner(penalty=1.0),
    "penalty/ours, bfloat16 sampler": lambda: learner(torch.bfloat16, penalty=1.0),
    "ideas/+ gradient by hand": lambda: variant(by_hand),
    "ideas/+ observation's share once": lambda: variant(with_share),
    "ideas/+ oneDNN in the sampler": lambda: variant(with_fused),
    "ideas/+ our layers in training": lambda: variant(with_fused, our_layers=True),
    "ideas/+ fused Adam": lambda: variant(with_fused, our_layers=True, our_adam=True),
}


def products() -> dict[str, Callable[[], Tensor]]:
    """The hidden layer's product for all negatives, by torch and by oneDNN: what this core reaches."""
    rows, (inner, outer) = problem.OBSERVATIONS * problem.NEGATIVES, problem.HIDDEN
    value, weight, result = torch.randn(rows, inner), torch.randn(inner, outer), torch.empty(rows, outer)
    served = {"product/-/torch": lambda: torch.mm(value, weight, out=result)}
    if _linear._fused(weight):
        packed = _linear.packed(weight.mT[None], rows)
        served["product/-/oneDNN"] = lambda: _linear.linear(value[None], packed)
    return served


if __name__ == "__main__":
    reply = serving.open_reply()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    served: dict[str, Callable] = dict(products())
    for name, make in VARIANTS.items():
        served[f"step/{name}"] = make()
        served[f"losses/{name}"] = lambda make=make: serving.several(make(), training.BATCHES)
    serving.serve(reply, "", "torch", served)
