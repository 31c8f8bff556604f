"""What the tests of several learners share."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from imitation.control.imitation_rows import DemonstrationRows, ImitationTraining, Steps
from imitation.control.replay import Replay, Transitions
from imitation.control.sac import SoftActorCritic
from imitation.control.training import Plan
from imitation.envs.control import Environments, Step


@pytest.fixture
def exact() -> Iterator[None]:
    """Double precision for all that a test builds."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def some_rows() -> Callable[..., Transitions]:
    """Makes random rows as imitation learners take them: the first half demonstrated, its reward 1, the others 0."""

    def draw(members=1, batch=32, seed=5, observation_dim=3, action_dim=2) -> Transitions:
        random = torch.Generator().manual_seed(seed)

        def normal(*shape: int) -> torch.Tensor:
            return torch.randn(members, batch, *shape, generator=random)

        source = torch.cat([torch.ones(members, batch // 2), torch.zeros(members, batch // 2)], 1)
        observation, action = normal(observation_dim), normal(action_dim).tanh()
        return Transitions(observation, action, source, normal(observation_dim), (normal() > 1).to(source))

    return draw


@pytest.fixture
def checkpoint(tmp_path: Path) -> Callable[[Any], dict[str, Any]]:
    """Kills a training right after its first checkpoint and reads back what was kept there."""

    class KilledError(Exception):
        pass

    def kept(training: Any) -> dict[str, Any]:
        def save(state: dict[str, Any]) -> None:
            torch.save(state, tmp_path / "state.pt")
            raise KilledError

        with pytest.raises(KilledError):
            training.run(lambda _: None, save)
        return torch.load(tmp_path / "state.pt", weights_only=True)

    return kept


@pytest.fixture
def on_pendulum() -> Callable[[SoftActorCritic], ImitationTraining]:
    """Makes a short training of a learner with one member on Pendulum, with random demonstrations."""

    def training(learner: SoftActorCritic) -> ImitationTraining:
        states = np.random.default_rng(0).normal(size=(40, 3))
        steps = Steps(states, np.tanh(states[:, :1]), states, np.zeros(40), np.full((40, 1), np.nan))
        environments, replay = Environments("Pendulum-v1", [0]), Replay(1, 3, 1, 1000)
        return ImitationTraining(learner, environments, replay, Plan(20, 12, 16, 20), DemonstrationRows([steps]))

    return training


class Recorded(NamedTuple):
    """Two members' Hoppers under random actions, which make them fall after some twenty steps.

    actions: (T, 2, 1, 3). steps: what each gave. before: the observations that they were taken at, (2, 1, T, 11).
    """

    actions: torch.Tensor
    steps: list[Step]
    before: torch.Tensor


@pytest.fixture(scope="session")
def hoppers() -> Recorded:
    """Sixty steps from the seeds 3 and 4."""
    actions = torch.rand(60, 2, 1, 3, generator=torch.Generator().manual_seed(0)) * 2 - 1
    environments = Environments("Hopper-v5", [3, 4])
    environments.reset()
    steps, before = [], []
    for action in actions:
        before.append(environments.observation)
        steps.append(environments.step(action))
    return Recorded(actions, steps, torch.stack(before, 2))
