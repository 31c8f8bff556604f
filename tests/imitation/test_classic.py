"""Environments with finitely many actions and their kept experts: episodes, returns, files and refusals."""

import json
import sys

import gymnasium as gym
import numpy as np
import pytest

from imitation.demonstrations import classic
from imitation.envs.classic import episode, make, returns, sizes

CART = "CartPole-v1"


def leaning(states: np.ndarray) -> np.ndarray:
    """Push to where the pole falls."""
    return (states[..., 2] > 0).astype(int)


def test_an_episode_is_gymnasiums_own():
    one = episode(CART, leaning, 7)
    env = gym.make(CART)
    state, _ = env.reset(seed=7)
    for kept, action in zip(one.states, one.actions, strict=True):
        assert np.array_equal(kept, state.astype(np.float64))
        assert action == int(leaning(state))
        state, _, terminated, truncated, _ = env.step(action)
    assert terminated or truncated
    assert one.ret == len(one.actions)


@pytest.mark.parametrize("together", [1, 2, 20])
def test_returns_do_not_depend_on_what_is_played_beside(together):
    seeds = [[1, 2, 3], [3, 4, 5]]
    found = returns(CART, lambda states: np.stack([leaning(states[0]), 1 - leaning(states[1])]), seeds, together)
    alone = [[episode(CART, act, seed).ret for seed in block]
             for act, block in zip((leaning, lambda states: 1 - leaning(states)), seeds, strict=True)]  # fmt: skip
    assert found.tolist() == alone


def test_sizes_are_the_environments():
    assert [sizes(name) for name in classic.RECIPES] == [(4, 2), (6, 3), (8, 4)]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Pendulum-v1", "only Discrete"),
        ("FrozenLake-v1", "only vectors"),
        ("NoSuchThing-v1", "cannot be built"),
    ],
)
def test_another_environment_is_refused_in_one_line(name, message):
    with pytest.raises(ValueError, match=message) as caught:
        make(name)
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)


@pytest.mark.parametrize("seeds", [[[1], [1, 2]], [[]]])
def test_members_need_as_many_episodes(seeds):
    with pytest.raises(ValueError, match="every member needs as many"):
        returns(CART, leaning, seeds)


# ---- experts ----


@pytest.mark.parametrize("name", classic.RECIPES)
def test_an_expert_does_what_its_card_says(name):
    """On a part of the card's own episodes; the mean of all lies within what they vary by."""
    expert = classic.load(name)
    kept = expert.card["return"]
    found = returns(name, expert.act, [range(classic.MEASUREMENT, classic.MEASUREMENT + 10)])[0]
    assert found.min() >= kept["least"] - 1e-6
    assert abs(found.mean() - kept["mean"]) <= 4 * kept["sd"] / 10**0.5
    assert expert.card["environment"] == name


def test_demonstrations_are_numbered_and_come_again():
    every, some = classic.demonstrations(CART, 3, 2), classic.demonstrations(CART, 4, 1)
    assert np.array_equal(every[1].states, some[0].states)
    assert not np.array_equal(every[0].states[0], every[1].states[0])
    assert np.array_equal(classic.load(CART).act(some[0].states), some[0].actions)


def test_the_network_is_two_tanh_layers():
    """Against the mathematics written out."""
    expert = classic.load(CART)
    (a, b, c), (d, e, f) = expert.weights, expert.biases
    states = np.random.default_rng(0).normal(size=(5, 4))
    logits = np.tanh(np.tanh(states @ a + d) @ b + e) @ c + f
    assert np.array_equal(expert.act(states), logits.argmax(1))


@pytest.mark.parametrize("broken", ["policy", "card", "half"])
def test_a_file_that_its_card_does_not_describe_is_refused(broken, tmp_path, monkeypatch):
    for kind in ("safetensors", "json"):
        content = (classic.FOLDER / f"{CART}.{kind}").read_bytes()
        (tmp_path / f"{CART}.{kind}").write_bytes(content)
    policy, card = tmp_path / f"{CART}.safetensors", tmp_path / f"{CART}.json"
    if broken == "policy":
        policy.write_bytes(policy.read_bytes()[:-1] + b"x")
    elif broken == "card":
        card.write_text(json.dumps({"environment": CART}))
    else:
        card.write_text(card.read_text()[:50])
    monkeypatch.setattr(classic, "FOLDER", tmp_path)
    with pytest.raises(ValueError, match="not the policy of its card"):
        classic.load(CART)


def test_an_expert_that_is_not_kept_is_refused():
    with pytest.raises(ValueError, match="none is kept; there are Acrobot-v1"):
        classic.load("MountainCar-v0")


def test_training_without_its_library_is_one_line(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "stable_baselines3", None)
    assert classic.main([CART]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: training takes stable-baselines3")
    assert error.count("\n") == 1
