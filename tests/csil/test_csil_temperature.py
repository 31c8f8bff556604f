"""The map of temperatures: its decision on made-up frames, its settings, and the smoke run."""

from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest

from experiments.csil import _scores, _study
from experiments.csil import temperature as experiment
from experiments.harness import arguments, catalogue
from experiments.harness.claim import INCONCLUSIVE, REFUTED, REPRODUCED
from experiments.harness.context import Context
from experiments.harness.schema import BadInputError
from imitation.control.csil import CoherentSettings

SMOKE = catalogue.canonical("csil/temperature", "smoke")
ALPHAS, RATIOS = (0.33, 1.0, 3.0), (0.03, 0.3, 1.0, 3.0)
CLAIM = experiment.CLAIMS[0]


def made_up(scores, spread=0.02, environments=("HalfCheetah-v5", "Hopper-v5")):
    """Last scores(environment, alpha, ratio), with a spread over six seeds; random has -100, the expert 900."""
    rows = []
    for name in environments:
        for seed, jump in enumerate(np.linspace(-1, 1, 6)):
            levels = {("expert", None, None): 1.0, ("random", None, None): 0.0, ("BC", None, None): 0.3}
            levels |= {(f"{alpha}, {ratio}", alpha, ratio): scores(name, alpha, ratio) + spread * jump * (ratio - 1)
                       for alpha in ALPHAS for ratio in RATIOS}  # fmt: skip
            for (method, alpha, ratio), score in levels.items():
                place = {"env": name, "method": method, "demonstrations": 1, "seed": seed, "update": 9, "steps": 90}
                place |= {"alpha": alpha, "ratio": ratio}
                rows.append({**place, "metric": "return", "value": 1000 * score - 100})
                rows.append({**place, "metric": "diverged", "value": 0.0})
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("scores", "verdict"),
    [
        (lambda name, alpha, ratio: 0.8 if ratio < 1 else 0.4, REPRODUCED),
        (lambda name, alpha, ratio: 0.4 if ratio < 1 else 0.8, REFUTED),  # negative control: the other way round
        (lambda name, alpha, ratio: 0.2 + 0.2 * alpha, INCONCLUSIVE),  # alpha alone matters
        (lambda name, alpha, ratio: 0.9 if (ratio < 1) == (name == "Hopper-v5") else 0.2, INCONCLUSIVE),
    ],
)
def test_the_decision(scores, verdict):
    assert experiment.decide(made_up(scores)).verdict == verdict


def test_a_lead_that_one_environment_contradicts_is_not_enough():
    def scores(name, alpha, ratio):
        return (0.9 if ratio < 1 else 0.1) if name == "Hopper-v5" else (0.4 if ratio < 1 else 0.6)

    found = experiment.decide(made_up(scores))
    assert found.verdict == INCONCLUSIVE
    assert "clearly behind in [('HalfCheetah-v5', 1)]" in found.note


def test_short_trainings_neither_decide_nor_refute():
    worse = made_up(lambda name, alpha, ratio: 0.4 if ratio < 1 else 0.8)
    assert CLAIM.verdict(worse, "laptop").verdict == INCONCLUSIVE
    assert CLAIM.verdict(worse, "overnight").verdict == INCONCLUSIVE
    assert CLAIM.verdict(worse, "paper").verdict == REFUTED


def test_the_note_names_the_best_pair_and_every_gain():
    frame = made_up(lambda name, alpha, ratio: 0.5 + 0.3 * (ratio < 1) + 0.1 * (alpha == 3))
    note = experiment.decide(frame).note
    assert "alpha = 3/|A|, beta = 0.03 alpha has the best" in note
    assert note.count("0.30 [") == len(ALPHAS) + 1  # and at the ratios next to 1
    assert "strongest clone 0.30" in note


