"""CSIL by the width of its features: decisions on made-up frames, what is refused, the smoke run."""

from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest

from experiments.csil import features as experiment
from experiments.harness import catalogue
from experiments.harness.claim import INCONCLUSIVE, REFUTED, REPRODUCED
from experiments.harness.context import Context
from experiments.harness.schema import BadInputError, checked

SMOKE = catalogue.canonical("csil/features", "smoke")


def made_up(scores, spread=0.02):
    """Last scores(environment, width) with a spread over seeds that differs by width; random 0, the expert 1000."""
    rows = []
    for name in ("HalfCheetah-v5", "Hopper-v5"):
        for seed, jump in enumerate(np.linspace(-1, 1, 6)):
            levels = {("expert", np.nan): 1.0, ("random", np.nan): 0.0}
            for width in (16, 64, 256):
                levels[experiment.BC.format(width), width] = 0.2
                levels[experiment.CSIL.format(width), width] = scores(name, width) + spread * jump * width / 256
            for (method, width), score in levels.items():
                place = {"env": name, "method": method, "demonstrations": 1, "seed": seed, "update": 9, "steps": 90}
                for metric, value in (("return", 1000 * score), ("diverged", 0.0)):
                    rows.append({**place, "width": width, "metric": metric, "value": value})
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("scores", "spread", "verdict"),
    [
        (lambda name, width: 0.6, 0.02, REPRODUCED),
        (lambda name, width: 0.5 if width < 256 else 0.6, 0.02, REPRODUCED),  # three quarters of the gain
        (lambda name, width: 0.6 if width == 64 else 0.4, 0.9, INCONCLUSIVE),  # too few seeds for such a spread
        (lambda name, width: 0.6 if width > 16 else 0.3, 0.02, REFUTED),  # negative control: the narrowest loses
        (lambda name, width: 0.6 + 0.3 * (width < 256) * (1 if name == "Hopper-v5" else -1), 0.02, INCONCLUSIVE),
        (lambda name, width: 0.2, 0.02, INCONCLUSIVE),  # nothing to keep
    ],
)
def test_the_decision(scores, spread, verdict):
    assert experiment.CLAIMS[0].decide(made_up(scores, spread)).verdict == verdict


def test_a_width_is_compared_with_half_of_the_widest_ones_gain_on_the_same_seeds():
    found = experiment.margins(made_up(lambda name, width: width / 1000, 0.1))
    assert list(found) == [16, 64]
    jump = 0.1 * np.linspace(-1, 1, 6)
    expected = 0.016 + jump * 16 / 256 - (0.2 + 0.256 + jump) / 2
    np.testing.assert_allclose(found[16].to_numpy(), np.repeat(expected[:, None], 2, 1))


@pytest.mark.parametrize("wrong", [[8], [4, 6], [8, 5], [8, 10]])
def test_widths_are_even_and_the_published_one_is_the_widest(wrong):
    with pytest.raises(BadInputError, match="widths="):
        checked(experiment.Config, asdict(SMOKE) | {"widths": wrong})


def test_the_smoke_run_draws_and_tells_all_widths():
    frame = experiment.run(SMOKE, Context())
    assert experiment.widths(frame) == SMOKE.widths
    assert frame.value.notna().all()
    note = experiment.CLAIMS[0].decide(frame).note
    assert all(f"{width} features" in note for width in SMOKE.widths)
    assert len(experiment.figure(frame).axes) == len(SMOKE.env) + 1
