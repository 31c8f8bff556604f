"""Tabular cloning and DAgger: maximum likelihood by other means, limits of the data, and what is refused."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from imitation.mdp import TabularMDP, lecture, random_processes, softmax_policy
from imitation.mdp.horizon import occupancies, repeated
from imitation.mdp.learners import (
    aggregated,
    cloned,
    dagger,
    fit_softmax,
    softmax_law,
    stationary_clone,
    time_indexed_clone,
)
from imitation.mdp.rollouts import rollouts, step_counts

S, A, H = 4, 3, 5
EPSILON = 0.05


def case(seed: int):
    rng = np.random.default_rng(seed)
    drawn = random_processes(1, S, A, rng)
    mdp = TabularMDP(drawn.transition[0], drawn.initial[0])
    return mdp, softmax_policy(torch.from_numpy(rng.normal(size=(H, S, A)))), rng


def test_with_the_exact_law_cloning_is_the_expert() -> None:
    mdp, policy, _ = case(0)
    torch.testing.assert_close(time_indexed_clone(occupancies(mdp, policy)), policy, rtol=0, atol=1e-13)
    same = repeated(policy[0], H)
    torch.testing.assert_close(stationary_clone(occupancies(mdp, same)), policy[0], rtol=0, atol=1e-13)


def test_counts_of_many_episodes_tend_to_the_expert() -> None:
    mdp, policy, rng = case(1)
    counts = step_counts(rollouts(mdp, policy, 20_000, rng), S, A)
    assert float((time_indexed_clone(counts) - policy).abs().max()) < 0.03


def test_unseen_states_fall_back() -> None:
    counts = torch.zeros(S, A, dtype=torch.float64)
    counts[0, 1] = 4
    fallback = softmax_policy(torch.randn(S, A, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    assert torch.equal(cloned(counts, fallback)[1:], fallback[1:])
    assert cloned(counts)[0].tolist() == [0, 1, 0]
    torch.testing.assert_close(cloned(counts)[1:], torch.full((3, A), 1 / A, dtype=torch.float64))
    assert time_indexed_clone(counts[None].expand(H, S, A), fallback).shape == (H, S, A)


@given(row=st.lists(st.floats(0, 10), min_size=A, max_size=A).filter(lambda row: sum(row) > 0.1),
       floor=st.floats(0.001, 0.33))  # fmt: skip
@settings(max_examples=30)
def test_the_floored_clone_is_the_constrained_optimum(row: list[float], floor: float) -> None:
    """SLSQP on the same likelihood with the same bounds finds nothing better."""
    weights = np.array(row)

    def loss(law: np.ndarray) -> float:
        return float(-(weights * np.log(np.maximum(law, 1e-300))).sum())

    found = cloned(torch.tensor([row], dtype=torch.float64), floor=floor)[0].numpy()
    assert found.sum() == pytest.approx(1, abs=1e-12)
    assert found.min() >= floor - 1e-15
    bounds, constraint = [(floor, 1)] * A, {"type": "eq", "fun": lambda law: law.sum() - 1}
    best = minimize(loss, np.full(A, 1 / A), bounds=bounds, constraints=constraint, tol=1e-12)
    assert loss(found) <= best.fun + 1e-7


def test_gradient_descent_reaches_the_counted_clone_and_shared_features_the_average() -> None:
    mdp, policy, _ = case(2)
    joint = occupancies(mdp, policy).sum(0) / H
    identity = torch.eye(S, dtype=torch.float64)
    weights = fit_softmax(identity, joint, rate=4.0, keep=[0, 20_000])
    assert torch.equal(softmax_law(identity, weights[0]), torch.full((S, A), 1 / A, dtype=torch.float64))
    torch.testing.assert_close(softmax_law(identity, weights[1]), cloned(joint), rtol=0, atol=1e-7)
    alias = torch.tensor([[1, 0], [1, 0], [0, 1], [0, 1]], dtype=torch.float64)
    law = softmax_law(alias, fit_softmax(alias, joint, rate=4.0, keep=[5000])[0])
    pooled = cloned(alias.mT @ joint)  # the average over what the features cannot tell apart
    torch.testing.assert_close(law, alias @ pooled, rtol=0, atol=1e-7)


def test_dagger_learns_the_way_back_and_cloning_does_not() -> None:
    """The exact law of every round: after one round of its own states the learner climbs wherever it can be."""
    example = lecture.cliff(3)
    expert, horizon = lecture.expert(example), 40

    def visit(policy: torch.Tensor) -> torch.Tensor:
        return occupancies(example.mdp, repeated(policy, horizon)).sum((0, -1))

    learned = dagger(expert, visit, lambda labels: cloned(labels, floor=EPSILON), rounds=2)
    keep = learned.policies[..., 0]
    torch.testing.assert_close(keep[0], torch.tensor([0.95, 0.5, 0.5, 0.5], dtype=torch.float64))
    torch.testing.assert_close(keep[1], torch.full((4,), 0.95, dtype=torch.float64))
    assert float(learned.labels.sum()) == pytest.approx(2 * horizon, abs=1e-10)
    assert torch.equal(learned.labels[:, 1], torch.zeros(4, dtype=torch.float64))


def test_one_round_of_dagger_is_cloning() -> None:
    mdp, policy, _ = case(3)
    law = policy[0]

    def visit(chosen: torch.Tensor) -> torch.Tensor:
        return occupancies(mdp, repeated(chosen, H)).sum((0, -1))

    learned = dagger(law, visit, cloned, rounds=1)
    torch.testing.assert_close(learned.policies[0], stationary_clone(occupancies(mdp, repeated(law, H))))
    torch.testing.assert_close(learned.labels, aggregated(visit(law), law))


@given(place=st.integers(0, S * A - 1), bad=st.sampled_from([-1.0, -1e-9, math.nan, math.inf]))
@settings(max_examples=20)
def test_bad_counts_are_refused(place: int, bad: float) -> None:
    counts = torch.ones(S * A, dtype=torch.float64)
    counts[place] = bad
    with pytest.raises(ValueError, match=r"^counts: must be finite and not negative$"):
        cloned(counts.view(S, A))


@given(shape=st.tuples(st.integers(1, 6), st.integers(1, 6)).filter(lambda shape: shape[0] != S))
@settings(max_examples=20)
def test_features_of_another_number_of_states_are_refused(shape: tuple[int, int]) -> None:
    joint = torch.full((S, A), 1 / (S * A), dtype=torch.float64)
    with pytest.raises(ValueError, match=r"^features \([^\n]*must be \(S, F\)[^\n]*S = 4$"):
        fit_softmax(torch.zeros(shape, dtype=torch.float64), joint, 1.0, [1])


def test_other_bad_input_is_refused() -> None:
    joint = torch.full((S, A), 1 / (S * A), dtype=torch.float64)
    identity = torch.eye(S, dtype=torch.float64)
    for attempt, message in (
        (lambda: cloned(joint, floor=0.4), "floor=0.4: must be between 0 and 1/A"),
        (lambda: cloned(joint, fallback=joint), "fallback: probabilities must sum to 1"),
        (lambda: fit_softmax(identity, 2 * joint, 1.0, [1]), "joint: must not be negative and must sum to 1"),
        (lambda: fit_softmax(identity * math.nan, joint, 1.0, [1]), "must be .*finite"),
        (lambda: fit_softmax(identity, joint, 0.0, [1]), "rate=0.0"),
        (lambda: fit_softmax(identity, joint, 1.0, [5, 2]), r"keep=\[5, 2\]"),
        (lambda: dagger(softmax_policy(joint), lambda p: p.sum(-1), cloned, 0), "rounds=0"),
        (lambda: dagger(joint, lambda p: p.sum(-1), cloned, 1), "expert: probabilities must sum to 1"),
    ):
        with pytest.raises(ValueError, match=message):
            attempt()
