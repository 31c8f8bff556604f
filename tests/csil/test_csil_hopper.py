"""One environment, one number of demonstrations: decisions on made-up frames, and the experiment's smoke run."""

import pandas as pd
import pytest

from experiments.csil import hopper
from experiments.harness import arguments, catalogue
from experiments.harness.claim import INCONCLUSIVE, REFUTED, REPRODUCED
from experiments.harness.context import Context
from experiments.harness.schema import BadInputError

CLAIM = hopper.CLAIMS[0]


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
    assert CLAIM.decide(made_up(own, clone)).verdict == verdict


def test_seeds_that_differ_much_decide_nothing():
    assert CLAIM.decide(made_up(0.92, 0.4, spread=0.1)).verdict == INCONCLUSIVE


def test_a_shorter_training_cannot_refute_and_a_laptops_cannot_decide():
    assert CLAIM.verdict(made_up(0.5, 0.4), "overnight").verdict == INCONCLUSIVE
    assert CLAIM.verdict(made_up(0.5, 0.4), "paper").verdict == REFUTED
    assert CLAIM.verdict(made_up(0.95, 0.4), "laptop").verdict == INCONCLUSIVE


def test_the_smoke_run_is_whole_and_can_be_drawn():
    frame = hopper.run(catalogue.canonical("csil/hopper", "smoke"), Context())
    assert set(frame.method) == {"expert", "random", "BC", "CSIL"}
    assert frame[frame.metric == "return"].value.notna().all()
    hopper.figure(frame)


def test_overnight_takes_as_many_steps_as_published():
    paper, overnight = (catalogue.canonical("csil/hopper", scale) for scale in ("paper", "overnight"))
    assert overnight.updates * overnight.copies == paper.updates * paper.copies == 250_000
    kept = (
        "env",
        "demonstrations",
        "warmup",
        "cloning",
        "start",
        "pretraining",
        "actor_rate",
        "critic_rate",
        "smoothing",
    )
    assert all(getattr(overnight, name) == getattr(paper, name) for name in kept)
    assert "overnight" not in catalogue.scales("csil/mujoco")


@pytest.mark.parametrize("changed", [["env=[Hopper-v5,Walker2d-v5]"], ["demonstrations.counts=[1,3]"]])
def test_one_environment_and_one_number_only(changed):
    with pytest.raises(BadInputError, match="must be one of each"):
        arguments.plans(["experiment=csil/hopper", "scale=smoke", *changed], multirun=False)
