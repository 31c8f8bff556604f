"""torchebm's LangevinDynamics, served to `benchmarks/langevin.py`.

Its step size is half of lambda. It takes the gradient of a model by automatic differentiation, or from the model's own
`gradient`; the Gaussian is measured both ways. Weights need no gradient here, as in our own contestants.
"""
# pyright: reportMissingImports=false
# The peer is installed in an environment of its own.

import sys
from collections.abc import Callable

import problem
import serving

REPLY = serving.open_reply()

import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torchebm.core import BaseModel, GaussianModel  # noqa: E402
from torchebm.samplers import LangevinDynamics  # noqa: E402

RANDOM = torch.Generator().manual_seed(0)


class Bowl(BaseModel):
    """The Gaussian with its gradient written out, as the package lets a model do."""

    def __init__(self) -> None:
        super().__init__()
        self.center, self.variance = torch.tensor(problem.MEAN), torch.tensor(problem.SPREAD) ** 2

    def forward(self, x: Tensor) -> Tensor:
        """Energies (N,) of positions (N, 2)."""
        return ((x - self.center) ** 2 / (2 * self.variance)).sum(-1)

    def gradient(self, x: Tensor) -> Tensor:
        """Gradients (N, 2)."""
        return (x - self.center) / self.variance


class Network(BaseModel):
    """The common network; the observation, one row per action, is the condition."""

    def __init__(self) -> None:
        super().__init__()
        observation, weights, biases = problem.read(sys.argv[1])
        layers: list[nn.Module] = []
        for weight, bias in zip(weights, biases, strict=True):
            layer = nn.Linear(*weight.shape)
            layer.load_state_dict({"weight": torch.from_numpy(weight.T.copy()), "bias": torch.from_numpy(bias)})
            layers += [layer, nn.ReLU()]
        self.layers = nn.Sequential(*layers[:-1]).requires_grad_(False)
        self.condition = {"observation": torch.from_numpy(observation).repeat_interleave(problem.NEGATIVES, 0)}

    def forward(self, x: Tensor, observation: Tensor) -> Tensor:
        """Energies (N,) of actions (N, Dy) under observations (N, Dx)."""
        return self.layers(torch.cat([observation, x], -1))[:, 0]


def sampler(
    model: BaseModel, rows: int, dim: int, steps: int, step_size: float, condition: dict | None = None
) -> Callable[[], Tensor]:
    """Uniform starts, then `steps` steps; final positions (rows, dim)."""
    langevin = LangevinDynamics(model, step_size=step_size / 2)

    def sample() -> Tensor:
        start = torch.empty(rows, dim).uniform_(problem.LOW, problem.HIGH, generator=RANDOM)
        return langevin.sample(x=start, n_steps=steps, model_kwargs=condition, generator=RANDOM)

    return sample


if __name__ == "__main__":
    torch.set_num_threads(1)
    own = GaussianModel(torch.tensor(problem.MEAN), torch.diag(torch.tensor(problem.SPREAD) ** 2))
    gaussian = problem.CHAINS, len(problem.MEAN), problem.GAUSSIAN_STEPS, problem.GAUSSIAN_STEP_SIZE
    rows = problem.OBSERVATIONS * problem.NEGATIVES
    negatives = rows, problem.ACTION_DIM, problem.NETWORK_STEPS, problem.NETWORK_STEP_SIZE
    model = Network()
    served = {
        "gaussian/true/torchebm": sampler(Bowl(), *gaussian),
        "gaussian/true/torchebm, autograd": sampler(own, *gaussian),
        "network/true/torchebm": sampler(model, *negatives, condition=model.condition),
    }
    serving.serve(REPLY, "torchebm", "torch", served)
