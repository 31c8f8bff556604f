"""Random streams of a population: a member draws what it would draw alone."""

import pytest
import torch

from imitation.population import Generators, integers, normal_like, random_states, restore, rows_at, uniform_like

DRAWS = {"normal": normal_like, "uniform": lambda like, source: uniform_like(like, source, -2.0, 5.0)}


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(), (3,), (40, 5)])  # 16 numbers and more take another path through torch
def test_a_member_draws_what_it_draws_alone(draw, dtype, shape):
    together = Generators([7, 11])
    alone = Generators([11])
    for _ in range(3):
        both = draw(torch.empty(2, *shape, dtype=dtype), together)
        assert torch.equal(both[1:], draw(torch.empty(1, *shape, dtype=dtype), alone))
    assert not torch.equal(both[0], both[1])


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_one_generator_fills_the_whole_tensor(draw):
    like = torch.empty(2, 3, dtype=torch.float64)
    first = draw(like, torch.Generator().manual_seed(5))
    assert torch.equal(first, draw(like, torch.Generator().manual_seed(5)))
    assert first.dtype == like.dtype
    assert first.shape == like.shape


def test_memory_layout_does_not_change_the_draws():
    like = torch.empty(4, 3, 2).transpose(1, 2)
    drawn = normal_like(like, Generators([0, 1, 2, 3]))
    assert torch.equal(drawn, normal_like(torch.empty(4, 2, 3), Generators([0, 1, 2, 3])))


def test_the_global_state_is_never_touched():
    before = torch.get_rng_state()
    normal_like(torch.empty(2, 3), Generators([0, 1]))
    uniform_like(torch.empty(2, 3), torch.Generator().manual_seed(0))
    assert torch.equal(before, torch.get_rng_state())


def test_draws_have_the_right_law():
    # 200 000 draws: the standard error of a mean is sd / 447; five of them.
    like = torch.empty(2, 100_000, dtype=torch.float64)
    normal, uniform = normal_like(like, Generators([0, 1])), uniform_like(like, Generators([0, 1]), -2.0, 5.0)
    assert normal.mean().item() == pytest.approx(0, abs=5 / 447)
    assert normal.std().item() == pytest.approx(1, abs=5 / 632)
    assert uniform.mean().item() == pytest.approx(1.5, abs=5 * 7 / 12**0.5 / 447)
    assert -2 <= uniform.min().item() < -1.999
    assert 4.999 < uniform.max().item() < 5


@pytest.mark.parametrize("seeds", [[], [1, -1]])
def test_bad_seeds_are_refused(seeds):
    with pytest.raises(ValueError, match="at least one is needed, and none may be negative"):
        Generators(seeds)


@pytest.mark.parametrize("shape", [(), (3, 2)])
def test_the_leading_axis_must_be_the_population(shape):
    with pytest.raises(ValueError, match="does not match 2 generators"):
        normal_like(torch.empty(shape), Generators([0, 1]))


def test_length_is_the_number_of_members():
    assert len(Generators([4, 4, 2])) == 3


def test_integers_are_below_each_members_own_bound_and_what_a_member_draws_alone():
    drawn = integers(Generators([7, 11]), [3, 50], 2000)
    assert [sorted(set(one.tolist())) for one in drawn] == [list(range(3)), list(range(50))]
    assert torch.equal(drawn[1:], integers(Generators([11]), 50, 2000))
    assert torch.equal(drawn[0], torch.randint(3, (2000,), generator=torch.Generator().manual_seed(7)))


def test_restored_generators_draw_again_what_they_drew():
    random = Generators([7, 11])
    kept = random_states(random)
    first = normal_like(torch.empty(2, 3), random)
    restore(random, kept)
    assert torch.equal(first, normal_like(torch.empty(2, 3), random))
    with pytest.raises(ValueError, match="1 states for 2 generators"):
        restore(random, kept[:1])


@pytest.mark.parametrize("below", [0, [3], [3, 0], []])
def test_bounds_that_do_not_fit_are_refused(below):
    with pytest.raises(ValueError, match="for 2 generators: one for each, and at least 1"):
        integers(Generators([7, 11]), below, 4)


def test_rows_are_each_members_own():
    value = torch.arange(24).reshape(2, 4, 3).float()
    places = torch.tensor([[0, 3, 3], [1, 0, 2]])
    assert torch.equal(rows_at(value, places), torch.stack([value[0][[0, 3, 3]], value[1][[1, 0, 2]]]))
