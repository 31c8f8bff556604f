"""The joint energy model: marginals, both signs, and shifts that make any marginal."""

import numpy as np
import pytest
import torch

from imitation.ebm.joint import log_state_density, log_unnormalised_density, shift_for


def random_logits(seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(6, 5, 3)) * 3)


def test_the_marginal_is_the_joint_with_actions_summed_out() -> None:
    logits = random_logits()
    joint = logits.flatten(-2).softmax(-1).reshape(logits.shape)
    assert torch.allclose(log_state_density(logits).exp(), joint.sum(-1), atol=1e-14, rtol=0)


def test_the_signs_give_reciprocal_weights() -> None:
    logits = random_logits(1)
    weights = log_unnormalised_density(logits) + log_unnormalised_density(logits, "-f")
    assert torch.equal(weights, torch.zeros_like(weights))


@pytest.mark.parametrize("sign", ["f", "-f"])
def test_a_shift_reaches_any_marginal_and_leaves_the_policy(sign) -> None:
    logits = random_logits(2)
    target = torch.from_numpy(np.random.default_rng(3).dirichlet(np.ones(5), size=6))
    moved = logits + shift_for(logits, target.log(), sign)[..., None]
    assert torch.allclose(log_state_density(moved, sign).exp(), target, atol=1e-14, rtol=0)
    assert torch.allclose(moved.softmax(-1), logits.softmax(-1), atol=1e-14, rtol=0)


def test_large_logits_do_not_overflow() -> None:
    assert bool(log_state_density(random_logits(4) * 1e4).isfinite().all())


def test_another_sign_is_refused() -> None:
    logits = random_logits(5)
    for refuses in (lambda: shift_for(logits, logits[..., 0], "x"), lambda: log_state_density(logits, "x")):
        with pytest.raises((ValueError, TypeError)):
            refuses()
