"""Fig. 18.2: the closed form, symmetry, and variants that must be refuted."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from experiments.harness import catalogue
from experiments.harness.claim import REFUTED, REPRODUCED
from experiments.harness.context import Context
from experiments.lecture import rewards as experiment

SMOKE = catalogue.canonical("lecture/rewards", "smoke")


@pytest.fixture(scope="module")
def frame():
    return experiment.run(SMOKE, Context())


def test_the_verdict(frame):
    verdict = experiment.decide(frame)
    assert verdict.verdict == REPRODUCED
    assert verdict.measured == pytest.approx(99 - (1 - 0.99**99) / 0.01, abs=1e-9)


def test_turning_the_cost_around_swaps_the_policies(frame):
    rows = frame[frame.reward == "w"].round({"crash_share": 6})
    wide = rows.pivot_table(index=["horizon", "crash_share"], columns="policy", values="gap")
    for horizon, group in wide.groupby("horizon"):
        lane, crash = group[experiment.POLICIES[0]].to_numpy(), group[experiment.POLICIES[1]].to_numpy()
        np.testing.assert_allclose(lane, crash[::-1], rtol=0, atol=1e-12, err_msg=str(horizon))


def test_policies_with_one_mistake_are_refuted(frame):
    lane = frame[frame.policy == experiment.POLICIES[0]]
    both = lane.assign(policy=experiment.POLICIES[1])
    assert experiment.decide(pd.concat([lane, both], ignore_index=True)).verdict == REFUTED


def test_a_reward_that_prices_all_mistakes_alike_is_refuted(frame):
    half = frame.assign(
        gap=frame.gap.where(frame.reward != "w", frame.closed.groupby(frame.horizon).transform("max") / 2)
    )
    assert experiment.decide(half).verdict == REFUTED
    assert experiment.decide(half.assign(closed=half.gap)).verdict == REFUTED


def test_other_losses_and_diverged_values_are_refuted(frame):
    crash = frame.policy == experiment.POLICIES[1]
    assert experiment.decide(frame.assign(loss=frame.loss.where(~crash, frame.loss + 0.1))).verdict == REFUTED
    assert experiment.decide(frame.assign(gap=frame.gap.where(frame.index != 7))).verdict == REFUTED


def test_rewards_on_one_side_decide_nothing(frame):
    assert experiment.decide(frame[~(frame.crash_share < 0.5)]).verdict == REFUTED


def test_a_simulation_of_something_else_is_refuted():
    frame = experiment.run(replace(SMOKE, seeds=[*range(10)], episodes=300), Context())
    played = frame.reward == experiment.SIMULATED
    assert experiment.decide(frame).verdict == REPRODUCED
    assert experiment.decide(frame.assign(gap=frame.gap.where(~played, 1.3 * frame.gap))).verdict == REFUTED
    assert experiment.decide(frame[~played]).verdict == REFUTED


def test_the_figure_is_drawn(frame):
    assert len(experiment.figure(frame).axes) == 3
