"""The faithful loss: the targets by another quadrature, and broken losses that nothing may reproduce."""

from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm

from experiments.csil import faithful as experiment
from experiments.harness import catalogue
from experiments.harness.claim import INCONCLUSIVE, REFUTED, REPRODUCED
from experiments.harness.context import Context
from imitation.policies import cloning
from imitation.policies._tanh_normal import log_prob

SMOKE = catalogue.canonical("csil/faithful", "smoke")


@pytest.fixture(scope="module")
def frame():
    return experiment.run(SMOKE, Context())


def made_up(errors: dict[str, float], seeds: int = 6):
    """A frame whose modes are off by so much, with a spread of 10 % between seeds, and target zero."""
    rows = [
        {
            "policy": policy,
            "loss": loss,
            "seed": seed,
            "x": 0.0,
            "mode": error * (1 + 0.1 * np.sin(seed)),
            "target": 0.0,
            "step": 2000,
        }
        for policy in ("HetStat", "MLP")
        for loss, error in errors.items()
        for seed in range(seeds)
    ]
    return pd.DataFrame(rows)


def test_smoke_decides_the_exact_part_alone(frame):
    assert [claim.verdict(frame, "smoke").verdict for claim in experiment.CLAIMS] == [
        INCONCLUSIVE,
        INCONCLUSIVE,
        REPRODUCED,
    ]


@pytest.mark.parametrize("x", [-1.0, -0.3, 0.2, 0.9])
def test_targets_are_the_conditional_mean_and_median(x):
    m, s = (float(f(torch.tensor(x, dtype=torch.float64))) for f in (experiment.centre, experiment.spread))
    mean, median = experiment.targets(torch.tensor([x], dtype=torch.float64))
    assert float(mean) == pytest.approx(quad(lambda u: np.tanh(u) * norm.pdf(u, m, s), m - 9 * s, m + 9 * s)[0])
    assert np.arctanh(float(median)) == pytest.approx(m)
    drawn = np.tanh(m + s * np.random.default_rng(0).normal(size=100_000))
    assert drawn.mean() == pytest.approx(float(mean), abs=5 * s / 100_000**0.5)


def test_every_loss_starts_alike_from_the_same_data(monkeypatch):
    seen = []

    class Watching(cloning.Cloning):
        def fit(self, policy, observations, actions, random, steps, rows=None, progress=None):
            seen.append([observations, actions, *(value.detach().clone() for value in policy.parameters())])
            assert progress
            progress(steps, steps)
            return torch.zeros(len(random), dtype=torch.bool)

    monkeypatch.setattr(experiment, "Cloning", Watching)
    experiment.run(SMOKE, Context())
    assert len(seen) == 6
    for first in (0, 3):
        for one, two, three in zip(*seen[first : first + 3], strict=True):
            assert torch.equal(one, two)
            assert torch.equal(one, three)


def no_stop_on_features(policy, observation, action):
    mean, deviation = policy(observation)
    return (mean.tanh() - action).square().mean((1, 2)) - log_prob(mean.detach(), deviation, action).mean(1)


def no_stop_on_the_mean(policy, observation, action):
    mean, deviation = policy(observation, faithful=True)
    return (mean.tanh() - action).square().mean((1, 2)) - log_prob(mean, deviation, action).mean(1)


@pytest.mark.parametrize("loss", [no_stop_on_features, no_stop_on_the_mean, cloning.likelihood_loss])
def test_a_loss_that_lets_a_gradient_through_is_refuted(monkeypatch, loss):
    monkeypatch.setitem(cloning.LOSSES, "faithful", loss)
    assert experiment.decide_mean(experiment.run(SMOKE, Context())).verdict == REFUTED


@pytest.mark.parametrize(
    ("errors", "verdict"),
    [
        ({"squares": 0.1, "faithful": 0.1, "likelihood": 0.2}, REPRODUCED),
        ({"squares": 0.1, "faithful": 0.15, "likelihood": 0.2}, REFUTED),
        ({"squares": 0.1, "faithful": 0.1, "likelihood": 0.05}, REFUTED),
        ({"squares": 0.1, "faithful": 0.1, "likelihood": 0.1}, INCONCLUSIVE),
    ],
)
def test_the_rule_on_made_up_errors(errors, verdict):
    assert experiment.decide_end(made_up(errors)).verdict == verdict


def test_a_likelihood_that_is_worse_for_one_policy_alone_is_not_reproduced():
    frame = made_up({"squares": 0.1, "faithful": 0.1, "likelihood": 0.2})
    better = (frame.policy == "MLP") & (frame.loss == "likelihood")
    assert experiment.decide_end(frame.assign(mode=frame["mode"].where(~better, 0.01))).verdict == REFUTED


def test_what_holds_by_one_target_alone_is_not_decided():
    """From its own target the likelihood is nearer than least squares, from the mean farther."""
    frame = made_up({"squares": 0.1, "faithful": 0.1, "likelihood": 0.2})
    own = frame.assign(target=frame.target.where(frame.loss != "likelihood", 0.15))
    assert experiment.decide_end(frame).verdict == REPRODUCED
    assert experiment.decide_end(own).verdict == INCONCLUSIVE
    assert "both must agree" in experiment.decide_end(own).note


def test_the_end_of_the_fit_decides_and_two_thousand_steps_are_early():
    early = made_up({"squares": 0.1, "faithful": 0.1, "likelihood": 0.2})
    late = made_up({"squares": 0.1, "faithful": 0.1, "likelihood": 0.05}).assign(step=25_000)
    frame = pd.concat([early, late, late.assign(step=100)])
    assert experiment.decide_end(frame).verdict == REFUTED
    assert experiment.decide_early(frame).verdict == REPRODUCED


def test_a_seed_that_diverged_is_never_dropped(frame):
    broken = made_up({"squares": 0.1, "faithful": 0.1, "likelihood": 0.2})
    broken.loc[(broken.seed == 3) & (broken.loss == "likelihood"), "mode"] = np.nan
    assert experiment.decide_end(broken).verdict == INCONCLUSIVE
    broken = frame.copy()
    broken.loc[(broken.seed == 1) & (broken.loss == "faithful"), "mode"] = np.nan
    assert experiment.decide_mean(broken).verdict == REFUTED


def test_overnight_is_as_published_but_for_the_batch():
    paper, overnight = (asdict(catalogue.canonical("csil/faithful", scale)) for scale in ("paper", "overnight"))
    assert {key for key in paper if paper[key] != overnight[key]} == {"batch"}


def test_the_figure_is_drawn(frame):
    assert len(experiment.figure(frame).axes) == 3
