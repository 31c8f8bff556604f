"""Losses: limits, invariances, gradients worked out by hand, and what the mean over all negatives must be."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import TypeCheckError

from imitation.ebm.losses import entropy_regularised, gradient_penalty, infonce, mcmc

LOSSES = [infonce, mcmc, entropy_regularised]


def energies(*batch, negatives=5, seed=0, scale=2.0):
    random = torch.Generator().manual_seed(seed)
    values = scale * torch.randn(*batch, negatives + 1, generator=random, dtype=torch.float64)
    return values[..., 0].clone().requires_grad_(), values[..., 1:].clone().requires_grad_()


def slopes(loss, positive, negatives):
    return torch.autograd.grad(loss(positive, negatives).sum(), (positive, negatives))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("batch", [(), (3,), (2, 3)])
def test_one_value_per_observation_and_each_from_its_own_energies(loss, batch):
    positive, negatives = energies(*batch)
    whole = loss(positive, negatives)
    assert whole.shape == batch
    rows = zip(positive.reshape(-1), negatives.reshape(-1, 5), strict=True)
    torch.testing.assert_close(whole.reshape(-1), torch.stack([loss(*row) for row in rows]), rtol=0, atol=1e-14)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_constant_per_observation_changes_neither_value_nor_gradient(loss):
    positive, negatives = energies(4)
    offset = torch.arange(4, dtype=torch.float64)
    moved = positive.detach() + offset, negatives.detach() + offset[:, None]
    torch.testing.assert_close(loss(positive, negatives), loss(*moved), rtol=0, atol=1e-13)
    of_positive, of_negatives = slopes(loss, positive, negatives)
    torch.testing.assert_close(of_positive, -of_negatives.sum(-1), rtol=0, atol=1e-14)


@pytest.mark.parametrize("loss", LOSSES)
def test_the_order_of_negatives_does_not_matter(loss):
    positive, negatives = energies(4)
    torch.testing.assert_close(loss(positive, negatives), loss(positive, negatives.flip(-1)), rtol=0, atol=1e-14)


def test_infonce_is_the_cross_entropy_with_logits_minus_energy():
    positive, negatives = energies(6, scale=20.0)
    logits = -torch.cat([positive[:, None], negatives], -1)
    expected = torch.nn.functional.cross_entropy(logits, torch.zeros(6, dtype=torch.long), reduction="none")
    torch.testing.assert_close(infonce(positive, negatives), expected, rtol=1e-14, atol=1e-14)


def test_infonce_of_equal_energies_is_log_of_the_number_of_candidates():
    assert float(infonce(torch.zeros(()), torch.zeros(7))) == pytest.approx(math.log(8))


def test_infonce_of_energies_far_apart_neither_overflows_nor_loses_the_difference():
    far = torch.tensor([40.0, -40.0, 2000.0, -2000.0], dtype=torch.float64)
    value = infonce(torch.zeros(4, dtype=torch.float64), far[:, None])
    expected = torch.tensor([0.0, 40.0, 0.0, 2000.0], dtype=torch.float64)
    torch.testing.assert_close(value, expected, rtol=1e-14, atol=1e-15)


def test_infonces_gradient_weighs_negatives_by_their_share():
    positive, negatives = energies(4)
    shares = torch.cat([-positive[:, None], -negatives], -1).softmax(-1).detach()
    of_positive, of_negatives = slopes(infonce, positive, negatives)
    torch.testing.assert_close(of_positive, 1 - shares[:, 0], rtol=0, atol=1e-14)
    torch.testing.assert_close(of_negatives, -shares[:, 1:], rtol=0, atol=1e-14)


def test_infonce_with_negatives_of_infinite_energy_finds_the_positive():
    positive = torch.zeros(1, requires_grad=True)
    value = infonce(positive, torch.full((1, 3), torch.inf))
    assert value.tolist() == [0]
    assert torch.autograd.grad(value.sum(), positive)[0].tolist() == [0]


def test_mcmc_has_m_terms():
    assert float(mcmc(torch.tensor(3.0), torch.tensor([1.0, 2.0]))) == 1.5
    of_positive, of_negatives = slopes(mcmc, *energies(3))
    assert torch.equal(of_positive, torch.ones_like(of_positive))
    torch.testing.assert_close(of_negatives, torch.full_like(of_negatives, -1 / 5))


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=20), st.floats(-100, 100))
def test_the_entropys_share_is_half_the_variance_as_printed(values, positive):
    negatives, positive = torch.tensor(values, dtype=torch.float64), torch.tensor(positive, dtype=torch.float64)
    printed = 0.5 * negatives.square().mean() - 0.5 * negatives.mean().square()
    extra = entropy_regularised(positive, negatives) - mcmc(positive, negatives)
    torch.testing.assert_close(extra, printed, rtol=0, atol=1e-10)


def test_the_entropys_gradient_is_the_energys_deviation_over_m():
    positive, negatives = energies(4)
    _, of_negatives = slopes(entropy_regularised, positive, negatives)
    expected = (negatives - negatives.mean(-1, keepdim=True) - 1) / 5
    torch.testing.assert_close(of_negatives, expected.detach(), rtol=0, atol=1e-14)


def test_one_negative_has_no_variance_and_no_gradient_of_it():
    positive, negatives = energies(3, negatives=1)
    torch.testing.assert_close(entropy_regularised(positive, negatives), mcmc(positive, negatives))
    assert torch.equal(slopes(entropy_regularised, positive, negatives)[1], torch.full((3, 1), -1.0).double())


def test_energies_far_from_zero_leave_the_variance_exact():
    # E^2 - E^2 of printed terms would lose it: at 1e6 in float32 a square is exact to 6e4 only.
    negatives = torch.tensor([1e6 - 1, 1e6 + 1])
    assert float(entropy_regularised(torch.tensor(1e6), negatives)) == pytest.approx(0.5)


def tuples(count):
    """Four states, their energies, every choice of so many of them, and how likely it is under exp(-E)."""
    values = torch.tensor([0.3, -1.0, 2.0, 0.5], dtype=torch.float64, requires_grad=True)
    choices = torch.cartesian_prod(*[torch.arange(4)] * count).reshape(-1, count)
    likely = (-values).log_softmax(0).detach()[choices].sum(-1).exp()
    return values, choices, likely


@pytest.mark.parametrize("count", [1, 2, 3])
def test_mcmc_has_on_average_the_likelihoods_gradient_for_every_m(count):
    values, choices, likely = tuples(count)
    loss = (likely * mcmc(values[1].expand(len(choices)), values[choices])).sum()
    likelihood = -(-values).log_softmax(0)[1]
    found, expected = (torch.autograd.grad(one, values, retain_graph=True)[0] for one in (loss, likelihood))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_entropys_gradient_is_on_average_short_by_one_over_m(count):
    values, choices, likely = tuples(count)
    each = values[1].expand(len(choices))
    extra = (likely * (entropy_regularised(each, values[choices]) - mcmc(each, values[choices]))).sum()
    logs = (-values).log_softmax(0)
    found, expected = (torch.autograd.grad(one, values, retain_graph=True)[0] for one in (extra, logs.exp() @ logs))
    torch.testing.assert_close(found, (count - 1) / count * expected, rtol=0, atol=1e-14)


def test_the_penalty_takes_the_largest_component_beyond_the_margin():
    gradients = torch.tensor([[[0.5, -3.0], [0.9, 0.2]], [[1.0, -1.0], [0.0, 0.0]]])
    assert gradient_penalty(gradients).tolist() == [2.0, 0.0]  # ((3 - 1)^2 + 0) / 2 and none
    assert gradient_penalty(gradients, margin=0.0)[1] == 0.5


def test_the_penalty_grows_with_what_lies_beyond_the_margin_and_trains():
    gradients = torch.tensor([[[2.0, 0.0]]], requires_grad=True)
    slope = torch.autograd.grad(gradient_penalty(gradients).sum(), gradients)[0]
    assert slope.tolist() == [[[2.0, 0.0]]]


@pytest.mark.parametrize("loss", LOSSES)
def test_what_is_no_number_stays_visible(loss):
    negatives = torch.zeros(2, 3)
    negatives[0, 1] = torch.nan
    value = loss(torch.zeros(2), negatives)
    assert value.isnan().tolist() == [True, False]
    assert gradient_penalty(torch.full((1, 1), torch.nan)).isnan()


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("shape", [(3, 4), (2, 5, 4), (4,), ()])
def test_energies_of_other_observations_are_refused(loss, shape):
    with pytest.raises(TypeCheckError):  # the annotations, where they are checked
        loss(torch.zeros(2, 3), torch.zeros(shape))
    with pytest.raises(ValueError, match="energies must be of shapes"):
        loss.__wrapped__(torch.zeros(2, 3), torch.zeros(shape))


@pytest.mark.parametrize("loss", LOSSES)
def test_no_negatives_are_refused(loss):
    with pytest.raises(ValueError, match="M > 0"):
        loss(torch.zeros(2), torch.zeros(2, 0))


@pytest.mark.parametrize("margin", [-0.1, math.nan, math.inf])
def test_a_penalty_without_a_margin_is_refused(margin):
    with pytest.raises(ValueError, match="margin"):
        gradient_penalty(torch.zeros(1, 1, 1), margin)


@pytest.mark.parametrize("shape", [(2, 0, 1), (2, 1, 0)])
def test_a_penalty_on_nothing_is_refused(shape):
    with pytest.raises(ValueError, match="M and D"):
        gradient_penalty(torch.zeros(shape))
