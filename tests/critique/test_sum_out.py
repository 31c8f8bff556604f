"""Summing out actions: exact identities, quadrature, gradients, verdicts, and broken variants that must not pass."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from experiments.critique import sum_out as experiment
from experiments.harness import catalogue
from experiments.harness.claim import CORRECTED, REFUTED, REPRODUCED
from experiments.harness.context import Context
from experiments.harness.frames import frame_bytes

NAME = "critique/sum_out"
CLAIMS = {claim.id: claim for claim in experiment.CLAIMS}
SUM, GRADIENT = CLAIMS


def small() -> experiment.Config:
    # Fewer seeds and dimensions than the laptop's; the chains are as long, so that they settle.
    laptop = catalogue.canonical(NAME, "laptop")
    return replace(laptop, dimensions=[1, 2], models=5, map_nodes=9, updates=1000, seeds=[0, 1, 2, 3, 4, 5, 6, 7])


def verdict(frame: pd.DataFrame, claim: str) -> str:
    return CLAIMS[claim].decide(frame).verdict


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return experiment.run(small(), Context())


@pytest.fixture
def net() -> experiment.Network:
    return experiment.network(small(), 2, Context())


def test_joint_is_normalised_over_states_and_actions():
    joint = experiment.joint(torch.tensor(np.random.default_rng(0).normal(size=(4, 5, 3))))
    torch.testing.assert_close(joint.sum((-1, -2)), torch.ones(4, dtype=torch.float64), rtol=1e-14, atol=0)


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_integral_of_a_gaussian(dimension):
    """With weights 0 and A actions the numerator is A e^{-|s|^2/2}: Z = A (2 pi)^{D/2}."""
    flat = experiment.Network(*(0 * weight for weight in experiment.network(small(), dimension, Context())))
    expected = np.log(small().actions) + dimension / 2 * np.log(2 * np.pi)
    assert float(experiment.log_integral(flat, 40, 8.0)) == pytest.approx(expected, abs=1e-12)


def test_integral_agrees_with_another_rule(net):
    """Gauss and Hermite's nodes have nothing in common with the trapezoid's; they converge slower on tanh."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(120)
    states = torch.tensor(np.stack(np.meshgrid(nodes, nodes), -1))
    bounded_part = net.log_summed(states) + 0.5 * states.square().sum(-1)
    expected = float((torch.tensor(np.outer(weights, weights)) * bounded_part.exp()).sum().log())
    assert float(experiment.log_integral(net, 48, 6.0)) == pytest.approx(expected, abs=1e-6)


def test_fewer_dimensions_are_the_same_network_at_zero(net):
    line = experiment.network(small(), 1, Context())
    states = torch.linspace(-2, 2, 5, dtype=torch.float64)[:, None]
    torch.testing.assert_close(line.logits(states), net.logits(torch.cat([states, 0 * states], 1)))


def test_quadrature_gradient_against_finite_differences(net):
    """d log Z / d(one weight), by central differences."""
    for name in ("inner", "outer_bias"):
        weight = getattr(net, name)
        step = torch.zeros_like(weight)
        step.view(-1)[1] = 1e-5
        up, down = (experiment.log_integral(net._replace(**{name: weight + sign * step}), 40, 6.0) for sign in (1, -1))
        watched = experiment.Network(*(part.clone().requires_grad_() for part in net))
        gradient = torch.autograd.grad(experiment.log_integral(watched, 40, 6.0), getattr(watched, name))[0]
        assert float(gradient.view(-1)[1]) == pytest.approx(float(up - down) / 2e-5, abs=1e-8)


def test_shift_leaves_the_policy_alone(net):
    """-|s|^2/2 is a shift g(s): logits with and without it have the same softmax."""
    states = torch.tensor([[0.3, -1.2], [2.0, 0.5]], dtype=torch.float64)
    free = torch.tanh(states @ net.inner + net.inner_bias) @ net.outer + net.outer_bias
    torch.testing.assert_close(net.logits(states).softmax(-1), free.softmax(-1))


def test_quadrature_converges(frame):
    """Halving the spacing squares the error of an analytic integrand, down to what the cut tails leave."""
    errors = frame[(frame.quantity == "grid") & (frame.dimension == 2)].set_index("size").value
    assert errors[12] > 100 * errors[24] > 100 * 100 * errors[48]


def test_claims_hold(frame):
    assert verdict(frame, SUM) == CORRECTED
    assert verdict(frame, GRADIENT) == CORRECTED


