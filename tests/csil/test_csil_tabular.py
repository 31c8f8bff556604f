"""The inverse optimal control table: verdicts of the real run, and broken variants."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from experiments.csil import tabular as experiment
from experiments.harness import catalogue, style
from experiments.harness.claim import CORRECTED, INCONCLUSIVE, REFUTED, REPRODUCED
from experiments.harness.context import Context
from imitation.mdp import inverse
from imitation.mdp.inverse.demonstrations import TIE
from imitation.mdp.soft import soft_value_iteration, uniform_log_prior

SMOKE = catalogue.canonical("csil/tabular", "smoke")
FULL = catalogue.canonical("csil/tabular", "laptop")


@pytest.fixture(scope="module")
def smoke():
    return experiment.run(SMOKE, Context())


@pytest.fixture(scope="module")
def sparse():
    return experiment._world(FULL, "sparse", Context())


def sparse_verdicts(frame):
    return [experiment.decide_sparse(frame, windy).verdict for windy in (False, True)]


def test_the_published_sparse_table_comes_out(sparse):
    assert sparse_verdicts(sparse) == [REPRODUCED, REPRODUCED]


def test_smoke_decides_nothing_but_runs_and_draws_everything(smoke):
    assert {claim.verdict(smoke, "smoke").verdict for claim in experiment.CLAIMS} == {INCONCLUSIVE}
    assert set(style.rendered(experiment.figure(smoke))) == {"figure.png", "figure.svg"}


def test_learners_that_have_not_converged_miss_the_table(smoke):
    assert REFUTED in sparse_verdicts(smoke)


def test_no_wind_misses_the_windy_column(sparse):
    calm = returned(sparse, wind=0.0)
    swapped = sparse.copy()
    swapped.loc[(swapped.wind > 0), "value"] = calm
    assert sparse_verdicts(swapped) == [REPRODUCED, REFUTED]


def returned(frame, wind):
    return frame[(frame.kind == "return") & (frame.wind == wind)].value.to_numpy()


@pytest.mark.parametrize("method", list(experiment.PRINTED))
def test_one_return_off_by_a_thousandth_is_refuted(sparse, method):
    broken = sparse.copy()
    broken.loc[(broken.kind == "return") & (broken.method == method), "value"] += 1.1e-3
    assert sparse_verdicts(broken) == [REFUTED, REFUTED]


def test_a_csil_at_the_rewards_temperature_is_refuted_under_wind(monkeypatch, sparse):
    # At beta = alpha it is the clone, which knows nothing off the demonstrated path.
    right = inverse.coherent_imitation
    monkeypatch.setattr(inverse, "coherent_imitation", lambda *given, **more: right(*given, 1.0, 1.0, **more))
    config = dataclasses.replace(FULL, moment_steps=1, adversarial_rounds=1, proximal_rounds=1)
    cloned = experiment._world(config, "sparse", Context())
    table = experiment.returns(cloned, "sparse", True)
    assert float(table["CSIL"].iloc[0]) == pytest.approx(float(table["BC"].iloc[0]), abs=1e-4)
    broken = pd.concat([sparse[sparse.method != "CSIL"], cloned[cloned.method == "CSIL"]])
    assert sparse_verdicts(broken) == [REPRODUCED, REFUTED]


def made(leads, repaired):
    """A dense table in which CSIL leads the published rivals by `leads` and the repaired ones by `repaired`."""
    rows = []
    for seed in range(10):
        jitter = 1e-3 * ((seed * 7) % 10 - 4.5) / 4.5
        for method in experiment.PRINTED:
            rows.append((seed, method, "published", 0.26 - (leads + jitter) * (method not in ("CSIL", "expert"))))
        for method in ("ME-IRL", "GAIL", "IQ-Learn", "PPIL"):
            rows.append((seed, method, "repaired", 0.26 - repaired - jitter))
    table = pd.DataFrame(rows, columns=["seed", "method", "form", "value"])
    return pd.concat([table.assign(kind="return", world="dense", wind=wind) for wind in (0.0, 0.5)])


@pytest.mark.parametrize(
    ("leads", "repaired", "verdict"),
    [(0.01, 0.01, REPRODUCED), (0.01, -0.01, CORRECTED), (0.0, 0.01, INCONCLUSIVE), (-0.01, 0.01, REFUTED)],
)
def test_the_rule_for_the_dense_table(leads, repaired, verdict):
    frame = made(leads, repaired)
    assert [experiment.decide_dense(frame, windy).verdict for windy in (False, True)] == [verdict] * 2


def test_a_seed_that_diverged_is_never_dropped(sparse):
    frame = made(0.01, 0.01)
    frame.loc[(frame.seed == 3) & (frame.method == "BC"), "value"] = np.nan
    assert experiment.decide_dense(frame, False).verdict == INCONCLUSIVE
    broken = sparse.copy()
    broken.loc[(broken.kind == "return") & (broken.method == "BC"), "value"] = np.nan
    assert sparse_verdicts(broken) == [REFUTED, REFUTED]


@pytest.mark.parametrize("name", list(experiment.WORLDS))
def test_the_experts_greedy_action_is_no_matter_of_rounding(name):
    # Rounding is about 1e-13 nats. Ties within `TIE` go to the first action; no other gap may be as small as rounding.
    world = experiment.WORLDS[name](FULL.width, FULL.discount)
    prior = uniform_log_prior(world.mdp)
    log_policy = soft_value_iteration(world.mdp, world.reward, prior, 0.1, FULL.discount).log_policy
    gaps = log_policy.amax(-1, keepdim=True) - log_policy
    assert not bool(((gaps > TIE / 30) & (gaps < 5 * TIE)).any())
