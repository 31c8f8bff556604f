"""Energy-based distribution matching: its gradients, its chains, and that it is cloning without its state term."""

from collections.abc import Sequence

import pytest
import torch
from torch import nn

from imitation.ebm.edm import DistributionMatching, LogSumExp, StateTerm
from imitation.population import Generators

SMALL = StateTerm(steps=3, buffer=40)
SHIFTED = StateTerm(steps=3, buffer=40, shifted=True)
ALL = torch.ones(1, 40, dtype=torch.bool)


def pairs(count: int, seed: int = 0, dtype: torch.dtype = torch.float64):
    random = torch.Generator().manual_seed(seed)
    return torch.randn(count, 3, generator=random).to(dtype), torch.randint(4, (count,), generator=random)


def learner(term: StateTerm | None = SMALL, counts: Sequence[int] = (20,), first: int = 0, **options):
    data = [pairs(count, first + number) for number, count in enumerate(counts)]
    streams = [Generators([start + first + n for n in range(len(counts))]) for start in (0, 1000)]
    return DistributionMatching(data, 4, *streams, term, **({"hidden": (8, 6), "batch": 8} | options))


def parameters(one: DistributionMatching) -> list[torch.Tensor]:
    return [value.detach().clone() for part in one.densities for value in part.parameters()]


def network(outputs: int = 4) -> LogSumExp:
    return LogSumExp([3, 8, 6, outputs], Generators([0, 1]), torch.zeros(1, dtype=torch.float64))


# ---- the model of the states ----


@pytest.mark.parametrize("outputs", [1, 4])
def test_the_slope_is_the_automatic_gradient(outputs):
    one = network(outputs)
    states = (3 * torch.randn(2, 50, 3, dtype=torch.float64)).requires_grad_()
    (expected,) = torch.autograd.grad(one.log_density(states).sum(), states)
    assert (one.slope(states) - expected).abs().max() < 1e-12


def test_one_output_is_the_log_density_itself():
    one, states = network(1), torch.randn(2, 5, 3, dtype=torch.float64)
    assert torch.equal(one.log_density(states), one(states)[..., 0])


def test_rho_has_the_gradient_of_the_exact_likelihood():
    """On finitely many states with a model that is still uniform, each state once is an exact sample of it."""
    one = learner(counts=(6,), batch=6)
    with torch.no_grad():
        one.policy.weights[-1].zero_()
    every = one.states
    batch = one.minibatch()
    demonstrated = batch._replace(states=every[:, [0, 0, 0, 1, 1, 2]])
    wanted = one.log_density(every).log_softmax(-1)[0, [0, 0, 0, 1, 1, 2]].mean()
    expected = torch.autograd.grad(-wanted, list(one.policy.parameters()))
    found = torch.autograd.grad(one.loss(demonstrated, every)[1].sum(), list(one.policy.parameters()))
    assert max((a - b).abs().max() for a, b in zip(found, expected, strict=True)) < 1e-14
    assert max(a.abs().max() for a in expected) > 1e-3  # not zero against zero


def test_a_constant_on_all_logits_changes_nothing():
    one = learner()
    batch, samples = one.minibatch(), torch.randn(1, 8, 3, dtype=torch.float64)
    before = [*one.loss(batch, samples), one.policy.slope(samples)]
    with torch.no_grad():
        one.policy.biases[-1] += 5
    after = [*one.loss(batch, samples), one.policy.slope(samples)]
    assert all(torch.allclose(a, b, atol=1e-12) for a, b in zip(before, after, strict=True))


def test_a_shift_leaves_the_policy_and_moves_the_density():
    one = learner(SHIFTED)
    states = torch.randn(1, 30, 3, dtype=torch.float64)
    acts, density = one.act(states), one.log_density(states)
    with torch.no_grad():
        one.densities[1].weights[0] += 1
    assert torch.equal(one.act(states), acts)
    assert not torch.allclose(one.log_density(states), density)


