"""The grid worlds: moves, walls, goals, wind, and returns known by hand."""

import pytest
import torch

from imitation.mdp import discounted_occupancy
from imitation.mdp.grid import dense_grid, sparse_grid
from imitation.mdp.soft import soft_value_iteration, uniform_log_prior

WIDTH, DISCOUNT = 10, 0.95


def test_moves_walls_and_goals() -> None:
    world = sparse_grid(WIDTH, DISCOUNT)
    after = world.mdp.transition.argmax(-1)
    assert after[0].tolist() == [1, 0, 10, 0]  # right, left (wall), up, down (wall)
    assert after[99].tolist() == [99, 98, 99, 89]
    assert after[55].tolist() == [56, 54, 65, 45]
    assert after[world.goals[0]].tolist() == [0] * 4
    assert world.goals == (90,)
    assert float(world.reward[90, 0]) == pytest.approx(20)
    assert float(world.reward[30, 0]) == pytest.approx(-20)


def test_wind_is_a_mixture_with_the_move_to_the_right() -> None:
    calm, windy = sparse_grid(WIDTH, DISCOUNT).mdp.transition, sparse_grid(WIDTH, DISCOUNT, 0.5).mdp.transition
    inner = [state for state in range(100) if state != 90]
    torch.testing.assert_close(windy[inner], (calm[inner] + calm[inner][:, :1]) / 2)
    torch.testing.assert_close(windy[90], calm[90])
    torch.testing.assert_close(sparse_grid(WIDTH, DISCOUNT, 0.0).mdp.transition, calm)


def test_the_best_return_of_the_sparse_world_is_that_of_a_cycle_of_twelve_steps() -> None:
    # Nine steps up and two around the trap, then one back to the start: the goal is seen at t = 11, 23, ...
    world = sparse_grid(WIDTH, DISCOUNT)
    best = soft_value_iteration(world.mdp, world.reward, uniform_log_prior(world.mdp), 0.0, DISCOUNT, 2000)
    closed = 20 * DISCOUNT**11 / (1 - DISCOUNT**12)
    assert float(best.value[0]) == pytest.approx(closed, rel=1e-12)
    policy = best.log_policy.exp()
    visits = discounted_occupancy(world.mdp, policy, DISCOUNT)
    measured = float((visits[:, None] * policy * world.reward).sum())
    assert measured == pytest.approx((1 - DISCOUNT) * closed, rel=1e-12)


def test_the_dense_world() -> None:
    world = dense_grid(WIDTH, DISCOUNT)
    assert world.goals == (32, 37, 72, 77)
    assert float(world.reward.sum()) == 4 * 4
    torch.testing.assert_close(world.mdp.transition[32, 0], world.mdp.initial)
    windy = dense_grid(WIDTH, DISCOUNT, 0.5)
    torch.testing.assert_close(windy.mdp.transition[32], world.mdp.transition[32])


@pytest.mark.parametrize(
    ("width", "discount", "wind", "named"),
    [(4, 0.9, 0.0, "width=4"), (10, 1.0, 0.0, "discount"), (10, 0.9, 2.0, "wind")],
)
def test_bad_input_is_refused(width: int, discount: float, wind: float, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        sparse_grid(width, discount, wind)
    with pytest.raises(ValueError, match=named):
        dense_grid(width, discount, wind)
