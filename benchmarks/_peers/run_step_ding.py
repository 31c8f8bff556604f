"""DI-engine's implicit behavioural cloning policy, whole training steps of it, served to `benchmarks/ibc_step.py`.

The policy takes a list of demonstrations, one dictionary each, and does the rest itself: the batch, negatives by its
MCMC, InfoNCE, its penalty on the energies' slopes, and AdamW without weight decay, which is Adam. Its step without the
penalty needs a replacement for the penalty, since the option that switches it off makes the step fail.
"""
# pyright: reportMissingImports=false
# The peer is installed in an environment of its own.

import copy
import sys
from itertools import cycle

import problem
import serving
import training

REPLY = serving.open_reply()

import numpy as np  # noqa: E402
import torch  # noqa: E402
from ding.model.template.ebm import EBM, MCMC  # noqa: E402
from ding.policy.ibc import IBCPolicy  # noqa: E402
from easydict import EasyDict  # noqa: E402


class Unpenalised(MCMC):
    """Without the penalty, as a tensor, which the policy expects."""

    def grad_penalty(self, obs: torch.Tensor, action: torch.Tensor, ebm: torch.nn.Module) -> torch.Tensor:
        """Zero."""
        return torch.zeros(())


def energy(given: training.Training) -> EBM:
    """Its own network of our sizes, with the common weights."""
    model = EBM(problem.OBSERVATION_DIM, problem.ACTION_DIM, problem.HIDDEN[0], len(problem.HIDDEN) - 1)
    linears = [one for one in model.modules() if isinstance(one, torch.nn.Linear)]
    for linear, weight, bias in zip(linears, given.weights, given.biases, strict=True):
        linear.load_state_dict({"weight": torch.from_numpy(weight.T.copy()), "bias": torch.from_numpy(bias)})
    return model


def policy(given: training.Training, mcmc: type[MCMC]) -> IBCPolicy:
    """Its policy, ready to learn: constant step size, clip and bounds as everywhere here."""
    config = EasyDict(copy.deepcopy(IBCPolicy.config))
    config.multi_gpu, config.learn.optim.learning_rate = False, training.LEARNING_RATE
    size = problem.NETWORK_STEP_SIZE
    share = problem.CLIP / (0.5 * (problem.HIGH - problem.LOW))
    options = {"iters": problem.NETWORK_STEPS, "train_samples": problem.NEGATIVES, "noise_scale": 1.0}
    schedule = {"init": size, "final": size, "power": 2.0}
    made = IBCPolicy(config, model=energy(given), enable_field=["learn"])
    made._stochastic_optimizer = mcmc(**options, stepsize_scheduler=schedule, delta_action_clip=share)
    bounds = [[problem.LOW] * problem.ACTION_DIM, [problem.HIGH] * problem.ACTION_DIM]
    made._stochastic_optimizer.set_action_bounds(np.array(bounds))
    return made


class Steps:
    """A training from the start."""

    def __init__(self, given: training.Training, mcmc: type[MCMC]) -> None:
        self.policy = policy(given, mcmc)
        rows = [
            {"obs": torch.from_numpy(observation), "action": torch.from_numpy(action)}
            for observation, action in zip(given.observations, given.actions, strict=True)
        ]
        self.batches = cycle([[rows[index] for index in batch] for batch in given.batches])

    def negatives(self) -> list[float]:
        """Those of the next batch, without a step."""
        observation = torch.stack([row["obs"] for row in next(self.batches)])
        return self.policy._stochastic_optimizer.sample(observation, self.policy._learn_model)[1].flatten().tolist()

    def step(self) -> float:
        """Takes a step and returns its InfoNCE loss."""
        return self.policy._forward_learn(next(self.batches))["ebm_loss"]


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    torch.manual_seed(0)
    given = training.read(sys.argv[1])
    contestants = {
        f"{form}/DI-engine": lambda mcmc=mcmc: Steps(given, mcmc)
        for form, mcmc in (("plain", Unpenalised), ("penalty", MCMC))
    }
    serving.serve(REPLY, "DI-engine", "torch", serving.of_trainings(contestants, training.BATCHES))
