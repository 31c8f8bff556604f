"""CSIL's stability against DAC's: decisions on made-up frames, the three measures, the learners, the smoke run."""

from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest

from experiments.csil import _study
from experiments.csil import stability as experiment
from experiments.harness import catalogue
from experiments.harness.claim import INCONCLUSIVE, REFUTED, REPRODUCED
from experiments.harness.context import Context
from imitation.control.absorbing import AbsorbingActorCritic
from imitation.control.csil import CoherentSoftImitation

CLAIM, LEVEL, AGAIN = experiment.CLAIMS
SMOKE = catalogue.canonical("csil/stability", "smoke")


def made_up(csil, dac, csil_spread=0.01, dac_spread=0.2):
    """Scores along the training, the last ones spread over seeds; random has 0, the expert 1000."""
    rows = []
    for seed, jump in enumerate(np.linspace(-1, 1, 8)):
        curves = {"random": [0.0], "expert": [1.0], "BC": [0.2, 0.3]}
        curves["CSIL"] = [*csil[:-1], csil[-1] + csil_spread * jump]
        curves["DAC"] = [*dac[:-1], dac[-1] + dac_spread * jump]
        for method, scores in curves.items():
            for update, score in enumerate(scores):
                place = {"env": "Hopper-v5", "method": method, "demonstrations": 1, "seed": seed, "update": update}
                for metric, value in (("return", 1000 * score), ("diverged", 0.0)):
                    rows.append({**place, "steps": 100 * update, "metric": metric, "value": value})
    return pd.DataFrame(rows)


STEADY, FALLING = [0.2, 0.8, 0.9, 0.9, 0.9, 0.9], [0.2, 0.7, 0.8, 0.9, 0.3, 0.4]
FLAT, PEAK = [0.1, 0.3, 0.1, 0.1, 0.1, 0.1], [0.1, 0.1, 0.9, 0.1, 0.1, 0.1]


@pytest.mark.parametrize(
    ("frame", "verdict"),
    [
        (made_up(STEADY, FALLING), REPRODUCED),
        (made_up(FALLING, STEADY), REFUTED),  # negative control: it is CSIL that falls
        (made_up(STEADY, FALLING, csil_spread=0.8, dac_spread=0.01), REFUTED),  # falls less, but seeds differ more
        (made_up(STEADY, STEADY, dac_spread=0.01), INCONCLUSIVE),  # as stable as each other
        (made_up(STEADY, FLAT), INCONCLUSIVE),  # DAC has learnt nothing to fall from
        (made_up(FLAT, FALLING), INCONCLUSIVE),  # nor has CSIL
        (made_up(STEADY, PEAK), INCONCLUSIVE),  # one good evaluation is not learning
    ],
)
def test_the_decision(frame, verdict):
    assert CLAIM.decide(frame).verdict == verdict


@pytest.mark.parametrize(
    ("frame", "verdict"),
    [
        (made_up(STEADY, FALLING, dac_spread=0.1), REPRODUCED),
        (made_up(FALLING, STEADY, dac_spread=0.1), REFUTED),  # negative control: DAC ends above
        (made_up(STEADY, [*FALLING[:-1], 0.88]), INCONCLUSIVE),  # the best evaluations do not count
    ],
)
def test_the_last_scores_are_compared(frame, verdict):
    assert LEVEL.decide(frame).verdict == verdict


def test_one_demonstration_is_asked_of_these_seeds_too():
    assert AGAIN.decide(made_up([*STEADY[:-1], 1.0], FALLING)).verdict == REPRODUCED
    assert AGAIN.decide(made_up(FALLING, STEADY)).verdict == REFUTED  # negative control: CSIL ends far below
    assert AGAIN.decide(made_up([*STEADY[:-1], 1.0], FALLING, csil_spread=0.5)).verdict == INCONCLUSIVE


def test_conditions_in_which_one_learnt_nothing_are_left_out():
    other = made_up(FALLING, FLAT).assign(env="Walker2d-v5")
    verdict = CLAIM.decide(pd.concat([made_up(STEADY, FALLING), other]))
    assert verdict.verdict == REPRODUCED
    assert "Conditions compared: 1." in verdict.note


