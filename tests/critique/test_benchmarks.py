"""EDM against cloning: the decisions on frames whose answer is known, broken variants, and what a small run gives."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from experiments.critique import _edm
from experiments.critique import benchmarks as experiment
from experiments.critique._edm import BC, EDM, NOISE, PRINTED, SHIFT, Task
from experiments.harness import catalogue, style
from experiments.harness.claim import INCONCLUSIVE, NOT_RUN, REFUTED, REPRODUCED
from experiments.harness.context import Context
from experiments.harness.schema import BadInputError
from imitation.demonstrations import classic

NAME = "critique/benchmarks"
CLAIMS = {claim.id: claim for claim in experiment.CLAIMS}
BY_METHOD = {"edm.benchmarks": EDM, "edm.benchmarks.noise": NOISE, "edm.benchmarks.printed": PRINTED}
DECOUPLED = "edm.benchmarks.shift"


def small(**changed) -> experiment.Config:
    return replace(catalogue.canonical(NAME, "smoke"), **changed)


def made(leads: dict[str, float], noise: float = 0.05, diverged: str = "") -> pd.DataFrame:
    """Ten seeds on two tasks whose scores are cloning's .6 and a lead, with noise of each training's own."""
    random, rows = np.random.default_rng(0), []
    for task, low, high in (("A", 0.0, 500.0), ("B", -500.0, -80.0)):
        for seed in range(10):
            for method, value in (("random", low), ("expert", high)):
                rows.append((task, method, 0, seed, 0, "return", value))
            for method, lead in leads.items():
                for count in (1, 15):
                    gone = method == diverged and seed == 0
                    score = 0.6 + lead + noise * random.normal()
                    place = (task, method, count, seed, 10)
                    rows.append((*place, "return", np.nan if gone else low + score * (high - low)))
                    rows.append((*place, "diverged", float(gone)))
    columns = ["task", "method", "demonstrations", "seed", "update", "metric", "value"]
    return pd.DataFrame(rows, columns=columns)


def verdict(frame: pd.DataFrame, claim: str) -> str:
    return CLAIMS[claim].decide(frame).verdict


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return experiment.run(small(), Context())


# ---- decisions ----


@pytest.mark.parametrize("claim", BY_METHOD)
@pytest.mark.parametrize(("lead", "expected"), [(0.1, REPRODUCED), (-0.1, REFUTED), (0.0, INCONCLUSIVE)])
def test_a_lead_decides(claim, lead, expected):
    assert verdict(made({BC: 0.0, BY_METHOD[claim]: lead}), claim) == expected


@pytest.mark.parametrize("claim", BY_METHOD)
def test_cloning_under_another_name_does_not_beat_itself(claim):
    """The negative control: without its state term a method is cloning, return by return."""
    rows = made({BC: 0.0})
    twice = pd.concat([rows, rows[rows["method"] == BC].assign(method=BY_METHOD[claim])])
    decision = CLAIMS[claim].decide(twice)
    assert decision.measured == 0.5
    assert decision.verdict != REPRODUCED


def test_a_lead_in_one_task_only_shows_in_the_words():
    rows = made({BC: 0.0, EDM: 0.1})
    behind = rows[rows.task == "B"].replace({"method": {EDM: BC, BC: EDM}})
    decision = CLAIMS["edm.benchmarks"].decide(pd.concat([rows[rows.task == "A"], behind]))
    assert decision.verdict != REPRODUCED
    assert "A 1.00 [1.00, 1.00]" in decision.note


def test_ahead_in_the_mean_but_clearly_behind_in_one_task_decides_nothing():
    rows = made({BC: 0.0, EDM: 0.3}, noise=0.01)
    fell = (rows.task == "B") & (rows["method"] == EDM) & (rows.demonstrations == 15) & (rows.metric == "return")
    also = (rows.task == "B") & (rows["method"] == EDM) & (rows.demonstrations == 1) & (rows.seed < 4)
    rows.loc[(fell | also) & (rows.metric == "return"), "value"] = -400.0
    decision = CLAIMS["edm.benchmarks"].decide(rows)
    assert decision.low > 0.5
    assert decision.verdict == INCONCLUSIVE


def test_differences_that_cancel_between_tasks_are_not_on_par():
    rows = made({BC: 0.0, SHIFT: 0.3})
    lower = (rows.task == "B") & (rows["method"] == SHIFT) & (rows.metric == "return")
    rows.loc[lower, "value"] -= 0.6 * 420
    assert verdict(rows, DECOUPLED) == REFUTED


def test_two_that_both_fail_are_not_on_par():
    decision = CLAIMS[DECOUPLED].decide(made({BC: -0.5, SHIFT: -0.5}, noise=0.02))
    assert decision.verdict == INCONCLUSIVE
    assert "learnt too little in A, B" in decision.note


def test_what_a_scale_leaves_out_is_not_run():
    rows = made({BC: 0.0, EDM: 0.1})
    decisions = {name: claim.decide(rows) for name, claim in CLAIMS.items()}
    assert {name for name, one in decisions.items() if one.verdict == NOT_RUN} == set(CLAIMS) - {"edm.benchmarks"}


@pytest.mark.parametrize(("lead", "expected"), [(0.0, REPRODUCED), (-0.3, REFUTED), (0.3, REFUTED)])
def test_on_par_means_within_the_margin(lead, expected):
    assert verdict(made({BC: 0.0, SHIFT: lead}), DECOUPLED) == expected


def test_scores_are_0_for_random_and_1_for_the_expert():
    table = experiment.final(made({BC: 0.4}, noise=0.0), BC)
    assert np.allclose(table, 1.0)
    assert list(table.columns) == [("A", 1), ("A", 15), ("B", 1), ("B", 15)]


def test_a_diverged_training_counts_as_the_worst():
    rows = made({BC: 0.0, EDM: 0.1}, diverged=EDM)
    assert (experiment.final(rows, EDM).loc[0] == 0).all()
    assert (experiment.improved(rows, EDM).loc[0] == 0).all()
    assert "Trainings with weights not finite: 4." in CLAIMS["edm.benchmarks"].decide(rows).note


def test_scores_of_what_was_not_run_are_refused():
    with pytest.raises(LookupError, match="EDM: was not run"):
        experiment.final(made({BC: 0.0}), EDM)


# ---- measurements ----


def test_every_training_has_its_rows(frame):
    cfg = small()
    trained = frame[frame["method"].isin(cfg.methods)]
    counted = trained.groupby(["task", "method", "demonstrations", "seed", "update"]).metric.nunique()
    assert len(counted) == 2 * len(cfg.methods) * 2 * 2 * cfg.evaluations
    assert (counted == 4).all()
    assert frame.value.notna().all()
    assert set(frame[frame["method"] == BC].query("metric == 'rho'").value) == {0.0}
    assert all(CLAIMS[claim].decide(frame).note for claim in CLAIMS)


def test_expert_and_random_frame_the_scale(frame):
    rows = frame.query("metric == 'return' and update == 0")
    means = rows.pivot_table(index="task", columns="method", values="value")
    assert means.loc["CartPole-v1", "expert"] == 500
    assert means.loc["CartPole-v1", "random"] < 60
    assert means.loc["Acrobot-v1", "expert"] > -150
    assert means.loc["Acrobot-v1", "random"] < -300


def test_seeds_have_slices_of_their_own_and_counts_are_nested():
    task = Task(small(tasks=["CartPole-v1"], keep=20), "CartPole-v1", Context())
    first, both = task.pairs(1, 0)[0], task.pairs(2, 0)[0]
    assert len(first) == 25  # of 500 steps
    assert torch.equal(both[:25], first)
    states = {tuple(row) for row in both.tolist()}
    assert not states & {tuple(row) for row in task.pairs(2, 1)[0].tolist()}


def test_the_methods_differ_in_one_thing_each():
    cfg = catalogue.canonical(NAME, "paper")
    official = cfg.term(EDM)
    assert cfg.term(BC) is None
    assert (official.alpha, official.sigma, official.steps, official.buffer) == (0.01, 0.01, 20, 10_000)
    assert official.square == 1
    assert cfg.term(NOISE) == replace(official, sigma=0.02**0.5)
    assert cfg.term(PRINTED) == replace(official, square=0.0)
    assert cfg.term(SHIFT) == replace(official, shifted=True)


def test_a_part_of_the_seeds_gives_the_same_numbers(frame):
    alone = experiment.run(small(seeds=[1], tasks=["Acrobot-v1"], counts=[1, 2]), Context())
    same = frame[(frame.seed == 1) & (frame.task == "Acrobot-v1")].reset_index(drop=True)
    pd.testing.assert_frame_equal(alone, same, rtol=1e-4)


def test_a_killed_training_goes_on_where_it_was(tmp_path, monkeypatch, frame):
    monkeypatch.setattr(_edm, "KEEP_SECONDS", -1)
    updates, update = 0, _edm.DistributionMatching.update

    def dying(self):
        nonlocal updates
        updates += 1
        if updates == 7:
            raise KeyboardInterrupt
        return update(self)

    cfg = small(tasks=["CartPole-v1"])
    monkeypatch.setattr(_edm.DistributionMatching, "update", dying)
    with pytest.raises(KeyboardInterrupt):
        experiment.run(cfg, Context(tmp_path, "key"))
    resumed = experiment.run(cfg, Context(tmp_path, "key"))
    assert updates == 1 + len(cfg.methods) * cfg.updates
    pd.testing.assert_frame_equal(resumed, frame[frame.task == "CartPole-v1"].reset_index(drop=True))


def test_the_figure_has_a_panel_per_task_and_three_of_all(frame):
    drawing = experiment.figure(frame)
    assert [axis.get_title() for axis in drawing.axes][:4] == ["CartPole", "Acrobot", "", ""]
    assert all("10 to 90 %" in axis.get_title() for axis in drawing.axes[4:])
    style.rendered(drawing)


def test_bad_values_are_refused_before_any_computing(monkeypatch, tmp_path):
    with pytest.raises(BadInputError, match="buffer at least batch"):
        small(batch=1000)
    monkeypatch.setattr(classic, "FOLDER", tmp_path)
    with pytest.raises(BadInputError, match="tasks=CartPole-v1: expert CartPole-v1: none is kept"):
        experiment.inputs(small())
