"""DAC with absorbing states: its loss and targets by a plain writing, the optimum at an end, members, resuming."""

import copy
from dataclasses import replace
from math import log

import pytest
import torch
from torch import nn

from imitation.control.absorbing import AbsorbingActorCritic
from imitation.control.dac import AdversarialSettings, DiscriminatorActorCritic
from imitation.control.replay import Transitions
from imitation.population import Generators

SMALL = AdversarialSettings(hidden=(16, 16))


def learner(seeds=(0,), settings=SMALL, sizes=(3, 2)):
    return AbsorbingActorCritic(*sizes, Generators(seeds), settings)


def flagged(observation, flag, action):
    return torch.cat([observation, torch.full_like(action[..., :1], flag), action], -1)


@pytest.mark.parametrize("form", ["logit", "gail"])
def test_the_value_at_an_end_becomes_that_of_staying_there_for_ever(exact, form):
    settings = replace(SMALL, form=form, discount=0.9, smoothing=0.1, temperature=0.2)
    one = learner(settings=settings)
    logit = one.discriminator(flagged(torch.zeros(1, 1, 3), 1.0, torch.zeros(1, 1, 2)))[0, 0, 0]
    reward = logit if form == "logit" else torch.log1p(logit.exp())
    stays = sum(0.9**step * (reward + 0.2 * one.target_entropy) for step in range(400))
    one._follow()
    torch.testing.assert_close(one.absorbing_value[0, 0], 0.1 * (reward + 0.2 * one.target_entropy))
    for _ in range(3000):
        one._follow()
    torch.testing.assert_close(one.absorbing_value[0, 0], stays)


def test_targets_take_that_value_where_a_row_ended(exact, some_rows):
    one, rows = learner(), some_rows()
    one.absorbing_value.fill_(-7.0)
    state = one.random.members[0].get_state()
    found = one.target(rows)
    one.random.members[0].set_state(state)
    following = torch.where(rows.terminated == 1, -7.0, one.following_value(rows))
    own = one.discriminator(flagged(rows.observation, 0.0, rows.action))[..., 0]
    torch.testing.assert_close(found, own + 0.99 * following)


def test_without_an_end_the_flag_alone_is_new(exact, some_rows):
    rows = some_rows()._replace(terminated=torch.zeros(1, 32))
    one, plain = learner(), DiscriminatorActorCritic(3, 2, Generators([0]), SMALL)
    for ours, theirs in zip(one.discriminator.weights, plain.discriminator.weights, strict=True):
        theirs.data = ours.data if ours.shape == theirs.shape else ours.data[:, [0, 1, 2, 4, 5]]
    for ours, theirs in zip(one.discriminator.biases, plain.discriminator.biases, strict=True):
        theirs.data = ours.data
    torch.testing.assert_close(one.reward(rows), plain.reward(rows))
    one.adversarial = plain.adversarial = replace(SMALL, penalty=0.0)  # whose slope sees the flag as well
    torch.testing.assert_close(one.discriminator_loss(rows), plain.discriminator_loss(rows))


def test_the_loss_is_that_of_the_rows_and_one_absorbing_row_per_end(exact, some_rows):
    one, rows = learner(settings=replace(SMALL, penalty=0.0)), some_rows()
    logits, labels = [], []
    for observation, action, source, ended in zip(
        rows.observation[0], rows.action[0], rows.reward[0], rows.terminated[0], strict=True
    ):
        pairs = [flagged(observation, 0.0, action)] + [flagged(0 * observation, 1.0, 0 * action)] * int(ended)
        logits += [one.discriminator(pair[None, None])[0, 0, 0] for pair in pairs]
        labels += [source] * len(pairs)
    assert 0 < len(logits) - 32 < 32
    entropy = nn.functional.binary_cross_entropy_with_logits(torch.stack(logits), torch.stack(labels), reduction="sum")
    torch.testing.assert_close(one.discriminator_loss(rows)[0], entropy / 32)


def test_the_penalty_is_that_of_a_plain_writing(exact, some_rows):
    one, rows = learner(settings=replace(SMALL, penalty=10.0)), some_rows()._replace(terminated=torch.zeros(1, 32))
    state = one.random.members[0].get_state()
    whole = one.discriminator_loss(rows)
    random = torch.Generator()
    random.set_state(state)
    torch.rand(32, 1, generator=random)  # the coins
    share = torch.rand(16, 1, generator=random)
    pairs = flagged(rows.observation, 0.0, rows.action)[0]
    between = (share * pairs[:16] + (1 - share) * pairs[16:]).requires_grad_()
    slope = torch.autograd.grad(one.discriminator(between[None]).sum(), between)[0]
    one.adversarial = replace(SMALL, penalty=0.0)
    expected = one.discriminator_loss(rows) + 10 * (slope.norm(dim=1) - 1).square().mean()
    torch.testing.assert_close(whole, expected)