@pytest.mark.parametrize(
    ("scores", "threshold", "equal"),
    [
        (lambda name, alpha, ratio: 0.8 if ratio < 1 else 0.4, 0.4, 0.4),
        (lambda name, alpha, ratio: 0.8 if ratio < 0.1 else 0.4, 0.0, 0.0),  # a threshold elsewhere
        (lambda name, alpha, ratio: 0.8 - 0.1 * np.log(alpha * ratio), None, 0.0),  # beta itself matters, not alpha
    ],
)
def test_contrasts_tell_a_threshold_at_alpha_from_others(scores, threshold, equal):
    tables = experiment.cells(made_up(scores, spread=0.001))
    found = experiment.at_equal_beta(tables)
    assert found is not None
    assert found[0] == pytest.approx(equal, abs=0.02)
    if threshold is not None:
        assert experiment.threshold(tables)[0] == pytest.approx(threshold)


def test_the_figure_takes_scores_as_the_decision_does():
    frame = made_up(lambda name, alpha, ratio: 0.5)
    bad = (frame.env == "Hopper-v5") & (frame.alpha == 1) & (frame.ratio == 1) & (frame.metric == "return")
    frame = frame.assign(value=frame.value.mask(bad))  # diverged: the lowest score of the whole frame
    drawn = [text.get_text() for axis in experiment.figure(frame).axes for text in axis.texts]
    low = _scores.scores(frame).score.min()
    assert f"{min(low, 0.0):.2f}" in drawn
    assert experiment.cells(frame)[1.0, 1.0]["Hopper-v5"].to_numpy() == pytest.approx(min(low, 0.0))


def test_members_carry_the_temperatures_that_their_rows_name(monkeypatch):
    cfg = replace(SMOKE, env=["Hopper-v5"], alphas=[1, 3, 10], ratios=[0.03, 2])
    cfg = replace(cfg, demonstrations=replace(cfg.demonstrations, counts=[1, 2]))

    def told(task, method, learner, context, done):
        values = {"alpha given": learner.alpha[:, 0].numpy(), "beta given": learner.temperature[:, 0].numpy()}
        return pd.DataFrame(task.frame(method, 0, values) + task.frame(method, 1, values))

    monkeypatch.setattr(experiment._study, "train", told)
    rows = experiment.run(cfg, Context()).dropna(subset="alpha")
    assert len(rows) == 2 * 2 * 6 * len(cfg.seeds) * 2  # metrics, evaluations, pairs, seeds, numbers of demonstrations
    given = np.where(rows.metric == "alpha given", rows.alpha, rows.alpha * rows.ratio) / 3  # Hopper has 3 actions
    np.testing.assert_allclose(rows.value, given, rtol=1e-6)


def test_the_pair_1_and_three_hundredths_is_the_published_one_on_hopper():
    task = _study.task(SMOKE, "Hopper-v5", Context().device)
    found, published = experiment.settings(task, [(1, 0.03)]), CoherentSettings()
    assert published.alpha is None  # 1 / |A|
    assert set(found.alpha) == {1 / 3}
    np.testing.assert_allclose(found.temperature, published.temperature)


def test_the_smoke_run_is_whole_and_can_be_drawn():
    frame = experiment.run(SMOKE, Context())
    pairs = frame.dropna(subset="alpha")
    assert len(pairs.method.unique()) == len(SMOKE.alphas) * len(SMOKE.ratios)
    # Before the first update a pair's policy is the clone, whatever its temperatures.
    starts = pairs[(pairs["update"] == 0) & (pairs.metric == "return")]
    assert (starts.groupby(["env", "seed"]).value.nunique() == 1).all()
    assert CLAIM.verdict(frame, "smoke").verdict == INCONCLUSIVE
    experiment.figure(frame)


def test_the_settings_are_those_of_the_study():
    study, own = (asdict(catalogue.canonical(one, "paper")) for one in ("csil/mujoco", "csil/temperature"))
    assert {key for key in own if own[key] != study.get(key)} == {
        "env", "demonstrations", "evaluations", "alphas", "ratios"
    }  # fmt: skip


@pytest.mark.parametrize("ratios", ["[0.1,0.5]", "[1,3]"])
def test_a_map_must_have_both_sides(ratios):
    with pytest.raises(BadInputError, match="both sides of 1"):
        arguments.plans(["experiment=csil/temperature", "scale=smoke", f"ratios={ratios}"], multirun=False)
