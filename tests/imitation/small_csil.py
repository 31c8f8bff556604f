"""Small learners of CSIL with rows and episodes for them, which its tests share."""

import numpy as np
import torch

from imitation.control.csil import CoherentSettings, CoherentSoftImitation
from imitation.control.imitation_rows import (
    DemonstrationRows,
    whole,
)
from imitation.control.replay import Transitions
from imitation.demonstrations import Demonstrations, Episode
from imitation.policies import HetStat
from imitation.population import Generators, normal_like

SMALL = CoherentSettings(hidden=(16, 16), pretraining=0)


def cloned(seeds=(0,), observation_dim=3, action_dim=2, size=0.3):
    """A policy with noise on every parameter, each member's own, so that nothing is zero."""
    dtype = torch.get_default_dtype()
    policy = HetStat(observation_dim, action_dim, Generators(seeds), (16,), 5, 64, dtype=dtype)
    random = Generators([seed + 100 for seed in seeds])
    with torch.no_grad():
        for value in policy.parameters():
            value += size * normal_like(value, random)
    return policy


def learner(seeds=(0,), settings=SMALL, **of_policy):
    return CoherentSoftImitation(cloned(seeds, **of_policy), Generators(seeds), settings)


def some_rows(members=1, batch=32, seed=5, observation_dim=3, action_dim=2):
    random = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(members, batch, *shape, generator=random)

    ends = (torch.rand(members, batch, generator=random) < 0.3).to(torch.get_default_dtype())
    action = (2 * normal(action_dim)).tanh()  # a few are beyond .999
    return Transitions(normal(observation_dim), action, normal(), normal(observation_dim), ends)


def close(one, other, rtol=1e-9, atol=1e-9):
    torch.testing.assert_close(one, other, rtol=rtol, atol=atol)


def chain(lengths=(4, 3), terminated=True, seed=0):
    """Episodes whose states are all different, actions in a box that is not [-1, 1]."""
    random = np.random.default_rng(seed)
    episodes = []
    for length in lengths:
        ends = np.zeros(length, dtype=bool)
        ends[-1] = True
        none = np.zeros(length, dtype=bool)
        actions = random.uniform(-2, 4, (length, 2))
        episodes.append(Episode(random.normal(size=(length + 1, 3)), actions, None,
                                ends if terminated else none, none if terminated else ends))  # fmt: skip
    return Demonstrations("Hopper-v5", np.full(2, -2.0), np.full(2, 4.0), episodes)


def demonstrated(*arguments, **keywords):
    return DemonstrationRows([whole(chain(*arguments, **keywords))])
