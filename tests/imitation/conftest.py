"""What the tests of several learners share."""

from collections.abc import Callable, Iterator

import pytest
import torch

from imitation.control.replay import Transitions


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
