"""EDM's p(s) against the visited states: verdicts, and broken variants that the decisions must catch."""

from dataclasses import replace

import pandas as pd
import pytest
import torch

from experiments.critique import pseudo_visitation
from experiments.harness import catalogue
from experiments.harness.context import Context
from experiments.harness.frames import frame_bytes
from imitation.mdp import TabularMDP

CLAIMS = {claim.id: claim for claim in pseudo_visitation.CLAIMS}
GOOD = {"reproduced", "corrected"}


def measure() -> pd.DataFrame:
    return pseudo_visitation.run(catalogue.canonical("critique/pseudo_visitation", "smoke"), Context())


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return measure()


@pytest.mark.parametrize(
    ("id", "verdict"),
    [
        ("critique.example-1", "corrected"),
        ("critique.shift-invariance", "reproduced"),
        ("critique.example-2", "reproduced"),
    ],
)
def test_verdicts(frame: pd.DataFrame, id: str, verdict: str) -> None:
    assert CLAIMS[id].verdict(frame, "smoke").verdict == verdict


def test_example_1_without_its_counterexample_holds_as_printed(frame: pd.DataFrame) -> None:
    assert CLAIMS["critique.example-1"].decide(frame[frame.states > 1]).verdict == "reproduced"


def test_example_1_fails_if_the_states_are_mixed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that moves on uniformly visits every state equally in the end: nothing differs."""

    def mixing(states: int, actions: int):
        law = torch.full((states, actions, states), 1 / states, dtype=torch.float64)
        return TabularMDP(law, law[0, 0])

    monkeypatch.setattr(pseudo_visitation, "self_loops", mixing)
    assert CLAIMS["critique.example-1"].decide(measure()).verdict not in GOOD


def test_shift_invariance_fails_for_a_shift_of_one_action(monkeypatch: pytest.MonkeyPatch) -> None:
    """A "shift" that only one action gets changes the policy."""
    real = pseudo_visitation.softmax_policy

    def lopsided(logits: torch.Tensor) -> torch.Tensor:
        first = logits.clone()
        first[..., 0] += logits.mean(-1) / 10
        return real(first)

    monkeypatch.setattr(pseudo_visitation, "softmax_policy", lopsided)
    assert CLAIMS["critique.shift-invariance"].decide(measure()).verdict not in GOOD


def test_shift_invariance_fails_for_an_unsolved_shift(monkeypatch: pytest.MonkeyPatch) -> None:
    """The shift of the other energy sign does not reach the target."""
    real = pseudo_visitation.shift_for
    monkeypatch.setattr(pseudo_visitation, "shift_for", lambda logits, target, sign: real(logits, -target, sign))
    assert CLAIMS["critique.shift-invariance"].decide(measure()).verdict not in GOOD


def test_shift_invariance_needs_two_hundred_processes(frame: pd.DataFrame) -> None:
    assert CLAIMS["critique.shift-invariance"].decide(frame[frame.states == 2]).verdict == "inconclusive"


def test_example_2_fails_unshifted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pseudo_visitation, "_uniform_shift", lambda logits: torch.zeros_like(logits[..., 0]))
    assert CLAIMS["critique.example-2"].decide(measure()).verdict not in GOOD


def test_the_same_seed_gives_the_same_bytes(frame: pd.DataFrame) -> None:
    assert frame_bytes(measure()) == frame_bytes(frame)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_verdicts_do_not_hang_on_the_seed(seed: int) -> None:
    config = catalogue.canonical("critique/pseudo_visitation", "laptop")
    frame = pseudo_visitation.run(replace(config, seed=seed, self_loop_states=[1, 2]), Context())
    for id in ("critique.shift-invariance", "critique.example-2"):
        assert CLAIMS[id].decide(frame).verdict == "reproduced"
