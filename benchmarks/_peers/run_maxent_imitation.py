"""imitation's `mce_irl`, served to `benchmarks/maxent_irl.py`."""
# pyright: reportMissingImports=false, reportAttributeAccessIssue=false
# The peer is installed in an environment of its own, and has our package's name.

import sys

import maxent_problem
import numpy as np
import serving

REPLY = serving.open_reply()

import torch  # noqa: E402
from imitation.algorithms import mce_irl  # noqa: E402
from imitation.rewards import reward_nets  # noqa: E402
from seals import base_envs  # noqa: E402

RATES = (0.01, 0.05, 0.2)  # of Adam; the first is the peer's default
LONGEST = 3000


class Process(base_envs.TabularModelPOMDP):
    """The problem, whose observations are the features of the states."""

    obs_dtype = np.dtype(np.float32)


def environment(problem: maxent_problem.Problem) -> Process:
    """The problem as the peer's environment."""
    return Process(
        transition_matrix=problem.transition, observation_matrix=problem.features.astype(np.float32),
        reward_matrix=problem.features @ problem.multipliers, horizon=problem.horizon,
        initial_state_dist=problem.initial,
    )  # fmt: skip


def solve(env: Process, demonstrated: np.ndarray, rate: float) -> list[float]:
    """The weights of a linear reward after training to the target; it starts at 0, as ours does."""
    net = reward_nets.BasicRewardNet(
        env.observation_space, env.action_space, hid_sizes=[], use_action=False, use_next_state=False, use_done=False
    )
    for parameter in net.parameters():
        torch.nn.init.zeros_(parameter)
    learner = mce_irl.MCEIRL(
        demonstrated, env, net, np.random.default_rng(0), optimizer_kwargs={"lr": rate}, linf_eps=0.0,
        grad_l2_eps=maxent_problem.TARGET, log_interval=None,
    )  # fmt: skip
    learner.train(LONGEST)
    return next(net.parameters()).detach().numpy().ravel().astype(float).tolist()


if __name__ == "__main__":
    torch.set_num_threads(1)
    given = environment(maxent_problem.read(sys.argv[1]))
    _, visits = mce_irl.mce_occupancy_measures(given)
    contestants = {f"Adam {rate:g}": lambda rate=rate: solve(given, visits, rate) for rate in RATES}
    serving.serve(REPLY, "imitation", "torch", contestants)
