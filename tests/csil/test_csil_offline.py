"""CSIL offline: decisions on made-up frames, what is refused, a run that was killed, the smoke run."""

import copy
from dataclasses import asdict, replace

import pandas as pd
import pytest
import torch
from made_up import BOTH, last_scores

from experiments.csil import _study
from experiments.csil import offline as experiment
from experiments.harness import catalogue
from experiments.harness.claim import INCONCLUSIVE, NOT_RUN, REFUTED, REPRODUCED
from experiments.harness.context import Context
from experiments.harness.schema import BadInputError, checked
from imitation.control import experts
from imitation.policies import Cloning, HetStat

SMOKE = catalogue.canonical("csil/offline", "smoke")
LEVELS = {
    "BC": 0.2,
    "BC of both": 0.4,
    "BC of both, fitted on": 0.5,
    "data": 0.3,
    "CSIL offline": 0.8,
    "no reward": 0.5,
}


def made_up(environments=BOTH, spread=0.02, **changed):
    """Last scores with a spread over seeds of CSIL's; names of `changed` stand for those of LEVELS."""
    names = {"csil": "CSIL offline", "nothing": "no reward", "both": "BC of both", "bc": "BC", "data": "data"}
    names |= {"tuned": "BC of both, fitted on"}
    levels = LEVELS | {names[key]: value for key, value in changed.items()}
    roles = "CSIL offline", ("CSIL offline", "no reward"), ("BC", "BC of both")
    parts = [last_scores(levels, *roles, environments, spread, noise=noise) for noise in (0.5, 1.0)]
    return pd.concat(parts, ignore_index=True)


@pytest.mark.parametrize(
    ("frame", "verdict"),
    [
        (made_up(), REPRODUCED),
        (made_up(spread=2), INCONCLUSIVE),
        (made_up(both=0.9), REFUTED),  # the start was better
        (made_up(bc=0.9), REFUTED),
        (made_up(data=0.9), REFUTED),  # the data's own policy was better
        (made_up(tuned=0.9), REFUTED),  # what the reward comes from was better
        (made_up(nothing=0.9), REFUTED),  # negative control: it does better without its reward
        (made_up(csil=lambda env: 0.9 if env == "Hopper-v5" else 0.35), INCONCLUSIVE),  # clearly behind in one
    ],
)
def test_the_decision(frame, verdict):
    assert experiment.decide(frame).verdict == verdict


def test_hopper_is_decided_by_itself():
    frame = made_up(csil=lambda env: 0.9 if env == "Hopper-v5" else 0.0)
    assert experiment.decide_hopper(frame).verdict == REPRODUCED
    assert experiment.decide_hopper(made_up(csil=0.0)).verdict == REFUTED
    assert experiment.decide_hopper(made_up(["HalfCheetah-v5"])).verdict == NOT_RUN


def test_what_is_smaller_than_published_refutes_nothing():
    claim, frame = experiment.CLAIMS[0], made_up(csil=0.0)
    assert claim.verdict(frame, "overnight").verdict == INCONCLUSIVE
    assert claim.verdict(frame, "paper").verdict == REFUTED


def test_every_condition_is_an_environment_with_data_of_one_quality():
    found = experiment.tables(made_up())
    assert set(found) == set(LEVELS)
    conditions = [
        (f"{env}, {noise} noise", 3) for env in ("HalfCheetah-v5", "Hopper-v5") for noise in ("100 %", "50 %")
    ]
    assert all(list(table.columns) == conditions for table in found.values())


def test_data_need_a_kept_expert():
    with pytest.raises(BadInputError, match="env=InvertedPendulum-v5: expert InvertedPendulum-v5: none is kept"):
        experiment.inputs(replace(SMOKE, env=["InvertedPendulum-v5"]))
    assert experiment.inputs(SMOKE) == [experts.FOLDER / f"{SMOKE.env[0]}.safetensors"]


@pytest.mark.parametrize("wrong", [{"noise": [1.5]}, {"noise": [0.5, 0.5]}, {"recorded": 0}, {"length": 0}])
def test_bad_values_are_refused(wrong):
    with pytest.raises(BadInputError, match=next(iter(wrong))):
        checked(experiment.Config, asdict(SMOKE) | wrong)


@pytest.fixture(scope="module")
def smoke():
    return experiment.run(SMOKE, Context())


def test_the_smoke_run_draws_and_tells_all_methods(smoke):
    assert set(smoke.noise) == set(SMOKE.noise)
    assert smoke.value.notna().all()
    assert all(name in experiment.decide(smoke).note for name in LEVELS)
    assert len(experiment.figure(smoke).axes) == 2 * len(SMOKE.env)


def test_both_trainings_of_a_seed_start_from_the_clone_of_both(smoke):
    first = smoke[(smoke["update"] == 0) & (smoke.metric == "return")].set_index(["noise", "seed"])
    start, control = (first[first.method == name].value for name in (experiment.CSIL, experiment.NOTHING))
    assert len(start) == len(SMOKE.noise) * len(SMOKE.seeds)
    pd.testing.assert_series_equal(start, control)
    both = smoke[(smoke.method == experiment.MIXED) & (smoke["update"] == SMOKE.start) & (smoke.metric == "return")]
    pd.testing.assert_series_equal(start, both.set_index(["noise", "seed"]).value)


def test_the_reward_is_of_the_clone_that_was_fitted_on_to_the_demonstrations():
    task = _study.task(SMOKE, SMOKE.env[0], torch.device("cpu"))
    start = HetStat(*task.sizes, task.generators(1), tuple(SMOKE.hidden), features=SMOKE.features).frozen()
    found, rows = experiment.tuned(task, start, Context(), 0.5)
    expected = copy.deepcopy(start).requires_grad_(True)
    shown = task.rows.rows
    Cloning(batch=SMOKE.batch).fit(
        expected, shown.observation, shown.action, task.generators(5), SMOKE.start, task.rows.counts
    )
    for ours, theirs, before in zip(found.parameters(), expected.parameters(), start.parameters(), strict=True):
        assert torch.equal(ours, theirs)
        assert not ours.requires_grad
        assert not before.requires_grad
    assert set(rows["update"]) == {2 * SMOKE.start}


def test_data_without_noise_are_the_experts_and_each_seeds_own():
    task = _study.task(SMOKE, SMOKE.env[0], torch.device("cpu"))
    data, level = experiment.recorded(task, 0.0)
    assert data.counts == [SMOKE.recorded * SMOKE.length] * 2
    expert = experts.load(SMOKE.env[0])
    for member in range(2):
        torch.testing.assert_close(data.rows.action[[member]], expert.act(data.rows.observation[[member]]))
    assert not torch.equal(*data.rows.observation)
    assert (level.value > 1000).all()
    noisy, _ = experiment.recorded(task, 1.0)
    assert noisy.rows.action.var().item() == pytest.approx(1 / 3, abs=0.08)


@pytest.mark.parametrize("after", [1, 4, 6, 9])
def test_a_killed_run_goes_on_to_the_same_rows(smoke, killed_and_resumed, after):
    quick = replace(SMOKE, noise=SMOKE.noise[:1])
    _, found = killed_and_resumed(experiment.run, quick, after)
    whole = smoke[smoke.noise == quick.noise[0]].reset_index(drop=True)
    pd.testing.assert_frame_equal(found, whole, check_dtype=False)
