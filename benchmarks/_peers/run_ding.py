"""DI-engine's Langevin MCMC of its implicit behavioural cloning policy, served to `benchmarks/langevin.py`.

`MCMC.sample` is what its policy calls for negatives: it draws uniform starts, repeats the observations and runs the
chains, always by automatic differentiation. It takes any module of observations (B, N, Dx) and actions (B, N, Dy), so
the Gaussian fits too, with one observation that is not used.
"""
# pyright: reportMissingImports=false
# The peer is installed in an environment of its own.

import sys
from collections.abc import Callable

import problem
import serving

REPLY = serving.open_reply()

import numpy as np  # noqa: E402
import torch  # noqa: E402
from ding.model.template.ebm import MCMC  # noqa: E402
from torch import Tensor, nn  # noqa: E402


class Bowl(nn.Module):
    """The Gaussian as an energy of actions."""

    def __init__(self) -> None:
        super().__init__()
        self.center, self.variance = torch.tensor(problem.MEAN), torch.tensor(problem.SPREAD) ** 2

    def forward(self, obs: Tensor, action: Tensor) -> Tensor:
        """Energies (B, N) of actions (B, N, 2)."""
        return ((action - self.center) ** 2 / (2 * self.variance)).sum(-1)


class Network(nn.Module):
    """The common network."""

    def __init__(self, weights: list[np.ndarray], biases: list[np.ndarray]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for weight, bias in zip(weights, biases, strict=True):
            layer = nn.Linear(*weight.shape)
            layer.load_state_dict({"weight": torch.from_numpy(weight.T.copy()), "bias": torch.from_numpy(bias)})
            layers += [layer, nn.ReLU()]
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, obs: Tensor, action: Tensor) -> Tensor:
        """Energies (B, N) of actions (B, N, Dy) under observations (B, N, Dx)."""
        return self.layers(torch.cat([obs, action], -1))[..., 0]


def sampler(
    energy: nn.Module, observation: Tensor, negatives: int, dim: int, steps: int, step_size: float
) -> Callable[[], Tensor]:
    """Negatives (B, N, Dy) after `steps` steps of constant size and unit noise."""
    schedule = {"init": step_size, "final": step_size, "power": 2.0}
    # The limit of one step is a share of half the range of actions.
    share = problem.CLIP / (0.5 * (problem.HIGH - problem.LOW))
    mcmc = MCMC(
        iters=steps, train_samples=negatives, stepsize_scheduler=schedule, noise_scale=1.0, delta_action_clip=share
    )
    mcmc.set_action_bounds(np.array([[problem.LOW] * dim, [problem.HIGH] * dim]))
    return lambda: mcmc.sample(observation, energy)[1]


if __name__ == "__main__":
    torch.set_num_threads(1)
    observation, *layers = problem.read(sys.argv[1])
    gaussian = len(problem.MEAN), problem.GAUSSIAN_STEPS, problem.GAUSSIAN_STEP_SIZE
    actions = problem.ACTION_DIM, problem.NETWORK_STEPS, problem.NETWORK_STEP_SIZE
    served = {
        "gaussian/ibc/DI-engine": sampler(Bowl(), torch.zeros(1, 1), problem.CHAINS, *gaussian),
        "network/ibc/DI-engine": sampler(Network(*layers), torch.from_numpy(observation), problem.NEGATIVES, *actions),
    }
    serving.serve(REPLY, "DI-engine", "torch", served)
