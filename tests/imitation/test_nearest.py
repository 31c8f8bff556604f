"""Nearest neighbours against scipy's tree and against distances written out; ties, blocks, inputs without a number."""

import numpy as np
import pytest
import torch
from scipy.spatial import KDTree

from imitation.policies import nearest
from imitation.policies.nearest import Nearest


def demonstrations(members: int = 2, rows: int = 700, dim: int = 5):
    random = torch.Generator().manual_seed(3)
    units = torch.tensor([1.0, 100.0, 1e-3, 5.0, 1.0])[:dim]
    inputs = torch.randn(members, rows, dim, generator=random) * units + 20 * units
    queries = torch.randn(members, 90, dim, generator=random) * 1.5 * units + 20 * units
    return inputs, torch.rand(members, rows, 2, generator=random), queries


def by_tree(inputs: torch.Tensor, queries: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Distance and row by scipy, in coordinates scaled by numpy."""
    x, q = inputs.double().numpy(), queries.double().numpy()
    low, high = x.min(0), x.max(0)
    distance, row = KDTree(2 * (x - low) / (high - low) - 1).query(2 * (q - low) / (high - low) - 1)
    return np.asarray(distance), np.asarray(row)


@pytest.mark.parametrize("scores", [1, 5000, 2**21])
def test_the_neighbours_are_those_of_scipys_tree(monkeypatch: pytest.MonkeyPatch, scores: int) -> None:
    monkeypatch.setattr(nearest, "SCORES", scores)
    inputs, actions, queries = demonstrations()
    policy = Nearest(inputs, actions)
    found, acted = policy.neighbours(queries), policy.act(queries)
    for member in range(2):
        _, row = by_tree(inputs[member], queries[member])
        assert np.array_equal(found[member].numpy(), row)
        assert torch.equal(acted[member], actions[member][torch.from_numpy(row)])


def test_neighbours_closer_together_than_the_products_can_tell_are_told_apart() -> None:
    # Distances near 1e-10 vanish beside |x|^2 = 5, whose rounding is 1e-15: the squares are 1e-20.
    random = torch.Generator().manual_seed(8)
    inputs = torch.ones(1, 300, 5, dtype=torch.float64) - 1e-10 * torch.rand(1, 300, 5, generator=random)
    inputs[0, 0] = -1
    queries = torch.ones(1, 50, 5, dtype=torch.float64) - 1e-10 * torch.rand(1, 50, 5, generator=random)
    policy = Nearest(inputs, torch.zeros(1, 300, 1))
    distance, _ = by_tree(inputs[0], queries[0])
    x, q = policy.input_scaling.scaled(inputs)[0], policy.input_scaling.scaled(queries)[0]
    mine = (x[policy.neighbours(queries)[0]] - q).norm(dim=1)
    np.testing.assert_allclose(mine.numpy(), distance, rtol=1e-4)
    naive = (x.square().sum(1) - 2 * q @ x.T).argmin(1)
    assert float(((x[naive] - q).norm(dim=1) / mine).max()) > 2  # so the test can fail


def test_a_demonstrated_input_is_its_own_neighbour() -> None:
    inputs, actions, _ = demonstrations()
    assert torch.equal(Nearest(inputs, actions).act(inputs), actions)


def test_ties_go_to_the_first_row() -> None:
    inputs, actions, queries = demonstrations()
    order = torch.randperm(1400, generator=torch.Generator().manual_seed(4))
    doubled = inputs.repeat(1, 2, 1)[:, order]
    found = Nearest(doubled, actions.repeat(1, 2, 1)).neighbours(queries)
    for member in range(2):
        same = (doubled[member, found[member]][:, None] == doubled[member][None]).all(-1)
        assert bool((same.sum(1) == 2).all())
        assert torch.equal(found[member], same.int().argmax(1))


def test_a_tie_between_different_rows_goes_to_the_first_too() -> None:
    inputs = torch.tensor([[[1.0], [-1.0], [1.0]]])
    assert Nearest(inputs, torch.zeros(1, 3, 1)).neighbours(torch.zeros(1, 1, 1)).item() == 0


def test_a_constant_coordinate_does_not_count() -> None:
    inputs, actions, queries = demonstrations()
    without = Nearest(inputs[..., :4], actions).neighbours(queries[..., :4])
    inputs[..., 4] = 3.0
    assert torch.equal(Nearest(inputs, actions).neighbours(queries), without)


def test_the_units_of_the_inputs_do_not_matter() -> None:
    inputs, actions, queries = demonstrations()
    other = Nearest(inputs * torch.tensor([8.0, 0.5, 2.0, 1.0, 64.0]), actions)
    found = other.neighbours(queries * torch.tensor([8.0, 0.5, 2.0, 1.0, 64.0]))
    assert torch.equal(found, Nearest(inputs, actions).neighbours(queries))


def test_a_member_is_as_if_it_were_alone() -> None:
    inputs, actions, queries = demonstrations()
    alone = Nearest(inputs[1:], actions[1:]).act(queries[1:])
    assert torch.equal(Nearest(inputs, actions).act(queries)[1:], alone)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_an_input_that_is_not_finite_gives_no_number(bad: float) -> None:
    inputs, actions, queries = demonstrations()
    sound = Nearest(inputs, actions).act(queries)
    queries[1, 7, 2] = bad
    acted = Nearest(inputs, actions).act(queries)
    assert bool(acted[1, 7].isnan().all())
    acted[1, 7] = sound[1, 7]
    assert torch.equal(acted, sound)


def test_nothing_diverges_and_actions_keep_their_type() -> None:
    inputs, actions, queries = demonstrations()
    policy = Nearest(inputs, actions)
    assert policy.diverged.tolist() == [False, False]
    assert policy.act(queries).dtype == torch.float32


def test_data_that_do_not_fit_are_refused() -> None:
    inputs, actions, _ = demonstrations()
    with pytest.raises((ValueError, TypeError)):
        Nearest(inputs[:, 1:], actions)
    with pytest.raises(ValueError, match="finite"):
        Nearest(inputs * torch.nan, actions)
    with pytest.raises(ValueError, match="finite"):
        Nearest(inputs, actions * torch.inf)