@pytest.mark.parametrize("ends", ["replayed", "demonstrated"])
def test_the_penalty_reaches_the_absorbing_state(exact, some_rows, ends):
    """Where every row of a half ended, half of the penalty's lines begin or end at the absorbing state."""
    one, rows = learner(settings=replace(SMALL, penalty=1.0)), some_rows(batch=4000)
    rows = rows._replace(terminated=1 - rows.reward if ends == "replayed" else rows.reward)
    seen = []
    one.penalty = lambda pairs: seen.append(pairs) or torch.zeros(1)  # type: ignore[method-assign]
    one.discriminator_loss(rows)
    flags = seen[0][0, :, 3]
    assert (flags > 0).double().mean() == pytest.approx(0.5, abs=0.05)
    assert flags[flags > 0].mean() == pytest.approx(0.5, abs=0.03)  # uniform along the line


def test_at_an_end_the_reward_is_the_log_ratio_of_how_often_either_ends():
    """Of demonstrated rows an eighth ends, of replayed ones a half: the best logit there is -log 4."""
    one, zero = learner(settings=replace(SMALL, discriminator_rate=5e-3, penalty=0.0)), torch.zeros(1, 64, 1)
    ended = torch.tensor([1.0] * 4 + [0.0] * 28 + [1.0] * 16 + [0.0] * 16)[None]
    rows = Transitions(zero.expand(-1, -1, 3), zero.expand(-1, -1, 2), ended, zero.expand(-1, -1, 3), ended)
    for _ in range(400):
        one._descend("discriminator", one.discriminator_loss(rows))
    assert one._reward(one.absorbing).item() == pytest.approx(-log(4), abs=0.02)
    torch.testing.assert_close(one.reward(rows), torch.zeros(1, 64), rtol=0, atol=0.02)


def test_ends_that_only_the_learner_has_are_made_bad_where_dac_makes_them_best(some_rows):
    """Negative logits everywhere: without absorbing states an end is worth 0, the most there is."""
    ended = torch.cat([torch.zeros(1, 32), torch.ones(1, 32)], 1)
    rows = some_rows(batch=64)._replace(terminated=ended)
    quick = replace(SMALL, discriminator_rate=3e-3, temperature=1e-9, smoothing=1.0)
    biased, fair = (make(3, 2, Generators([0]), quick) for make in (DiscriminatorActorCritic, AbsorbingActorCritic))
    for one in (biased, fair):
        for _ in range(300):
            one._descend("discriminator", one.discriminator_loss(rows))
        one.discriminator.biases[-1].data -= 5
        for _ in range(2000 if one is fair else 0):
            one._follow()
        assert (one.reward(rows) < 0).all()
        # What going on for ever is worth with the rewards of these rows, and what ending is.
        going_on, ending = one.reward(rows) * 0.99 / 0.01, (one.target(rows) - one.reward(rows))[ended == 1]
        assert (ending < going_on.min()).all() if one is fair else (ending == 0).all()


def test_every_network_steps_once_in_an_update(some_rows):
    one = learner()
    one.update(some_rows())
    steps = {name: {int(s["step"]) for s in optimiser.state.values()} for name, optimiser in one.optimisers.items()}
    assert steps == {"critic": {1}, "actor": {1}, "temperature": {1}, "discriminator": {1}}


def test_a_member_is_its_single_run_and_a_state_goes_on(exact, some_rows):
    together, alone = learner((4, 8)), learner((8,))
    for step in range(3):
        rows = some_rows(members=2, seed=step)
        together.update(rows)
        alone.update(Transitions(*(value[1:] for value in rows)))
    for name in ("discriminator", "actor"):
        for ours, theirs in zip(getattr(together, name).parameters(), getattr(alone, name).parameters(), strict=True):
            torch.testing.assert_close(ours[1:], theirs, rtol=1e-6, atol=1e-8)
    state, other = copy.deepcopy(together.state_dict()), learner((1, 2))
    other.load_state_dict(state)
    for one in (together, other):
        one.update(some_rows(members=2))
    for name in ("discriminator", "actor"):
        for ours, theirs in zip(getattr(together, name).parameters(), getattr(other, name).parameters(), strict=True):
            assert torch.equal(ours, theirs)
    assert torch.equal(together.absorbing_value, other.absorbing_value)
    assert (other.absorbing_value != 0).all()
    assert not bool(together.diverged().any())
