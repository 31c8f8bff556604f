"""One environment, one number of demonstrations: decisions on made-up frames, and the experiment's smoke run."""

from dataclasses import asdict

import pandas as pd
import pytest

from experiments.csil import ant, hopper
from experiments.harness import arguments, catalogue
from experiments.harness.claim import INCONCLUSIVE, REFUTED, REPRODUCED
from experiments.harness.context import Context
from experiments.harness.schema import BadInputError

SUFFICES = next(claim for claim in hopper.CLAIMS if claim.id == "csil.one-demonstration.hopper")
WORKS = ant.CLAIMS[0]


def made_up(own: float, clone: float, spread: float = 0.01) -> pd.DataFrame:
    """Five seeds with these last scores; random has 0, the expert 1000. The best evaluation is the expert's own."""
    rows = []
    for seed, jump in enumerate((-2, -1, 0, 1, 2)):
        curves = {"random": [0.0], "expert": [1.0], "BC": [clone - 0.05, clone + spread * jump]}
        curves["CSIL"] = [clone, 1.0, own + spread * jump]
        for method, scores in curves.items():
            for update, score in enumerate(scores):
                place = {"env": "Hopper-v5", "method": method, "demonstrations": 1, "seed": seed, "update": update}
                place["steps"] = 125_000 * update if method == "CSIL" else 0
                rows += [
                    {**place, "metric": name, "value": value}
                    for name, value in (("return", 1000 * score), ("diverged", 0.0))
                ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("own", "clone", "verdict"),
    [
        (0.95, 0.4, REPRODUCED),
        (0.5, 0.4, REFUTED),  # the last evaluation counts, not the best
        (0.95, 0.93, REFUTED),  # cloning does not fail
        (0.3, 0.6, REFUTED),
    ],
)
def test_one_demonstration_suffices_or_not(own, clone, verdict):
    assert SUFFICES.decide(made_up(own, clone)).verdict == verdict


@pytest.mark.parametrize(("own", "clone", "verdict"), [(0.95, 0.97, REPRODUCED), (0.7, 0.4, REFUTED)])
def test_ant_works_or_not_whatever_the_clone_does(own, clone, verdict):
    frame = made_up(own, clone).assign(env="Ant-v5", demonstrations=10)
    assert WORKS.decide(frame).verdict == verdict
    assert f"strongest clone {clone:.2f}" in WORKS.decide(frame).note


def beside(csil: list[float], dac: list[float], sqil: list[float]) -> pd.DataFrame:
    """Scores of three learners along their training, over clones at .3."""
    frame = made_up(0.9, 0.3)
    every = [frame[frame.method != "CSIL"]]
    for number, (method, curve) in enumerate({"CSIL": csil, "DAC": dac, "SQIL": sqil}.items()):
        for update, score in enumerate(curve):
            rows = frame[(frame.method == "CSIL") & (frame["update"] == 2)].assign(method=method, update=update)
            value = (1000 * score + rows.seed * 5 * (-1) ** number).where(rows.metric == "return", 0.0)
            every.append(rows.assign(value=value, steps=1000 * update))
    return pd.concat(every, ignore_index=True)


@pytest.mark.parametrize(
    ("curves", "verdict"),
    [
        (([0.3, 0.8, 0.95], [0.1, 0.8, 0.2], [0.1, 0.1, 0.1]), REPRODUCED),
        (([0.3, 0.95, 0.4], [0.1, 0.1, 0.1], [0.1, 0.6, 0.7]), REFUTED),  # SQIL ends above
        (([0.3, 0.95, 0.2], [0.1, 0.1, 0.1], [0.1, 0.1, 0.1]), REFUTED),  # the clone was better
        (([0.3, 0.8, 0.85], [0.1, 0.5, 0.9], [0.1, 0.1, 0.1]), REPRODUCED),  # DAC decides nothing
    ],
)
def test_hopper_against_its_rivals(curves, verdict):
    (leads,) = [claim for claim in hopper.CLAIMS if claim.id == "csil.mujoco.hopper"]
    found = leads.decide(beside(*curves))
    assert found.verdict == verdict
    assert "DAC" in found.note


def test_seeds_that_differ_much_decide_nothing():
    assert SUFFICES.decide(made_up(0.92, 0.4, spread=0.1)).verdict == INCONCLUSIVE


def test_a_shorter_training_cannot_refute_and_a_laptops_cannot_decide():
    assert SUFFICES.verdict(made_up(0.5, 0.4), "overnight").verdict == INCONCLUSIVE
    assert SUFFICES.verdict(made_up(0.5, 0.4), "paper").verdict == REFUTED
    assert SUFFICES.verdict(made_up(0.95, 0.4), "laptop").verdict == INCONCLUSIVE


@pytest.mark.parametrize("module", [hopper, ant])
def test_the_smoke_run_is_whole_and_can_be_drawn(module):
    name = module.__name__.removeprefix("experiments.").replace(".", "/")
    frame = module.run(catalogue.canonical(name, "smoke"), Context())
    assert set(frame.method) >= {"expert", "random", "BC", "CSIL"}
    assert frame[frame.metric == "return"].value.notna().all()
    assert {claim.decide(frame).verdict for claim in module.CLAIMS} <= {INCONCLUSIVE, REFUTED}
    module.figure(frame)


@pytest.mark.parametrize("name", ["csil/hopper", "csil/ant"])
def test_overnight_takes_as_many_steps_as_published(name):
    paper, overnight = (asdict(catalogue.canonical(name, scale)) for scale in ("paper", "overnight"))
    for one in (paper, overnight):
        assert one["updates"] * one["copies"] == 250_000
    changed = {"seeds", "episodes", "evaluations", "updates", "copies", "batch", "hidden", "features"}
    changed |= {"methods"} if name == "csil/hopper" else set()
    assert {key for key in paper if paper[key] != overnight[key]} == changed


@pytest.mark.parametrize("name", ["csil/hopper", "csil/ant"])
def test_the_settings_are_those_of_the_study(name):
    study, own = (asdict(catalogue.canonical(one, "paper")) for one in ("csil/mujoco", name))
    assert {key for key in own if own[key] != study[key]} <= {"env", "demonstrations", "methods"}


@pytest.mark.parametrize("name", ["csil/hopper", "csil/ant"])
@pytest.mark.parametrize("changed", [["env=[Hopper-v5,Walker2d-v5]"], ["demonstrations.counts=[1,3]"]])
def test_one_environment_and_one_number_only(name, changed):
    with pytest.raises(BadInputError, match="must be one of each"):
        arguments.plans([f"experiment={name}", "scale=smoke", *changed], multirun=False)