def test_correction_names_what_the_constant_costs(frame):
    needed = experiment.evaluations(frame)
    assert list(needed) == [1, 2]
    assert needed[2] == CLAIMS[SUM].decide(frame).measured
    assert f"{needed[2]:,} in 2-D" in CLAIMS[SUM].decide(frame).note


def test_a_lucky_coarse_grid_does_not_count():
    """An error that crosses zero at 6 nodes is no convergence."""
    frame = pd.DataFrame({"quantity": "grid", "dimension": 1.0, "size": [6, 8, 10], "value": [0, 1e-3, 1e-9]})
    assert experiment.evaluations(frame) == {1: 10}


def test_control_joint_that_is_not_normalised(monkeypatch):
    monkeypatch.setattr(experiment, "joint", lambda logits: logits.softmax(-1))
    broken = pd.concat([experiment._finite(small(), Context()), experiment._grids(small(), Context())])
    assert verdict(broken, SUM) == REFUTED


def test_control_domain_too_small():
    """Both claims lean on quadrature: a grid that cuts the model off must sink them."""
    broken = experiment.run(replace(small(), half_width=1.0), Context())
    assert verdict(broken, SUM) == REFUTED
    assert verdict(broken, GRADIENT) == REFUTED


def test_control_cost_that_does_not_grow(frame):
    """Were the same few evaluations enough in 2-D, the sentence would stand as printed, without a cost to name."""
    broken = frame.copy()
    broken.loc[(broken.quantity == "grid") & (broken.dimension == 2), "value"] = 0.0
    assert experiment.evaluations(broken)[2] == 36
    assert verdict(broken, SUM) == REPRODUCED
    # One cheap step among dear ones is a broken run, not a cheap Z.
    third = broken[(broken.quantity == "grid") & (broken.dimension == 1)].assign(dimension=3)
    assert verdict(pd.concat([broken, third]), SUM) == REFUTED


def test_control_energy_of_the_wrong_sign(monkeypatch):
    """Chains that go down where p(s) goes up: the shift's confinement alone keeps its sign."""
    original = experiment.gradient_of

    def flipped(energy):
        return original(lambda states: -energy(states) + states.square().sum(-1))

    monkeypatch.setattr(experiment, "gradient_of", flipped)
    assert verdict(experiment.run(small(), Context()), GRADIENT) == REFUTED


def test_control_correct_noise_where_the_official_is_claimed():
    """Were the official sampler right, only Z would be missing."""
    broken = experiment.run(replace(small(), sigma=0.02**0.5), Context())
    decision = next(claim for claim in experiment.CLAIMS if claim.id == GRADIENT).decide(broken)
    assert decision.verdict == CORRECTED
    assert "official noise too" in decision.note


def test_control_official_noise_where_the_correct_is_claimed(frame):
    other = {experiment.CORRECT: experiment.OFFICIAL, experiment.OFFICIAL: experiment.CORRECT}
    assert verdict(frame.assign(setting=frame.setting.replace(other)), GRADIENT) == REFUTED


def test_one_seed_decides_nothing(frame):
    assert verdict(frame[~(frame.seed > 0)], GRADIENT) == "inconclusive"


def test_a_diverged_seed_is_not_dropped(frame):
    """One weight of one seed is not finite: neither that seed nor that weight may vanish from the decision."""
    broken = frame.copy()
    broken.loc[(broken.quantity == "gradient") & (broken.seed == 2) & (broken["index"] == 7), "value"] = np.nan
    assert verdict(broken, GRADIENT) == "inconclusive"


def test_member_equals_the_same_run_alone(frame):
    alone = experiment.run(replace(small(), seeds=[3]), Context())
    member = frame[(frame.quantity == "gradient") & (frame.seed == 3)]
    assert np.allclose(alone[alone.quantity == "gradient"].value, member.value, rtol=0, atol=1e-8)


def test_same_seeds_give_the_same_bytes():
    smoke = catalogue.canonical(NAME, "smoke")
    first, second = (frame_bytes(experiment.run(smoke, Context())) for _ in range(2))
    assert first == second


def test_smoke_decides_the_exact_claim_only_and_draws():
    frame = experiment.run(catalogue.canonical(NAME, "smoke"), Context())
    verdicts = {claim.id: claim.verdict(frame, "smoke").verdict for claim in experiment.CLAIMS}
    assert verdicts == {SUM: CORRECTED, GRADIENT: "inconclusive"}
    assert len(experiment.figure(frame).axes) == 4  # three panels and the colour bar
