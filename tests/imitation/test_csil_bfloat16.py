"""CSIL in bfloat16: near what float32 does, kept in float32, and off where nothing asked for it."""

from dataclasses import replace

import pytest
import torch
from small_csil import SMALL, cloned, demonstrated, learner, some_rows

from imitation.control.csil_bfloat16 import HalvedImitation
from imitation.nn import products
from imitation.nn.precision import bfloat16, without_private_products
from imitation.population import Generators


def halved(seeds=(0,), settings=SMALL):
    return HalvedImitation(cloned(seeds), Generators(seeds), settings)


def apart(one, other):
    """Largest differences of the two learners' values, and of the two's means and deviations."""
    rows = some_rows(len(one.random), seed=9)
    critics = [every.critics(rows.observation, rows.action) for every in (one, other)]
    actors = [torch.stack(every.actor(rows.observation)) for every in (one, other)]
    return [float((first - second).detach().abs().max()) for first, second in (critics, actors)]


def test_updates_in_bfloat16_are_near_those_in_float32_but_not_the_same():
    one, other = halved((0, 1)), learner((0, 1))
    assert apart(one, other) == [0.0, 0.0]  # before any, since they act in float32
    for seed in range(3):
        given = some_rows(2, seed=seed)
        one.update(given)
        other.update(given)
    # A bfloat16 has 8 bits, two or three decimal digits; an Adam step is 3e-4.
    assert all(1e-7 < value < 3e-3 for value in apart(one, other))


def test_pretraining_is_in_bfloat16_too():
    settings = replace(SMALL, pretraining=20)
    one, other = halved(settings=settings), learner(settings=settings)
    losses = [every.pretrain(demonstrated(), 8) for every in (one, other)]
    assert 0 < float((losses[0] - losses[1]).abs().max()) < 0.05 * float(losses[1].abs().max())


def test_parameters_optimisers_and_what_is_told_stay_in_float32():
    one = halved()
    info = one.update(some_rows())
    told = [*info, *info.diagnostics.values()]
    kept = [
        value for optimiser in one.optimisers.values() for state in optimiser.state.values() for value in state.values()
    ]
    every = [*told, *kept, *one.actor.parameters(), *one.critics.parameters(), *one.rewarder.parameters()]
    assert {value.dtype for value in every if torch.is_tensor(value)} == {torch.float32}


def test_a_learner_taken_up_again_goes_on_as_it_would_have():
    one, other = halved(), halved((5,))
    one.update(some_rows())
    other.load_state_dict(one.state_dict())
    for every in (one, other):
        every.update(some_rows(seed=6))
    assert apart(one, other) == [0.0, 0.0]


def test_products_are_in_bfloat16_inside_alone():
    value = torch.rand(1, 2, 2)
    with bfloat16():
        assert torch.bmm(value, value).dtype == torch.bfloat16
    assert torch.bmm(value, value).dtype == torch.float32


def fail():
    raise ZeroDivisionError


def test_private_products_are_back_even_after_an_error():
    large = products.LARGE
    with without_private_products():
        assert large < products.LARGE
    with pytest.raises(ZeroDivisionError), without_private_products():
        fail()
    assert large == products.LARGE