def test_training_raises_the_density_where_demonstrations_are_and_the_other_sign_lowers_it():
    def difference(sign: float) -> float:
        one = learner(StateTerm(steps=5, buffer=100, square=0.0), counts=(200,), batch=32, learning_rate=1e-2)
        with torch.no_grad():
            one.states.mul_(0.1).add_(0.5)
        loss = one.loss
        one.loss = lambda batch, samples: (loss(batch, samples)[0], sign * loss(batch, samples)[1])  # type: ignore[method-assign]
        for _ in range(100):
            one.update()
        with torch.no_grad():
            return float(one.log_density(one.states).mean() - one.log_density(-one.states).mean())

    assert difference(1) > 0.5
    assert difference(-1) < -0.5


def test_the_most_probable_action_is_taken():
    one, (states, _) = learner(counts=(20, 20)), pairs(30)
    states = states.expand(2, -1, -1)
    assert torch.equal(one.act(states), one.policy(states).softmax(-1).max(-1).indices)


# ---- chains ----


def test_without_noise_a_chain_goes_up_the_slope_by_alpha():
    alpha = 1 / 16  # exact in single precision, in which the kernel takes it
    one = learner(StateTerm(alpha=alpha, sigma=0.0, steps=1, buffer=1, reinitialised=0.0), batch=1)
    start = one.buffer.clone()
    moved = one.samples(ALL[:, :1])
    assert torch.allclose(moved, start + alpha * one.policy.slope(start), rtol=0, atol=1e-12)
    assert (moved - start).abs().max() > 1e-4  # not zero against zero


def test_without_noise_chains_climb_the_density():
    one = learner(StateTerm(alpha=0.05, sigma=0.0, steps=5, buffer=40, reinitialised=0.0))
    before = one.log_density(one.buffer)
    one.samples(ALL)
    moved = one.log_density(one.buffer) - before
    assert (moved >= 0).all()
    assert (moved > 0).any()


def test_on_a_flat_density_chains_are_a_random_walk():
    one = learner(StateTerm(sigma=0.1, steps=9, buffer=5000, reinitialised=0.0))
    with torch.no_grad():
        one.policy.weights[-1].zero_()
    one.buffer.zero_()
    moved = one.samples(torch.arange(4000)[None] < 1000)
    assert float(moved.var()) == pytest.approx(9 * 0.1**2, rel=0.05)
    touched = (one.buffer != 0).any(-1)
    assert 800 < int(touched.sum()) <= 1000  # those that are used; some were picked twice
    assert float(one.buffer[touched].var()) == pytest.approx(9 * 0.1**2, rel=0.1)


def test_fresh_chains_begin_in_the_unit_box():
    one = learner(StateTerm(alpha=1e-6, sigma=1e-6, steps=1, buffer=100, reinitialised=1.0))
    one.buffer.fill_(50.0)
    moved = one.samples(ALL)
    assert moved.abs().max() < 1.01
    assert moved.abs().max() > 0.9


# ---- training ----


def test_without_a_state_term_it_is_softmax_regression():
    """The same updates by torch's own layers, loss and optimiser."""
    one, twin = learner(None), learner(None)
    layers = [nn.Linear(*shape, dtype=torch.float64) for shape in ((3, 8), (8, 6), (6, 4))]
    for layer, weight, bias in zip(layers, one.policy.weights, one.policy.biases, strict=True):
        layer.weight.data, layer.bias.data = weight.detach()[0].T.clone(), bias.detach()[0, 0].clone()
    model = nn.Sequential(layers[0], nn.ELU(), layers[1], nn.ELU(), layers[2])
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(10):
        batch = twin.minibatch()
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(batch.states[0]), batch.actions[0]).backward()
        optimiser.step()
        info = one.update()
    assert torch.allclose(one.policy.weights[0][0].T, layers[0].weight, atol=1e-12)
    assert torch.equal(info.rho, torch.zeros(1, dtype=torch.float64))


@pytest.mark.parametrize("term", [SMALL, SHIFTED])
def test_start_and_minibatches_are_those_of_cloning(term):
    one, cloning = learner(term), learner(None)
    assert torch.equal(one.policy.weights[0], cloning.policy.weights[0])
    one.update(), cloning.update()
    assert torch.equal(one.minibatch().states, cloning.minibatch().states)


