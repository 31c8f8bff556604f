"""Least squares for a population: torch's own layers beside it, the mean between two modes, members, divergence."""

from dataclasses import dataclass, field
from itertools import pairwise

import pytest
import torch
from torch import nn

from imitation.nn.relu import ReluNetwork
from imitation.policies.explicit import Explicit
from imitation.population import Generators

SMALL = Explicit(hidden=(8, 8), batch=16)


def demonstrations(members: int = 3, rows: int = 60, dtype: torch.dtype = torch.float64):
    """Inputs (P, T, 3) and actions (P, T, 2) in unequal units, each member's its own."""
    random = torch.Generator().manual_seed(11)
    inputs = torch.randn(members, rows, 3, generator=random, dtype=dtype) * torch.tensor([1.0, 50.0, 0.01]) + 4
    actions = torch.stack([inputs[..., 0].sin(), 7 + inputs[..., 1] / 10], -1)
    return inputs, actions


def test_a_fit_is_the_same_as_torchs_own_layers_and_loop() -> None:
    inputs, actions = demonstrations(members=1)
    policy = SMALL.fit(inputs, actions, Generators([3]), steps=30)

    random = torch.Generator().manual_seed(3)
    layers: list[nn.Module] = []
    for width, out in pairwise([3, 8, 8, 2]):
        layer = nn.Linear(width, out, dtype=torch.float64)
        bound = width**-0.5
        start = [torch.empty(*shape, dtype=torch.float64) for shape in ((width, out), (out,))]
        weight, bias = (value.uniform_(-bound, bound, generator=random) for value in start)
        layer.weight.data, layer.bias.data = weight.T, bias
        layers += [layer, nn.ReLU()]
    network = nn.Sequential(*layers[:-1])
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=30)
    low, high = inputs[0].amin(0), inputs[0].amax(0)
    x = 2 * (inputs[0] - low) / (high - low) - 1
    low, high = actions[0].amin(0), actions[0].amax(0)
    y = 2 * (actions[0] - low) / (high - low) - 1
    for _ in range(30):
        rows = torch.randint(60, (16,), generator=random)
        optimiser.zero_grad()
        nn.functional.mse_loss(network(x[rows]), y[rows]).backward()
        optimiser.step()
        schedule.step()
    expected = low + (network(x).detach() + 1) / 2 * (high - low)
    torch.testing.assert_close(policy.act(inputs)[0], expected, rtol=0, atol=1e-10)


def test_weights_start_as_those_of_torchs_linear_layers() -> None:
    network = ReluNetwork([64, 400, 100], Generators([0, 1]), torch.zeros(()))
    starts = [value.detach() for value in [*network.weights, *network.biases]]
    for value, width in zip(starts, [64, 400, 64, 400], strict=True):
        assert float(value.abs().max()) <= width**-0.5
        squares = value.square().flatten(1)
        three_errors = 3 * squares.std() / squares.shape[1] ** 0.5
        assert bool(((squares.mean(1) - 1 / (3 * width)).abs() < three_errors).all())


def test_without_hidden_layers_a_linear_map_is_recovered() -> None:
    random = torch.Generator().manual_seed(1)
    inputs = torch.randn(2, 500, 3, generator=random)
    actions = inputs @ torch.randn(2, 3, 2, generator=random) + torch.tensor([10.0, -0.1])
    policy = Explicit(hidden=(), batch=64, learning_rate=3e-2).fit(inputs, actions, Generators([0, 1]), steps=1500)
    # Inputs outside of the demonstrated range too: the map is linear there as well.
    probe = 3 * torch.randn(2, 100, 3, generator=random)
    expected = torch.stack([affine(inputs[p], actions[p], probe[p]) for p in range(2)])
    torch.testing.assert_close(policy.act(probe), expected, rtol=0, atol=1e-3)


def affine(inputs: torch.Tensor, actions: torch.Tensor, probe: torch.Tensor) -> torch.Tensor:
    """Ordinary least squares, solved."""
    ones = [torch.cat([value, torch.ones(len(value), 1)], 1) for value in (inputs, probe)]
    return ones[1] @ torch.linalg.lstsq(ones[0], actions).solution


