"""The cloning losses by hand, the faithful mean as least squares' own, members, divergence, bad input."""

import pytest
import torch

from imitation.policies import tanh_normal
from imitation.policies.cloning import LOSSES, Cloning, Fit, faithful_loss, likelihood_loss, squared_loss
from imitation.policies.hetstat import HetStat
from imitation.policies.tanh_normal_mlp import TanhNormalMLP
from imitation.population import Generators

SEEDS = [3, 4, 5]


def hetstat(seeds: list[int]) -> HetStat:
    return HetStat(2, 2, Generators(seeds), hidden=(16,), bottleneck=4, features=32, dtype=torch.float64)


def mlp(seeds: list[int]) -> TanhNormalMLP:
    return TanhNormalMLP(2, 2, Generators(seeds), hidden=(16, 16), dtype=torch.float64)


def demonstrations(members: int = 3, rows: int = 200) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(11)
    x = torch.rand(members, rows, 2, generator=random, dtype=torch.float64) * 2 - 1
    noise = torch.randn(members, rows, 2, generator=random, dtype=torch.float64)
    return x, (torch.stack([(3 * x[..., 0]).sin(), x[..., 1]], -1) + 0.3 * x.abs() * noise).tanh()


@pytest.mark.parametrize("build", [hetstat, mlp])
def test_losses_are_what_they_say(build) -> None:
    policy, (x, a) = build(SEEDS), demonstrations()
    mean, deviation = policy(x)
    square = (mean.tanh() - a).square().mean((1, 2))
    density = tanh_normal.log_prob(mean, deviation, a).mean(1)
    torch.testing.assert_close(squared_loss(policy, x, a), square)
    torch.testing.assert_close(likelihood_loss(policy, x, a), -density)
    torch.testing.assert_close(faithful_loss(policy, x, a), square - density)


@pytest.mark.parametrize("build", [hetstat, mlp])
def test_the_faithful_fit_has_the_mean_of_least_squares(build) -> None:
    # Nothing but the squares reaches what the mean depends on, and Adam keeps parameters apart.
    x, a = demonstrations()
    means = {}
    for loss in LOSSES:
        policy = build(SEEDS)
        Cloning(loss, batch=32).fit(policy, x, a, Generators(SEEDS), steps=60)
        means[loss] = policy(x)[0].detach()
    torch.testing.assert_close(means["faithful"], means["squares"], rtol=0, atol=1e-12)
    assert float((means["likelihood"] - means["squares"]).abs().amax((1, 2)).min()) > 1e-3


@pytest.mark.parametrize("build", [hetstat, mlp])
def test_a_fit_lowers_the_loss_of_every_member(build) -> None:
    policy, (x, a) = build(SEEDS), demonstrations()
    before = faithful_loss(policy, x, a)
    diverged = Cloning(batch=64, learning_rate=3e-3).fit(policy, x, a, Generators(SEEDS), steps=300)
    assert not bool(diverged.any())
    assert bool((faithful_loss(policy, x, a) < before - 0.3).all())


@pytest.mark.parametrize("build", [hetstat, mlp])
def test_members_are_what_they_would_be_alone_with_their_own_rows(build) -> None:
    x, a = demonstrations()
    rows = [200, 50, 7]
    together = build(SEEDS)
    Cloning(batch=32).fit(together, x, a, Generators(SEEDS), steps=20, rows=rows)
    for member, (seed, count) in enumerate(zip(SEEDS, rows, strict=True)):
        alone, own = build([seed]), slice(member, member + 1)
        Cloning(batch=32).fit(alone, x[own, :count], a[own, :count], Generators([seed]), steps=20)
        for several, single in zip(together(x), alone(x[own]), strict=True):
            torch.testing.assert_close(several[own], single, rtol=0, atol=1e-10)


def test_a_member_that_diverges_stops_and_the_others_go_on() -> None:
    x, a = demonstrations()
    policy, healthy = mlp(SEEDS), mlp(SEEDS)
    policy.mean_weights.data[1] = torch.inf
    diverged = Cloning(batch=16).fit(policy, x, a, Generators(SEEDS), steps=5)
    Cloning(batch=16).fit(healthy, x, a, Generators(SEEDS), steps=5)
    assert diverged.tolist() == [False, True, False]
    assert bool(policy(x)[0][1].isnan().all())
    torch.testing.assert_close(policy(x)[0][[0, 2]], healthy(x)[0][[0, 2]])


def test_a_divergence_of_the_last_step_is_told() -> None:
    x, a = demonstrations()
    assert Cloning(batch=16, learning_rate=1e308).fit(mlp(SEEDS), x, a, Generators(SEEDS), steps=1).all()


def test_no_steps_change_nothing() -> None:
    policy, (x, a) = hetstat(SEEDS), demonstrations()
    before = [value.detach().clone() for value in policy.parameters()]
    Cloning().fit(policy, x, a, Generators(SEEDS), steps=0)
    assert all(torch.equal(one, other) for one, other in zip(before, policy.parameters(), strict=True))


@pytest.mark.parametrize("bad", [{"loss": "absolute"}, {"batch": 0}, {"learning_rate": 0.0}])
def test_bad_settings_are_refused(bad: dict) -> None:
    with pytest.raises(ValueError, match="must be positive, the loss one of"):
        Cloning(**bad)


def test_bad_data_are_refused() -> None:
    policy, (x, a) = mlp(SEEDS), demonstrations()
    with pytest.raises(ValueError, match="rows must agree"):
        Cloning().fit(policy, x, a, Generators(SEEDS[:2]), steps=1)
    with pytest.raises(ValueError, match="rows must agree"):
        Cloning().fit(policy, x, a, Generators(SEEDS), steps=1, rows=[200, 200, 201])
    with pytest.raises(ValueError, match="actions in"):
        Cloning().fit(policy, x, 2 * a, Generators(SEEDS), steps=1)
    with pytest.raises(ValueError, match="finite"):
        Cloning().fit(policy, x * torch.nan, a, Generators(SEEDS), steps=1)


@pytest.mark.parametrize("build", [hetstat, mlp])
def test_a_fit_taken_up_elsewhere_ends_in_the_same_parameters(build) -> None:
    x, a = demonstrations()
    whole = build(SEEDS)
    Cloning(batch=32).fit(whole, x, a, Generators(SEEDS), steps=12, rows=[200, 50, 7])
    first = Fit(Cloning(batch=32), build(SEEDS), x, a, Generators(SEEDS), [200, 50, 7])
    for _ in range(5):
        first.step()
    state = first.state_dict()
    elsewhere = Fit(Cloning(batch=32), build([6, 7, 8]), x, a, Generators([6, 7, 8]), [200, 50, 7])
    elsewhere.load_state_dict(state)
    first.step()  # must not move what was taken up
    while elsewhere.steps < 12:
        elsewhere.step()
    for one, other in zip(whole.parameters(), elsewhere.fitted.parameters(), strict=True):
        assert torch.equal(one, other)
