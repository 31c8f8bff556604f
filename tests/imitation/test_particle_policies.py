"""A fitted policy in the batched rollout and in `Particle-v0`, on the same seeds: the same episodes, the same success.

Sizes of a batch round differently in the last bit, which can only matter at a distance of exactly the radius.
"""

import gymnasium as gym
import numpy as np
import pytest
import torch

from imitation.demonstrations import frames, particle
from imitation.ebm.implicit import Learner, Objective
from imitation.ebm.inference import ImplicitPolicy, LangevinMinimiser
from imitation.ebm.langevin import Langevin
from imitation.ebm.mlp import MLPEnergy
from imitation.ebm.negatives import ShortChains
from imitation.ebm.schedules import polynomial
from imitation.envs.particle import rollout, starts
from imitation.policies import Explicit, Scaling
from imitation.population import Generators

EPISODES = list(range(900, 940))


@pytest.fixture(scope="module")
def pairs():
    data = frames(particle(2, range(60)))
    return data.inputs[None], data.actions[None]


def in_gymnasium(act, seed):
    """Success and positions of one episode, the policy seeing what the batched rollout shows it."""
    env = gym.make("Particle-v0", dimensions=2)
    before = now = env.reset(seed=seed)[0]
    positions, over = [], False
    while not over:
        history = torch.from_numpy(np.concatenate([before, now]))
        action = act(history[None, None])[0, 0].clamp(0, 1).numpy()
        before, (now, _, _, over, info) = now, env.step(action)
        positions.append(now[:2])
    return info["success"], np.stack(positions)


def test_an_explicit_policy_succeeds_where_it_does_in_gymnasium(pairs):
    policy = Explicit(hidden=(64, 64), batch=128, learning_rate=3e-3).fit(*pairs, Generators([0]), steps=1500)
    batched = rollout(lambda history: policy.act(history[None])[0], starts(EPISODES, 2))
    single = [in_gymnasium(policy.act, seed) for seed in EPISODES]
    assert batched.success.tolist() == [success for success, _ in single]
    assert 0 < batched.success.double().mean() < 1  # else the comparison says nothing
    paths = torch.from_numpy(np.stack([path for _, path in single], 1))
    torch.testing.assert_close(batched.positions[1:], paths, rtol=0, atol=1e-4)


def test_an_implicit_policy_does_too_when_it_draws_the_same_noise(pairs):
    inputs, actions = pairs
    scalings = Scaling.min_max(inputs), Scaling.min_max(actions)
    box, random = (-1.1, 1.1), Generators([1])
    energy = MLPEnergy(inputs.shape[-1], 2, random, [64, 64])
    chains = ShortChains(4, box, Langevin("ibc", 0.1, 0.5, box), polynomial(1.0, 1e-3, 5))
    scaled = [scaling.scaled(value).float() for scaling, value in zip(scalings, pairs, strict=True)]
    learner = Learner(energy, *scaled, chains, random, lambda _: 3e-3, 64, Objective())
    for _ in range(300):
        learner.step()
    minimiser = LangevinMinimiser(8, box, Langevin("ibc", 0.01, 0.5, box), polynomial(1.0, 1e-3, 10))
    for seed in EPISODES[:6]:
        one, other = (ImplicitPolicy(energy, minimiser, *scalings, Generators([seed])) for _ in range(2))
        batched = rollout(lambda history, one=one: one.act(history[None])[0], starts([seed], 2))
        success, path = in_gymnasium(other.act, seed)
        assert bool(batched.success[0]) == success
        np.testing.assert_allclose(batched.positions[1:, 0], path, rtol=0, atol=1e-9)
