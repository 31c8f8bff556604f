"""Lemma 1: the game's bookkeeping by other means, the counterexample to the minimum, and variants to be refuted."""

import numpy as np
import pandas as pd
import pytest
import torch

from experiments.harness import catalogue
from experiments.harness.claim import CORRECTED, REFUTED, REPRODUCED
from experiments.harness.context import Context
from experiments.lecture import lemma as experiment
from imitation.mdp import TabularMDP
from imitation.mdp.horizon import occupancies, repeated, returns, value_iteration

SMOKE = catalogue.canonical("lecture/lemma", "smoke")


@pytest.fixture(scope="module")
def frame():
    return experiment.run(SMOKE, Context())


def test_the_verdict(frame):
    verdict = experiment.decide(frame)
    assert verdict.verdict == CORRECTED
    assert 0 < verdict.measured <= 1 + 1e-12  # of the game's rows: the hand-built ones are tight by construction


def test_the_average_policy_of_the_game_is_a_markov_policy_with_the_same_returns():
    """Its law per step is the occupancies' average, conditioned on the state."""
    problem, _ = experiment._drawn(SMOKE, 6, Context())
    count, rate = 5, (np.log(SMOKE.rewards) / 5) ** 0.5 / 2
    scores, visits = torch.zeros_like(problem.expert), 0.0
    for _ in range(count):
        reward = (problem.rewards @ (rate * scores).softmax(-1)[:, None, :, None]).squeeze(-1)
        policy = value_iteration(problem.mdp, repeated(reward, 6)).log_policy.exp()
        visits = visits + occupancies(problem.mdp, policy) / count
        earned = torch.stack(
            [returns(problem.mdp, repeated(problem.rewards[..., k], 6), policy)[-1] for k in range(SMOKE.rewards)], -1
        )
        scores = scores + (problem.expert - earned) / 6
    mean = visits / visits.sum(-1, keepdim=True)
    torch.testing.assert_close(occupancies(problem.mdp, mean), visits, rtol=0, atol=1e-12)
    own = torch.stack(
        [returns(problem.mdp, repeated(problem.rewards[..., k], 6), mean)[-1] for k in range(SMOKE.rewards)], -1
    )
    deficits, _ = experiment._play(problem, [count])[count]
    torch.testing.assert_close(deficits, problem.expert - own, rtol=0, atol=1e-12)


def test_the_expert_itself_has_eps_zero_under_its_own_reward():
    problem, weights = experiment._drawn(SMOKE, 6, Context())
    earned, best = experiment._response(problem, weights)
    torch.testing.assert_close(earned, problem.expert, rtol=0, atol=1e-12)
    torch.testing.assert_close(best, (weights * problem.expert).sum(-1), rtol=0, atol=1e-12)


def test_the_counterexample_to_the_minimum(frame):
    crash = frame[frame.named == experiment.CRASH].set_index("horizon")
    for horizon in SMOKE.horizons:
        assert crash.minimum[horizon] == 0
        assert crash.gap[horizon] == pytest.approx((horizon - 2) / horizon, abs=1e-12)


def test_no_policy_beats_the_experts_of_the_figures():
    for example, home in ((experiment.two_mistakes(), 0), (experiment.compounding(), None)):
        reward = repeated(example.rewards[..., -1] if home is None else example.rewards[..., 1], 7)
        best = float(value_iteration(example.mdp, reward).value[0, 0])
        assert best == (6 if home is None else 0)
    assert isinstance(experiment.two_mistakes().mdp, TabularMDP)


def test_the_printed_minimum_is_refuted_by_the_same_rule(frame):
    assert experiment.decide(frame.assign(eps=frame.minimum.clip(lower=0))).verdict == REFUTED
    assert experiment.decide(frame.assign(maximum=frame.minimum)).verdict == REFUTED


def test_an_eps_that_is_too_small_is_refuted(frame):
    assert experiment.decide(frame.assign(eps=0.9 * frame.eps)).verdict == REFUTED


def test_without_a_counterexample_nothing_is_corrected(frame):
    assert experiment.decide(frame[frame.named != experiment.CRASH]).verdict == REFUTED
    tame = frame.minimum.where(frame.named != experiment.RANDOM, frame.maximum)
    assert experiment.decide(frame.assign(minimum=tame)).verdict == REFUTED


def test_where_the_printed_minimum_bounds_all_gaps_nothing_is_to_correct(frame):
    decision = experiment.decide(frame.assign(minimum=frame.gap))
    assert decision.verdict == REPRODUCED
    assert decision.note.startswith("As printed")
    over = frame.gap > frame.minimum.clip(lower=0) + experiment.TOLERANCE
    assert experiment.decide(frame.assign(minimum=frame.minimum.where(~over))).verdict == REFUTED


def test_a_game_that_learns_nothing_is_refuted(frame):
    # Every eps as after the first iteration, but for a little less at the end.
    game = frame[frame.named == experiment.GAME]
    first = game[game.iterations == game.iterations.min()].set_index(["horizon", "seed"]).eps
    stuck = frame.eps.copy()
    stuck[game.index] = first.reindex(pd.MultiIndex.from_frame(game[["horizon", "seed"]])).to_numpy()
    stuck[game.index[game.iterations == game.iterations.max()]] *= 0.99
    stuck = stuck.clip(lower=frame.gap)
    assert experiment.decide(frame.assign(eps=stuck)).verdict == REFUTED


def test_a_value_that_is_no_number_is_refuted(frame):
    for column in ("eps", "gap", "maximum"):
        assert experiment.decide(frame.assign(**{column: frame[column].where(frame.index != 1)})).verdict == REFUTED


def test_the_figure_is_drawn(frame):
    assert len(experiment.figure(frame).axes) == 3
