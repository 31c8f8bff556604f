"""The processes of Lecture 18, and random ones, as Gymnasium environments. Importing this module registers them.

`gymnasium.make("imitation.envs.lecture:lecture/Compounding-v0", horizon=100)` imports it on the way. Observations are
state numbers and episodes are truncated after `horizon` steps; names of states and actions stand with the processes.
"""

import gymnasium as gym
import numpy as np
import torch

from imitation.envs.tabular import TabularEnv
from imitation.mdp import lecture
from imitation.mdp.processes import random_processes
from imitation.mdp.tabular import TabularMDP


def compounding(horizon: int = 10) -> TabularEnv:
    """Fig. 18.1, reward 1 in s1."""
    return _environment(lecture.compounding(), [1.0], horizon)


def two_mistakes(horizon: int = 10, lane_cost: float = 0.1, crash_cost: float = 1.0) -> TabularEnv:
    """Fig. 18.2: a step in s2 costs `lane_cost`, one in s3 `crash_cost`."""
    return _environment(lecture.two_mistakes(), [lane_cost, crash_cost, 0.0], horizon)


def pareto(horizon: int = 5, share: float = 0.5) -> TabularEnv:
    """The Pareto example under (1 - share) r1 + share r2."""
    return _environment(lecture.pareto(), [1 - share, share], horizon)


def cliff(horizon: int = 100, depth: int = 3, escape: bool = True) -> TabularEnv:
    """The path along a cliff, reward 1 on the path."""
    return _environment(lecture.cliff(depth, escape), [1.0], horizon)


def random_mdp(horizon: int = 20, states: int = 5, actions: int = 3, number: int = 0) -> TabularEnv:
    """The `number`-th random process of this size (uniform on the simplex), with standard normal rewards."""
    rng = np.random.default_rng([number, states, actions])
    drawn = random_processes(1, states, actions, rng)
    one = TabularMDP(drawn.transition[0], drawn.initial[0])
    return TabularEnv(one, rng.normal(size=(states, actions)), horizon)


def _environment(example: lecture.Example, weights: list[float], horizon: int) -> TabularEnv:
    reward = example.rewards @ torch.tensor(weights, dtype=torch.float64)
    return TabularEnv(example.mdp, reward.numpy(), horizon)


ENVIRONMENTS = {
    "lecture/Compounding-v0": compounding,
    "lecture/TwoMistakes-v0": two_mistakes,
    "lecture/Pareto-v0": pareto,
    "lecture/Cliff-v0": cliff,
    "lecture/RandomMDP-v0": random_mdp,
}
for _name, _build in ENVIRONMENTS.items():
    gym.register(_name, entry_point=f"{__name__}:{_build.__name__}")
