"""The square of EDM's code: decisions on frames whose answer is known, a broken variant, and a small run."""

from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest

from experiments.critique import benchmarks, square
from experiments.critique._edm import EDM, PRINTED, short_name
from experiments.harness import catalogue, style
from experiments.harness.claim import INCONCLUSIVE, NOT_RUN, REFUTED, REPRODUCED
from experiments.harness.context import Context

NAME = "critique/square"


def made(official: float, printed: float, noise: float = 0.02, tasks: str = "AB") -> pd.DataFrame:
    """rho of ten seeds with two numbers of demonstrations, at the middle of training 0 and at its end as given."""
    random = np.random.default_rng(1)
    rows = [
        (task, method, count, seed, update, "rho", (level + noise * random.normal()) * (update == 10))
        for task in tasks
        for method, level in ((EDM, official), (PRINTED, printed))
        for count in (1, 15)
        for seed in range(10)
        for update in (5, 10)
    ]
    return pd.DataFrame(rows, columns=["task", "method", "demonstrations", "seed", "update", "metric", "value"])


@pytest.mark.parametrize(
    ("official", "printed", "noise", "expected"),
    [
        (-0.48, -1e6, 0.02, REPRODUCED),
        (0.0, -1e6, 0.02, REFUTED),
        (-0.56, -1e6, 0.2, INCONCLUSIVE),
        (-0.48, -0.48, 0.02, REFUTED),  # negative control: it is there without the square too, which is not the cause
    ],
)
def test_rho_ends_where_its_square_says_or_not(official, printed, noise, expected):
    assert square.decide(made(official, printed, noise)).verdict == expected


def test_one_task_where_it_ends_elsewhere_is_enough_to_refute():
    both = pd.concat([made(-0.5, -1e6, tasks="A"), made(-0.2, -1e6, tasks="B")])
    decision = square.decide(both)
    assert decision.verdict == REFUTED
    assert decision.measured == pytest.approx(-0.2, abs=0.02)


def test_diverged_trainings_count_as_not_stopped():
    frame = made(-0.5, -1e6)
    for value in (np.nan, np.inf):
        lost = (frame["method"] == EDM) & (frame.seed < 4) & (frame.task == "A") & (frame["update"] == 10)
        decision = square.decide(frame.assign(value=frame.value.mask(lost, value)))
        assert decision.measured == pytest.approx(-0.3, abs=0.02)
        assert "Not finite: 8 with the square, 0 without." in decision.note
    every = (frame["method"] == EDM) & (frame.task == "A")
    assert square.decide(frame.assign(value=frame.value.mask(every))).verdict == REFUTED


@pytest.mark.parametrize("value", [np.nan, -np.inf, np.inf])
def test_without_the_square_a_diverged_training_ran_away(value):
    frame = made(-0.5, -1e6)
    lost = (frame["method"] == PRINTED) & (frame.seed < 4) & (frame["update"] == 10)
    decision = square.decide(frame.assign(value=frame.value.mask(lost, value)))
    assert decision.verdict == REPRODUCED
    assert "0 with the square, 16 without" in decision.note
    assert "A -1e+06" in decision.note
    most = (frame["method"] == PRINTED) & ((frame.seed < 6) | (frame.task == "A"))
    decision = square.decide(frame.assign(value=frame.value.mask(most, value)))
    assert decision.verdict == REPRODUCED
    assert "A -inf, B -inf" in decision.note


def test_without_both_objectives_nothing_is_decided():
    frame = made(-0.5, -1e6)
    for method in (EDM, PRINTED):
        assert square.decide(frame[frame["method"] != method]).verdict == NOT_RUN


def test_the_seeds_are_not_those_that_suggested_it():
    """Nor are their demonstrations, which begin at a seed times the largest number of trajectories."""
    seen = catalogue.canonical("critique/benchmarks", "overnight")
    shown = {seed * max(seen.counts) + one for seed in seen.seeds for one in range(max(seen.counts))}
    for scale in ("laptop", "overnight", "paper"):
        cfg = catalogue.canonical(NAME, scale)
        assert not set(cfg.seeds) & set(seen.seeds)
        assert not {seed * max(cfg.counts) for seed in cfg.seeds} & shown


def test_all_but_the_seeds_and_methods_are_the_benchmarks_settings():
    own, other = (asdict(catalogue.canonical(name, "paper")) for name in (NAME, "critique/benchmarks"))
    assert {key for key in own if own[key] != other[key]} == {"seeds", "methods"}


def test_a_run_is_the_benchmarks_own_and_can_be_drawn():
    assert (square.run, square.Config) == (benchmarks.run, benchmarks.Config)
    cfg = catalogue.canonical(NAME, "smoke")
    frame = square.run(cfg, Context())
    assert set(frame[frame.metric == "rho"]["method"]) == {EDM, PRINTED}
    drawing = square.figure(frame)
    assert [axis.get_title() for axis in drawing.axes] == [short_name(task) for task in cfg.tasks]
    style.rendered(drawing)
