"""Scaling: where the data go, the way back, constant coordinates, members that do not mix."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from imitation.policies.scaling import Scaling

MAKERS = [Scaling.min_max, Scaling.z_score]


def data(members: int = 3, rows: int = 50, dim: int = 4, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    spread = torch.tensor([1e-3, 1.0, 30.0, 1e4], dtype=dtype)[:dim]
    return torch.randn(members, rows, dim, generator=generator, dtype=dtype) * spread + 7 * spread


def test_min_max_reaches_both_ends_and_never_passes_them() -> None:
    values = data()
    scaled = Scaling.min_max(values).scaled(values)
    assert bool((scaled.abs() <= 1).all())
    torch.testing.assert_close(scaled.amin(1), torch.full((3, 4), -1.0))
    torch.testing.assert_close(scaled.amax(1), torch.full((3, 4), 1.0))


@given(low=st.floats(-1e6, 1e6, width=32), high=st.floats(-1e6, 1e6, width=32))
def test_min_max_never_leaves_the_interval_however_close_its_ends(low: float, high: float) -> None:
    values = torch.tensor([low, high, (low + high) / 2]).reshape(1, 3, 1)
    scaling = Scaling.min_max(values)
    assert bool((scaling.scaled(values).abs() <= 1).all())
    assert bool((scaling.scale > 0).all()) == (low != high)


def test_z_score_gives_mean_zero_and_deviation_one() -> None:
    values = data(dtype=torch.float64)
    scaled = Scaling.z_score(values).scaled(values)
    torch.testing.assert_close(scaled.mean(1), torch.zeros(3, 4, dtype=torch.float64), atol=1e-12, rtol=0)
    torch.testing.assert_close(scaled.square().mean(1), torch.ones(3, 4, dtype=torch.float64))


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize("rows", [(), (6,), (2, 3)])
def test_the_inverse_is_exact_to_rounding_for_rows_of_any_shape(maker, rows: tuple[int, ...]) -> None:
    values = data()
    scaling = maker(values)
    few = values[:, :6].reshape(3, *rows, 4) if rows else values[:, 0]
    back = scaling.unscaled(scaling.scaled(few))
    error = (back - few).abs() / values.abs().amax(1).reshape(3, *(1,) * len(rows), 4)
    assert float(error.max()) < 4 * torch.finfo(torch.float32).eps
    assert few.dtype == back.dtype


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_constant_coordinate_maps_to_zero_and_back_to_the_constant(maker, dtype: torch.dtype) -> None:
    values = data(dtype=dtype)
    values[1, :, 2] = 0.1
    scaling = maker(values)
    assert bool((scaling.scaled(values)[1, :, 2] == 0).all())
    assert bool((scaling.scaled(values + 3)[1, :, 2] == 0).all())
    back = scaling.unscaled(torch.randn(3, 5, 4, dtype=dtype))[1, :, 2]
    assert torch.equal(back, torch.full((5,), 0.1, dtype=dtype))


@pytest.mark.parametrize("maker", MAKERS)
def test_a_constant_is_seen_where_rounding_gives_it_a_deviation(maker) -> None:
    values = torch.full((1, 50, 1), 0.1, dtype=torch.float64)
    assert float(values.std(1, correction=0)) > 0
    assert torch.equal(maker(values).scaled(values + 3), torch.zeros_like(values))


@pytest.mark.parametrize("maker", MAKERS)
def test_one_row_is_constant_in_every_coordinate(maker) -> None:
    values = data(rows=1)
    assert torch.equal(maker(values).unscaled(maker(values).scaled(values)), values)


@pytest.mark.parametrize("maker", MAKERS)
def test_what_is_not_a_number_stays_so_even_at_a_constant_coordinate(maker) -> None:
    scaling = maker(torch.ones(1, 4, 1))
    assert bool(scaling.scaled(torch.full((1, 1, 1), torch.nan)).isnan().all())


@pytest.mark.parametrize("maker", MAKERS)
def test_a_member_is_scaled_as_if_it_were_alone(maker) -> None:
    values = data()
    together = maker(values).scaled(values)
    alone = maker(values[1:2]).scaled(values[1:2])
    assert torch.equal(together[1:2], alone)


def test_low_and_high_are_what_maps_to_the_ends() -> None:
    values = data()
    scaling = Scaling.min_max(values)
    torch.testing.assert_close(scaling.low[:, 0], values.amin(1))
    torch.testing.assert_close(scaling.high[:, 0], values.amax(1))
    torch.testing.assert_close(scaling.unscaled(torch.ones(3, 1, 4)), scaling.high)


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize(
    "bad", [torch.ones(2, 0, 3), torch.tensor([[[1.0], [torch.inf]]]), torch.full((1, 2, 1), torch.nan)]
)
def test_bad_data_are_refused(maker, bad: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="scaling needs"):
        maker(bad)


def test_values_of_another_population_are_refused() -> None:
    values = data()
    for scaling, others in ((Scaling.min_max(values), values[:1]), (Scaling.min_max(values[:1]), values)):
        with pytest.raises(ValueError, match="the scaling is of"):
            scaling.scaled(others)


def test_a_negative_scale_is_refused() -> None:
    with pytest.raises(ValueError, match="not negative"):
        Scaling(torch.zeros(1, 1, 1), -torch.ones(1, 1, 1))