def test_a_short_training_refutes_nothing():
    assert CLAIM.verdict(made_up(FALLING, STEADY), "overnight").verdict == INCONCLUSIVE
    assert CLAIM.verdict(made_up(FALLING, STEADY), "paper").verdict == REFUTED


def test_drawdowns_are_shares_of_the_best_so_far_once_that_is_above_one_half():
    scores = pd.DataFrame({"a": [0.4, 0.0, 0.8, 0.4, 1.0, 0.9], "b": [0.1, 0.5, 0.1, 0.2, 0.1, 0.1]})
    found = experiment.drawdowns(scores)
    np.testing.assert_allclose(found["a"], [np.nan, np.nan, 0, 0.5, 0, 0.1])
    assert found["b"].isna().all()
    np.testing.assert_allclose(experiment.worst_drawdown(scores), [0.5, 1])  # what held nothing is not steady
    np.testing.assert_allclose(experiment.mean_drawdown(scores), [0.15, 1])
    assert experiment.drawdowns(scores - 0.2)["a"].iloc[3] == pytest.approx(0.4 / 0.6)


def test_the_distance_is_from_the_median_of_the_seeds():
    scores = pd.DataFrame([[9.0, 0, 0], [9, 0, 0], [0, 1, 3], [0, 1, 5]])
    np.testing.assert_allclose(experiment.distance(scores), [1, 0, 3])


def test_the_learners_are_csil_and_dac_with_absorbing_states():
    task = _study.task(SMOKE, "Hopper-v5", Context().device)
    clone = _study.cloned(task, "BC", Context(), SMOKE.cloning)[0][SMOKE.start]
    assert type(experiment.learner(task, "CSIL", clone)) is CoherentSoftImitation
    dac = experiment.learner(replace(task, cfg=replace(task.cfg, temperature=0.2)), "DAC", clone)
    assert type(dac) is AbsorbingActorCritic
    assert dac.temperature[:, 0].tolist() == pytest.approx([0.2] * len(task.members))


def test_a_diverged_member_counts_as_a_uniform_policy():
    frame = made_up(STEADY, FALLING)
    last = (frame.method == "CSIL") & (frame.metric == "return") & (frame.seed == 3) & (frame["update"] == 5)
    other = made_up(STEADY, [-9.0] * 6).assign(env="Walker2d-v5")  # the lowest score of all is far below 0
    found = experiment.curves(pd.concat([frame.assign(value=frame.value.mask(last)), other]), "CSIL")
    assert found["Hopper-v5", 1].loc[5, 3] == 0


def test_a_smaller_mean_does_not_make_up_for_a_larger_worst_drawdown():
    csil, dac = [0.9, 0.9, 0.1, 0.9, 0.9, 0.9], [0.9, 0.9, 0.9, 0.4, 0.4, 0.4]
    means = [experiment.mean_drawdown(pd.DataFrame({"a": scores}))["a"] for scores in (csil, dac)]
    assert means[0] < means[1]
    assert CLAIM.decide(made_up(csil, dac, dac_spread=0.1)).verdict == REFUTED


def test_the_smoke_run_draws_and_tells_why_nothing_is_compared():
    frame = experiment.run(SMOKE, Context())
    assert set(frame.method) == {"expert", "random", "BC", "CSIL", "DAC"}
    assert frame.value.notna().all()
    assert CLAIM.decide(frame).note.startswith("Not learnt enough to fall: CSIL, DAC.")
    assert len(experiment.figure(frame).axes) == 1 + 3


def test_the_overnight_scale_is_that_of_hopper_but_for_seeds_and_methods():
    ours, theirs = (asdict(catalogue.canonical(f"csil/{name}", "overnight")) for name in ("stability", "hopper"))
    assert {name for name in ours if ours[name] != theirs[name]} == {"seeds"}
    assert not set(ours["seeds"]) & set(theirs["seeds"])