def test_between_two_modes_it_takes_the_mean() -> None:
    random = torch.Generator().manual_seed(2)
    inputs = torch.rand(1, 400, 1, generator=random).repeat_interleave(2, 1)
    actions = torch.tensor([0.5, -0.5]).repeat(400).reshape(1, 800, 1)
    policy = Explicit(hidden=(32,), batch=128).fit(inputs, actions, Generators([0]), steps=600)
    assert float(policy.act(inputs).abs().max()) < 0.1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_member_equals_the_same_run_alone(dtype: torch.dtype) -> None:
    inputs, actions = demonstrations(dtype=dtype)
    together = SMALL.fit(inputs, actions, Generators([5, 6, 7]), steps=100).act(inputs)
    alone = SMALL.fit(inputs[1:2], actions[1:2], Generators([6]), steps=100).act(inputs[1:2])
    torch.testing.assert_close(together[1:2], alone, rtol=0, atol=1e-4 if dtype == torch.float32 else 1e-10)
    other = SMALL.fit(inputs[1:2], actions[1:2], Generators([8]), steps=100).act(inputs[1:2])
    assert float((other - alone).abs().max()) > 1e-2


@dataclass(frozen=True)
class Failing(Explicit):
    """The loss of member 1 is infinite once, at the third step, while its gradient stays finite."""

    calls: list[int] = field(default_factory=list)

    def loss(self, output: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        self.calls.append(len(self.calls) + 1)
        spoils = torch.tensor([0.0, torch.inf if self.calls[-1] == 3 else 0.0, 0.0], dtype=output.dtype)
        return super().loss(output, action) + spoils


def test_a_diverged_member_is_stopped_and_recorded_and_disturbs_nobody() -> None:
    inputs, actions = demonstrations()
    policy = Failing(hidden=(8, 8), batch=16).fit(inputs, actions, Generators([5, 6, 7]), steps=50)
    sound = SMALL.fit(inputs, actions, Generators([5, 6, 7]), steps=50)
    assert policy.diverged.tolist() == [False, True, False]
    assert sound.diverged.tolist() == [False, False, False]
    assert torch.equal(policy.act(inputs)[::2], sound.act(inputs)[::2])
    assert bool(policy.act(inputs)[1].isnan().all())


@pytest.mark.parametrize("steps", [1, 5])
def test_a_learning_rate_beyond_reason_diverges(steps: int) -> None:
    inputs, actions = demonstrations(dtype=torch.float32)
    policy = Explicit(hidden=(8, 8), batch=16, learning_rate=1e39).fit(inputs, actions, Generators([0, 1, 2]), steps)
    assert bool(policy.diverged.all())


def test_the_cosine_schedule_falls_from_the_rate_to_zero() -> None:
    rates = [SMALL.rate(step, 100) for step in (0, 25, 50, 75, 100)]
    half = 0.5**1.5
    assert rates == pytest.approx([1e-3, 1e-3 * (0.5 + half), 5e-4, 1e-3 * (0.5 - half), 0.0])


def test_the_exponential_schedule_loses_a_hundredth_in_the_given_steps() -> None:
    learner = Explicit(decay_every=100)
    assert [learner.rate(step, 1000) for step in (0, 50, 100, 200)] == pytest.approx(
        [1e-3, 1e-3 * 0.99**0.5, 0.99e-3, 0.9801e-3]
    )


def test_a_constant_action_is_given_back() -> None:
    inputs, actions = demonstrations()
    actions[..., 1] = 0.3
    policy = SMALL.fit(inputs, actions, Generators([0, 1, 2]), steps=5)
    assert torch.equal(policy.act(inputs)[..., 1], torch.full((3, 60), 0.3, dtype=torch.float64))


def test_progress_counts_the_steps() -> None:
    inputs, actions = demonstrations()
    seen: list[tuple[float, float]] = []
    SMALL.fit(inputs, actions, Generators([0, 1, 2]), 3, lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_data_that_do_not_fit_are_refused() -> None:
    inputs, actions = demonstrations()
    for x, y, seeds, steps in [
        (inputs, actions, [0, 1], 5),
        (inputs[:, :-1], actions, [0, 1, 2], 5),
        (inputs[:-1], actions, [0, 1, 2], 5),
        (inputs, actions, [0, 1, 2], 0),
    ]:
        with pytest.raises((ValueError, TypeError)):
            SMALL.fit(x, y, Generators(seeds), steps)
    with pytest.raises(ValueError, match="finite"):
        SMALL.fit(inputs, actions * torch.nan, Generators([0, 1, 2]), 5)


@pytest.mark.parametrize(
    "bad", [{"batch": 0}, {"hidden": (8, 0)}, {"learning_rate": 0.0}, {"learning_rate": torch.inf}, {"decay_every": 0}]
)
def test_bad_sizes_are_refused(bad: dict) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        Explicit(**bad)
