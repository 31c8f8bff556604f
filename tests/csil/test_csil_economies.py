"""What CSIL's economies cost: decisions on made-up frames, what is refused, the smoke run."""

from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest

from experiments.csil import economies as experiment
from experiments.harness import catalogue
from experiments.harness.claim import INCONCLUSIVE, REFUTED, REPRODUCED
from experiments.harness.context import Context
from experiments.harness.schema import BadInputError, checked

SMOKE = catalogue.canonical("csil/economies", "smoke")
EVERY, BFLOAT16 = experiment.CLAIMS


def made_up(scores, spread=0.02, early=0.0):
    """Scores(rung) with a spread over seeds that grows along the ladder; `early` is added before the last quarter."""
    rows = []
    for seed, jump in enumerate(np.linspace(-1, 1, 6)):
        levels = {"expert": [1.0], "random": [0.0]}
        for place, rung in enumerate(experiment.LADDER):
            if rung not in experiment.LIKE:
                levels[experiment.BC.format(rung)] = [0.2 - 0.01 * place]
            score = scores(rung) + spread * jump * place
            levels[experiment.CSIL.format(rung)] = [score + early] * 6 + [score - 0.1, score + 0.1]
        for method, values in levels.items():
            for update, score in enumerate(values, 1):
                place = {"env": "HalfCheetah-v5", "method": method, "demonstrations": 1, "seed": seed}
                place |= {"update": update, "steps": 10 * update}
                rows += [{**place, "metric": "return", "value": 1000 * score}]
                rows += [{**place, "metric": "diverged", "value": 0.0}]
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("claim", "scores", "spread", "verdict"),
    [
        (EVERY, lambda rung: 0.6, 0.02, REPRODUCED),
        (EVERY, lambda rung: 0.45 if rung == experiment.ALL else 0.6, 0.005, REPRODUCED),  # .05 above half of the gain
        (EVERY, lambda rung: 0.3 if rung == experiment.ALL else 0.6, 0.01, REFUTED),  # negative control: it loses most
        (
            BFLOAT16,
            lambda rung: 0.3 if rung == experiment.ALL else 0.6,
            0.02,
            REPRODUCED,
        ),  # which the other does not ask
        (BFLOAT16, lambda rung: 0.3 if rung == experiment.HALVED else 0.6, 0.02, REFUTED),
        (EVERY, lambda rung: 0.45, 0.2, INCONCLUSIVE),  # too few seeds for such a spread
        (EVERY, lambda rung: 0.2, 0.02, INCONCLUSIVE),  # nothing to keep
    ],
)
def test_the_decision(claim, scores, spread, verdict):
    assert claim.decide(made_up(scores, spread)).verdict == verdict


def test_the_last_quarter_of_the_updates_decides():
    found = experiment.late(made_up(lambda rung: 0.6, spread=0.01, early=7.0), experiment.ALL)
    np.testing.assert_allclose(found.to_numpy()[:, 0], 0.6 + 0.05 * np.linspace(-1, 1, 6))


def test_the_table_tells_what_each_costs_and_its_gain_on_clones_of_its_own():
    shown = experiment.table(made_up(lambda rung: 0.5 if rung == experiment.ALL else 0.6, spread=0.0)).set_index(
        "sizes"
    )
    assert shown.loc[experiment.ALL, "cost"] == "0.10 [0.10, 0.10]"
    assert shown.loc[experiment.ALL, "strongest own clone"].startswith("0.16 ")  # of the small batches
    assert shown.loc[experiment.HALVED, "gain on it"].startswith("0.40 ")
    assert shown.loc[experiment.PUBLISHED, "cost"] == ""


def test_a_rung_that_was_not_run_is_named():
    frame = made_up(lambda rung: 0.6)
    with pytest.raises(LookupError, match=f"{experiment.HALVED}: was not run"):
        BFLOAT16.decide(frame[frame.method != experiment.CSIL.format(experiment.HALVED)])


def test_each_rung_has_the_economies_of_those_before_it():
    told = [(sizes.features, sizes.hidden, sizes.batch, halved) for sizes, halved in experiment.ladder(SMOKE).values()]
    assert told == [
        (8, [8, 8], 4, False), (8, [8, 8], 4, True), (4, [8, 8], 4, False), (4, [4, 4], 4, False),
        (4, [4, 4], 2, False), (4, [4, 4], 2, True),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "wrong", [{"features": 10}, {"features": 3}, {"hidden": [4]}, {"hidden": [4, 9]}, {"batch": 5}, {"batch": 0}]
)
def test_small_sizes_are_at_most_the_published_ones(wrong):
    with pytest.raises(BadInputError, match="small"):
        checked(experiment.Config, asdict(SMOKE) | {"small": asdict(SMOKE.small) | wrong})


def test_the_smoke_run_draws_and_tells_all_rungs():
    frame = experiment.run(SMOKE, Context())
    assert frame.value.notna().all()
    methods = set(frame.method)
    assert {experiment.CSIL.format(rung) for rung in experiment.LADDER} <= methods
    assert sum(name.startswith("BC") for name in methods) == 4  # those in bfloat16 start from their like's clones
    assert all(rung in EVERY.decide(frame).note for rung in experiment.LADDER)
    assert len(experiment.figure(frame).axes) == 2 * len(SMOKE.env)
