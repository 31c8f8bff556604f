"""Gymnasium's environments with finitely many actions, played by populations of policies in this process."""

import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from typing import NamedTuple

import gymnasium as gym
import numpy as np
from jaxtyping import Float, Int

from imitation.envs.making import check_box

Act = Callable[[np.ndarray], np.ndarray]


class Episode(NamedTuple):
    """T steps: the states (T, D) in which actions (T,) were chosen, and the sum of rewards."""

    states: Float[np.ndarray, "T D"]
    actions: Int[np.ndarray, " T"]
    ret: float


def make(name: str) -> gym.Env:
    """An environment whose states are vectors, whose actions are 0 to A - 1, and whose episodes end.

    Raises:
        ValueError: one line: it cannot be built, or is another kind of environment.
    """
    try:
        # Box2D's bindings warn while they are imported, and crash where warnings are errors.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            env = gym.make(name, disable_env_checker=True)
    except (gym.error.Error, ImportError, TypeError) as error:
        raise ValueError(f"environment={name!r}: cannot be built: {' '.join(str(error).split())}") from error
    try:
        check_box("observation_space", env.observation_space)
        if not isinstance(env.action_space, gym.spaces.Discrete) or env.action_space.start:
            raise ValueError(f"action_space is {env.action_space}, only Discrete(n) is played")
        if env.spec is None or env.spec.max_episode_steps is None:
            raise ValueError("it has no time limit, an episode might never end")
    except ValueError as error:
        env.close()
        raise ValueError(f"environment={name!r}: {error}") from None
    return env


def sizes(name: str) -> tuple[int, int]:
    """D and A of an environment, as `make` builds it."""
    with closing(make(name)) as env:
        assert isinstance(env.action_space, gym.spaces.Discrete)
        return check_box("observation_space", env.observation_space).shape[0], int(env.action_space.n)


def episode(name: str, act: Act, seed: int) -> Episode:
    """One episode of a policy.

    Args:
        name: of the environment.
        act: states (1, 1, D), float64 -> actions (1, 1).
        seed: of the episode.
    """
    states, actions, ret, over = [], [], 0.0, False
    with closing(make(name)) as env:
        state, _ = env.reset(seed=seed)
        while not over:
            states.append(np.asarray(state, np.float64))
            actions.append(int(act(states[-1][None, None])[0, 0]))
            state, reward, terminated, truncated, _ = env.step(actions[-1])
            ret += float(reward)
            over = terminated or truncated
    return Episode(np.stack(states), np.array(actions), ret)


def returns(name: str, act: Act, seeds: Sequence[Sequence[int]], together: int = 20) -> Float[np.ndarray, "P E"]:
    """Returns (P, E) of P policies in E episodes each; a policy's return does not depend on what is played beside it.

    Args:
        name: of the environment.
        act: states (P, N, D), float64 -> actions (P, N), N at most `together`.
        seeds: (P, E), of the episodes.
        together: episodes of a member that are played at a time.

    Raises:
        ValueError: as `make`, or members with different numbers of episodes, or none.
    """
    members, episodes = len(seeds), {len(each) for each in seeds}
    if len(episodes) != 1 or 0 in episodes:
        raise ValueError(f"seeds of {sorted(episodes)} episodes: every member needs as many, and at least one")
    count = episodes.pop()
    width = min(together, count)
    total = np.zeros((members, count))
    playing = np.tile(np.arange(width), (members, 1))  # number of the episode in each place
    begun, live = [width] * members, np.ones((members, width), bool)
    with ExitStack() as stack:
        places = [[stack.enter_context(closing(make(name))) for _ in range(width)] for _ in range(members)]
        state = np.array([[env.reset(seed=s)[0] for env, s in zip(*pair, strict=False)]
                          for pair in zip(places, seeds, strict=True)], np.float64)  # fmt: skip
        while live.any():
            actions = act(state)
            for p, n in np.argwhere(live):
                state[p, n], reward, terminated, truncated, _ = places[p][n].step(int(actions[p, n]))
                total[p, playing[p, n]] += float(reward)
                if terminated or truncated:
                    live[p, n] = begun[p] < count
                    if live[p, n]:
                        playing[p, n], begun[p] = begun[p], begun[p] + 1
                        state[p, n] = places[p][n].reset(seed=seeds[p][playing[p, n]])[0]
    return total
