"""Our own contestants, and torch's matrix product, served to `benchmarks/langevin.py`."""

import sys

import problem
import serving
import torch
from torch import Tensor

from imitation.ebm.langevin import Gradient, Langevin, gradient_of
from imitation.ebm.mlp import MLPEnergy
from imitation.population import uniform_like

RANDOM = torch.Generator().manual_seed(0)
MEAN, VARIANCE = torch.tensor(problem.MEAN), torch.tensor(problem.SPREAD) ** 2
KERNELS = {
    "true": Langevin("true"),
    "ibc": Langevin("ibc", clip=problem.CLIP, bounds=(problem.LOW, problem.HIGH)),
}


def network() -> tuple[MLPEnergy, Tensor]:
    """The common network as a population of one, and the observations (1, B, Dx)."""
    observation, weights, biases = problem.read(sys.argv[1])
    energy = MLPEnergy(problem.OBSERVATION_DIM, problem.ACTION_DIM, RANDOM, problem.HIDDEN)
    with torch.no_grad():
        for parameter, value in zip([*energy.weights, *energy.biases], [*weights, *biases], strict=True):
            parameter.copy_(torch.from_numpy(value).reshape(parameter.shape))
    return energy.requires_grad_(False), torch.from_numpy(observation)[None]


def chain(form: str, gradient: Gradient, shape: tuple[int, ...], steps: int, step_size: float) -> Tensor:
    """Uniform starts, then `steps` steps of constant size; the final positions."""
    start = uniform_like(torch.empty(shape), RANDOM, problem.LOW, problem.HIGH)
    return KERNELS[form].sample(gradient, start, [step_size] * steps, RANDOM)[0]


def gaussian(form: str, gradient: Gradient) -> Tensor:
    """The workload `gaussian`; positions (chains, 2)."""
    shape = (problem.CHAINS, len(problem.MEAN))
    return chain(form, gradient, shape, problem.GAUSSIAN_STEPS, problem.GAUSSIAN_STEP_SIZE)


def negatives(form: str, gradient: Gradient) -> Tensor:
    """The workload `network`; actions (1, B, M, Dy)."""
    shape = (1, problem.OBSERVATIONS, problem.NEGATIVES, problem.ACTION_DIM)
    return chain(form, gradient, shape, problem.NETWORK_STEPS, problem.NETWORK_STEP_SIZE)


def contestants() -> dict:
    """All of ours, and a matrix product."""
    energy, observation = network()
    matrix = torch.randn(problem.MATRIX, problem.MATRIX, generator=RANDOM)
    product = torch.empty_like(matrix)

    def slope(position: Tensor) -> Tensor:
        return (position - MEAN) / VARIANCE

    def bowl(position: Tensor) -> Tensor:
        return ((position - MEAN) ** 2 / (2 * VARIANCE)).sum(-1)

    served = {"matmul/-/torch": lambda: torch.mm(matrix, matrix, out=product)}
    for form in KERNELS:
        served |= {
            f"gaussian/{form}/ours": lambda form=form: gaussian(form, slope),
            f"gaussian/{form}/ours, autograd": lambda form=form: gaussian(form, gradient_of(bowl)),
            f"network/{form}/ours": lambda form=form: negatives(form, energy.action_gradient(observation)),
            f"network/{form}/ours, autograd": lambda form=form: negatives(
                form, gradient_of(lambda action: energy(observation, action))
            ),
        }
    return served


if __name__ == "__main__":
    reply = serving.open_reply()
    torch.set_num_threads(1)
    serving.serve(reply, "", "torch", contestants())
