"""Proposals: shapes, bounds, laws, what they cost, and who draws what."""

import pytest
import torch

from imitation.ebm.langevin import Langevin
from imitation.ebm.mlp import MLPEnergy
from imitation.ebm.negatives import LongChain, ShortChains, Uniform
from imitation.population import Generators

BOUNDS = (-1.1, 1.1)
KERNEL = Langevin("ibc", 0.5, clip=0.3, bounds=BOUNDS)
PROPOSALS = [
    Uniform(3, BOUNDS),
    ShortChains(3, BOUNDS, KERNEL, [0.1] * 4),
    ShortChains(3, BOUNDS, KERNEL, [0.1] * 4, torch.bfloat16),
    LongChain(3, BOUNDS, KERNEL, [0.1] * 12),
]


class Gaussian:
    """The energy (y - mean)^2 / (2 s^2) as a model has it; counts the rows whose gradient was asked for."""

    def __init__(self, mean=0.2, spread=0.4):
        self.mean, self.variance, self.rows, self.precisions = mean, spread**2, 0, []

    def action_gradient(self, observation, precision=None):
        self.precisions.append(precision)

        def gradient(action):
            assert action.shape[:2] == observation.shape[:2]
            self.rows += action[..., 0].numel()
            return (action - self.mean) / self.variance

        return gradient


def batch(members=2, rows=5, observation_dim=3, action_dim=2):
    random = torch.Generator().manual_seed(3)
    observation = torch.randn(members, rows, observation_dim, generator=random)
    return observation, torch.rand(members, rows, action_dim, generator=random) * 2 - 1


@pytest.mark.parametrize("proposal", PROPOSALS)
def test_negatives_have_the_shape_asked_and_lie_in_the_box(proposal):
    energy = MLPEnergy(3, 2, Generators([0, 1]), (16,), members=2, std=0.3)
    observation, positive = batch()
    found = proposal.draw(energy, observation, positive, Generators([5, 6]))
    assert found.shape == (2, 5, 3, 2)
    assert found.dtype == torch.float32
    assert not found.requires_grad
    assert found.min() >= BOUNDS[0]
    assert found.max() <= BOUNDS[1]
    assert len(found.flatten(0, 2).unique(dim=0)) > 20  # not all 30: some end in a corner


@pytest.mark.parametrize("proposal", PROPOSALS)
def test_a_member_draws_what_it_would_draw_alone(proposal):
    energy = MLPEnergy(3, 2, Generators([0, 1]), (16,), members=2, std=0.5)
    alone = MLPEnergy(3, 2, Generators([1]), (16,), std=0.5)
    observation, positive = batch()
    together = proposal.draw(energy, observation, positive, Generators([5, 6]))[1:]
    single = proposal.draw(alone, observation[1:], positive[1:], Generators([6]))
    torch.testing.assert_close(together, single, rtol=0, atol=1e-6)


def test_a_proposal_that_does_not_learn_has_no_state():
    for proposal in PROPOSALS:
        proposal.learn(*batch()[1:], torch.zeros(2, 5, 3, 2))
        assert proposal.state_dict() == {}
        proposal.load_state_dict({})


def test_uniform_negatives_have_the_moments_of_the_box():
    _, positive = batch(1, 1000, action_dim=3)
    found = Uniform(20, (-0.5, 1.5)).draw(None, positive, positive, Generators([0])).flatten(0, 2)
    count = len(found)
    error = (4 / 12) ** 0.5 / count**0.5
    assert (found.mean(0) - 0.5).abs().max() < 4 * error
    # The variance of a squared deviation of a uniform is (1/80 - 1/144) of the fourth power of the width.
    assert (found.var(0) - 4 / 12).abs().max() < 4 * (16 * (1 / 80 - 1 / 144) / count) ** 0.5
    assert found.T.corrcoef().fill_diagonal_(0).abs().max() < 4 / count**0.5


def stationary_variance(energy, form, size, noise):
    """Of y' = y - size/2 (y - mean)/s^2 + c w: the true form's limit s^2 with the error of the step size."""
    temperature = noise**2 * (size if form == "ibc" else 1)
    return temperature * energy.variance / (1 - size / (4 * energy.variance))


@pytest.mark.parametrize(("form", "noise"), [("true", 1.0), ("true", 0.5), ("ibc", 1.0), ("ibc", 2.0)])
@pytest.mark.parametrize("kind", [ShortChains, LongChain])
def test_chains_end_in_the_law_of_their_temperature(form, noise, kind):
    """exp(-E / T), T = sigma^2 for the true form and lambda sigma^2 for the one of IBC."""
    energy, size = Gaussian(), 0.05
    _, positive = batch(1, 4000, action_dim=1)
    sizes = [size] * 60  # a start is forgotten at .84 per step
    found = kind(1, BOUNDS, Langevin(form, noise), sizes).draw(energy, positive, positive, Generators([0]))
    variance = stationary_variance(energy, form, size, noise)
    assert abs(found.mean() - energy.mean) < 4 * (variance / 4000) ** 0.5
    assert abs(found.var() / variance - 1) < 4 * (2 / 4000) ** 0.5


def test_a_long_chain_keeps_consecutive_positions():
    energy = Gaussian()
    _, positive = batch(2, 4)
    proposal = LongChain(3, BOUNDS, Langevin("true", 0.0), [0.02] * 7)
    away = proposal.draw(energy, positive, positive, Generators([0, 1])) - energy.mean
    factor = 1 - 0.01 / energy.variance
    torch.testing.assert_close(away[:, :, 1:], factor * away[:, :, :-1])
    start = ShortChains(1, BOUNDS, Langevin("true", 0.0), [1e-12]).draw(energy, positive, positive, Generators([0, 1]))
    torch.testing.assert_close(away[:, :, :1], factor**5 * (start - energy.mean), rtol=1e-4, atol=1e-6)


def test_a_long_chain_costs_what_as_many_short_ones_do():
    """M times the iterations of one chain, or M chains: the comparison of Ta et al. 2022, Section III."""
    _, positive = batch(2, 4)
    short, long = Gaussian(), Gaussian()
    ShortChains(3, BOUNDS, KERNEL, [0.1] * 5).draw(short, positive, positive, Generators([0, 1]))
    LongChain(3, BOUNDS, KERNEL, [0.1] * 15).draw(long, positive, positive, Generators([0, 1]))
    assert short.rows == long.rows == 2 * 4 * 3 * 5


@pytest.mark.parametrize("kind", [ShortChains, LongChain])
def test_the_precision_is_the_models_affair(kind):
    energy = Gaussian()
    _, positive = batch()
    for precision in (None, torch.bfloat16):
        kind(2, BOUNDS, KERNEL, [0.1] * 2, precision).draw(energy, positive, positive, Generators([0, 1]))
    assert energy.precisions == [None, torch.bfloat16]


@pytest.mark.parametrize(
    ("samples", "bounds"), [(0, BOUNDS), (1, (1.0, 1.0)), (1, (1.0, -1.0)), (1, (0.0, float("nan")))]
)
def test_no_samples_and_empty_boxes_are_refused(samples, bounds):
    for make in (
        Uniform,
        lambda *first: ShortChains(*first, KERNEL, [0.1]),
        lambda *first: LongChain(*first, KERNEL, [0.1]),
    ):
        with pytest.raises(ValueError, match=f"samples={samples}"):
            make(samples, bounds)


def test_a_chain_shorter_than_what_is_kept_is_refused():
    with pytest.raises(ValueError, match="2 iterations: fewer than the samples to keep, 3"):
        LongChain(3, BOUNDS, KERNEL, [0.1] * 2)
