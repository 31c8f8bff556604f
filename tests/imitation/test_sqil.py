"""SQIL: its rewards, the fixed point on a bandit, a run on Pendulum."""

import numpy as np
import torch

from imitation.control.imitation_rows import DemonstrationRows, ImitationTraining, Steps, joined
from imitation.control.replay import Replay, Transitions
from imitation.control.sac import Settings
from imitation.control.sqil import SoftQImitation
from imitation.control.training import Plan
from imitation.envs.control import Environments
from imitation.population import Generators


def rows_of(action, seed=0):
    """Rows (1, B, ...) with the same observation, each an end, under some reward that must not matter."""
    zero = torch.zeros(1, len(action), 1)
    reward = torch.randn(1, len(action), generator=torch.Generator().manual_seed(seed))
    return Transitions(zero, action[None, :, None], reward, zero, torch.ones(1, len(action)))


def test_demonstrated_rows_have_reward_one_and_the_others_zero():
    action = torch.linspace(-0.9, 0.9, 8)
    rows = joined(rows_of(action[:4]), rows_of(action[4:]))
    learner = SoftQImitation(1, 1, Generators([0]), Settings(hidden=(16,)))
    assert learner.reward(rows).tolist() == [[1.0] * 4 + [0.0] * 4]
    assert torch.equal(learner.target(rows), learner.reward(rows))
    assert torch.equal(rows.action[0, :, 0], action)


def test_the_value_of_an_action_is_the_share_of_demonstrations_among_its_rows():
    """Least squares on rewards 1 and 0 where every step ends: demonstrated at .5, replayed at .5 and -.5 alike."""
    settings = Settings(hidden=(32, 32), critic_rate=3e-3, temperature_rate=0.0)
    learner = SoftQImitation(1, 1, Generators([0]), settings)
    shown, met = torch.full((32,), 0.5), torch.tensor([0.5, -0.5]).repeat(16)
    for _ in range(300):
        learner.critic_step(joined(rows_of(shown), rows_of(met)))
    value = learner.critics(torch.zeros(1, 2, 1), torch.tensor([[[0.5], [-0.5]]])).detach()
    expected = torch.tensor([2 / 3, 0.0]).expand(1, 2, 2)
    torch.testing.assert_close(value, expected, rtol=0, atol=0.03)


def test_a_run_on_pendulum():
    random = np.random.default_rng(0)
    states = random.normal(size=(40, 3))
    steps = Steps(states, np.tanh(states[:, :1]), states, np.zeros(40), np.full((40, 1), np.nan))
    learner = SoftQImitation(3, 1, Generators([0, 1]), Settings(hidden=(16, 16)))
    training = ImitationTraining(learner, Environments("Pendulum-v1", [0, 1]), Replay(2, 3, 1, 1000),
                                 Plan(20, 12, 16, 20), DemonstrationRows([steps, steps]))  # fmt: skip
    training.run(lambda _: None)
    assert learner.updates == 20
    assert not bool(learner.diverged().any())