def test_the_square_is_added_where_it_is_wanted():
    with_square, without = learner(SMALL), learner(StateTerm(steps=3, buffer=40, square=0.0))
    first = [one.update().rho for one in (with_square, without)]
    assert torch.equal(*first)
    assert not torch.equal(with_square.policy.weights[0], without.policy.weights[0])


@pytest.mark.parametrize("term", [None, SMALL, SHIFTED])
def test_a_member_is_what_it_would_be_alone(term):
    """With 3 pairs a minibatch holds each once, whatever fills the rows that other members need."""
    together = learner(term, counts=(20, 3, 9))
    alone = [learner(term, counts=(count,), first=number) for number, count in enumerate((20, 3, 9))]
    for _ in range(5):
        for one in (together, *alone):
            one.update()
    for number, single in enumerate(alone):
        for mine, its in zip(parameters(together), parameters(single), strict=True):
            assert torch.allclose(mine[number], its[0], atol=1e-12)


def test_a_small_set_is_taken_whole():
    batch = learner(counts=(20, 3)).minibatch()
    assert batch.weights[1].tolist() == [1 / 3] * 3 + [0.0] * 5
    taken = {tuple(row) for row in batch.states[1, :3].tolist()}
    assert taken == {tuple(row) for row in pairs(3, 1)[0].tolist()}
    assert len({tuple(row) for row in batch.states[0].tolist()}) == 8  # without replacement


@pytest.mark.parametrize("term", [None, SMALL, SHIFTED])
def test_resumed_it_goes_on_bit_for_bit(term):
    whole, begun, resumed = learner(term), learner(term), learner(term)
    for _ in range(3):
        whole.update(), begun.update()
    state = begun.state_dict()
    begun.update()
    resumed.load_state_dict(state)  # what was kept before that update
    assert resumed.updates == 3
    for _ in range(3):
        whole.update(), resumed.update()
    assert all(map(torch.equal, parameters(whole), parameters(resumed)))


def test_of_few_pairs_few_chains_are_put_back():
    """As in the official code, whose batch is as small as the data."""
    one = learner(StateTerm(steps=3, buffer=1000), counts=(20, 3))
    before = one.buffer.clone()
    one.update()
    assert (one.buffer != before).any(-1).sum(1).tolist() == [8, 3]


def test_a_diverged_member_stops_and_the_others_go_on():
    one, healthy = learner(counts=(20, 20)), learner(counts=(20, 20))
    with torch.no_grad():
        one.policy.weights[0][0, 0, 0] = torch.inf
    for _ in range(3):
        one.update(), healthy.update()
    assert one.diverged.tolist() == [True, False]
    assert torch.equal(one.policy.weights[1][1], healthy.policy.weights[1][1])
    assert one.act(torch.zeros(2, 1, 3)).tolist()[0] == [0]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"states": torch.full((5, 3), torch.nan)}, "member 1: states must be finite"),
        ({"actions": torch.tensor([0, 1, 2, 3, 4])}, "actions among 0 to 3"),
        ({"states": torch.zeros(5, 2)}, "must fit"),
        ({"states": torch.zeros(0, 3), "actions": torch.zeros(0, dtype=torch.long)}, "must fit"),
        ({"batch": 41}, "batch=41: more than the 40 chains"),
        ({"seeds": [0]}, "2 members, generators for 1"),
    ],
)
def test_bad_input_is_one_line(changed, message):
    first = (torch.zeros(5, 3), torch.zeros(5, dtype=torch.long))
    second = (changed.get("states", first[0]), changed.get("actions", first[1]))
    with pytest.raises(ValueError, match=message):
        DistributionMatching([first, second], 4, Generators(changed.get("seeds", [0, 1])), Generators([2, 3]), SMALL,
                             batch=changed.get("batch", 8))  # fmt: skip


@pytest.mark.parametrize(
    "bad",
    [
        {"alpha": 0.0},
        {"sigma": -1.0},
        {"steps": 0},
        {"reinitialised": 1.5},
        {"alpha": torch.nan},
        {"sigma": torch.nan},
        {"square": torch.nan},
        {"alpha": torch.inf},
    ],
)
def test_a_bad_state_term_is_refused(bad):
    with pytest.raises(ValueError, match=r"must be positive.*; finite"):
        StateTerm(**bad)
