"""Hedge, natural policy gradient and the closed form are one update; plain gradient and other steps are not."""

import numpy as np
import pytest
import torch

from experiments.harness import catalogue
from experiments.harness.claim import REFUTED, REPRODUCED
from experiments.harness.context import Context
from experiments.lecture import softmax_family as experiment

SMOKE = catalogue.canonical("lecture/softmax_family", "smoke")


@pytest.fixture(scope="module")
def frame():
    return experiment.run(SMOKE, Context())


def test_verdict_of_the_real_run(frame):
    assert experiment.CLAIMS[0].verdict(frame, "smoke").verdict == REPRODUCED


def test_the_natural_gradient_is_the_advantage():
    # Kakade 2001: on tables F^+ grad J is A = Q - V, up to a constant in every state.
    rng = np.random.default_rng(0)
    mdp = experiment.self_loops(3, 4)
    mdp = type(mdp)(mdp.transition, torch.full((3,), 1 / 3, dtype=torch.float64))
    logits, reward = torch.from_numpy(rng.normal(size=(2, 3, 4))), torch.from_numpy(rng.normal(size=(3, 4)))
    payoff = experiment._payoffs(mdp, logits.softmax(-1), reward)
    found = experiment.natural_gradient(mdp, logits, reward)
    torch.testing.assert_close(found - found.mean(-1, keepdim=True), payoff - payoff.mean(-1, keepdim=True))


def test_plain_gradient_in_place_of_the_natural_is_refuted(monkeypatch):
    monkeypatch.setattr(experiment, "natural_gradient", experiment._slope)
    assert experiment.decide(experiment.run(SMOKE, Context())).verdict == REFUTED


def test_the_printed_sign_of_the_closed_form_is_refuted(monkeypatch):
    right = experiment._single_steps
    monkeypatch.setattr(experiment, "_single_steps", lambda cost: right(-cost))
    assert experiment.decide(experiment.run(SMOKE, Context())).verdict == REFUTED


def test_a_missing_game_method_or_number_is_refuted(frame):
    for broken in (
        frame[frame.game == "process"],
        frame[frame.method != experiment.SOFT],
        frame.assign(difference=frame.difference.where(frame.seed == 0)),
    ):
        assert experiment.decide(broken).verdict == REFUTED
