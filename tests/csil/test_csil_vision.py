"""CSIL from pixels: decisions on made-up frames, what is refused, a run that was killed, the smoke run."""

from dataclasses import asdict, replace

import pandas as pd
import pytest
from made_up import last_scores

from experiments.csil import _scores
from experiments.csil import vision as experiment
from experiments.csil.vision import NOTHING, PIXELS, STATES, clone_of
from experiments.harness import catalogue
from experiments.harness.claim import INCONCLUSIVE, REFUTED, REPRODUCED
from experiments.harness.context import Context
from experiments.harness.schema import BadInputError, checked

SMOKE = catalogue.canonical("csil/vision", "smoke")
LEVELS = {clone_of(STATES): 0.6, clone_of(PIXELS): 0.4, PIXELS: 0.8, NOTHING: 0.3, STATES: 0.9}
CLONES = (clone_of(STATES), clone_of(PIXELS))


def made_up(changed=None, spread=0.02):
    """Last scores with a spread over seeds of CSIL's; `changed` stands for some of LEVELS."""
    return last_scores(LEVELS | (changed or {}), PIXELS, experiment.METHODS, CLONES, ["Hopper-v5"], spread)


@pytest.mark.parametrize(
    ("frame", "verdict"),
    [
        (made_up(), REPRODUCED),
        (made_up(spread=2), INCONCLUSIVE),
        (made_up({clone_of(PIXELS): 0.9}), REFUTED),
        (made_up({NOTHING: 0.9}), REFUTED),  # negative control: it does better without its reward
        (made_up({clone_of(STATES): 1.0}), REPRODUCED),  # what states would give is no rival
    ],
)
def test_whether_it_scales_to_images(frame, verdict):
    assert experiment.decide(frame).verdict == verdict


def test_the_smallest_lead_is_told():
    assert experiment.decide(made_up()).measured == pytest.approx(0.4, abs=0.01)


def test_what_is_smaller_than_published_refutes_nothing():
    (claim,), frame = experiment.CLAIMS, made_up({PIXELS: 0.0})
    assert claim.verdict(made_up(), "laptop").verdict == INCONCLUSIVE
    assert claim.verdict(frame, "overnight").verdict == INCONCLUSIVE
    assert claim.verdict(frame, "paper").verdict == REFUTED


@pytest.mark.parametrize(
    "wrong",
    [{"pixels": 15}, {"pixels": 17}, {"pictures": 0}, {"channels": [4, 4]}, {"channels": [4, 0, 4]}, {"told": 0}],
)
def test_bad_values_are_refused(wrong):
    with pytest.raises(BadInputError, match=next(iter(wrong))):
        checked(experiment.Config, asdict(SMOKE) | wrong)


def test_a_body_that_cannot_be_drawn_is_refused():
    with pytest.raises(BadInputError, match=r"env=Ant-v5.*must be one of HalfCheetah-v5"):
        replace(SMOKE, env=["Ant-v5"])


def test_pictures_in_a_row_need_every_step():
    with pytest.raises(BadInputError, match=r"demonstrations\.keep=5: pictures in a row need 1"):
        replace(SMOKE, demonstrations=replace(SMOKE.demonstrations, keep=5))


QUICK = replace(SMOKE, start=min(SMOKE.cloning))  # CSIL does not start where the clones end


@pytest.fixture(scope="module")
def quick():
    return experiment.run(QUICK, Context())


def returns(frame, method, update):
    mine = frame[(frame.method == method) & (frame["update"] == update) & (frame.metric == "return")]
    return mine.set_index("seed").value


def test_the_run_draws_and_tells_all_methods(quick):
    assert quick.value.notna().all()
    assert set(_scores.tables(quick[quick.metric != "seen"])) == set(LEVELS)
    assert len(experiment.figure(quick).axes) == 3 * len(SMOKE.env)
    shards = [quick, quick.assign(seed=quick.seed + 2)]  # each shows a demonstration
    assert len(experiment.figure(pd.concat(shards, ignore_index=True)).axes) == 3 * len(SMOKE.env)


def test_every_training_starts_from_the_clone_of_start(quick):
    for method, seen in ((PIXELS, PIXELS), (NOTHING, PIXELS), (STATES, STATES)):
        first = returns(quick, method, 0)
        assert len(first) == len(SMOKE.seeds)
        pd.testing.assert_series_equal(first, returns(quick, clone_of(seen), QUICK.start))
        assert not first.equals(returns(quick, clone_of(seen), max(SMOKE.cloning)))


def test_a_member_is_what_it_would_be_alone(quick):
    alone = experiment.run(replace(QUICK, seeds=[1]), Context())
    mine = quick[(quick.seed == 1) & (quick.metric == "return")].reset_index(drop=True)
    theirs = alone[alone.metric == "return"].reset_index(drop=True)
    pd.testing.assert_frame_equal(mine, theirs, rtol=1e-3)


@pytest.mark.parametrize(
    ("after", "name"),
    [(2, clone_of(STATES)), (5, clone_of(PIXELS)), (9, "pixels"), (11, "pixels, no reward")],
)
def test_a_killed_run_goes_on_to_the_same_rows(quick, killed_and_resumed, after, name):
    last, found = killed_and_resumed(experiment.run, QUICK, after)
    assert last == f"{SMOKE.env[0]} {name}"
    pd.testing.assert_frame_equal(found, quick, check_dtype=False)
