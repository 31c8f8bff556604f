"""stable-baselines3's soft actor-critic, served to `benchmarks/sac.py`."""
# pyright: reportMissingImports=false
# The peer is installed in an environment of its own.

import sys

import control
import serving

REPLY = serving.open_reply()

import gymnasium  # noqa: E402
import torch  # noqa: E402
from stable_baselines3 import SAC  # noqa: E402
from stable_baselines3.common.evaluation import evaluate_policy  # noqa: E402
from stable_baselines3.common.monitor import Monitor  # noqa: E402


def learner(seed: int) -> SAC:
    """One learner with one environment; what is not given is its default and equals ours."""
    return SAC(
        "MlpPolicy", gymnasium.make(control.ENVIRONMENT), learning_rate=control.RATE, buffer_size=control.CAPACITY,
        learning_starts=control.WARM_UP, batch_size=control.BATCH, tau=control.SMOOTHING, gamma=control.DISCOUNT,
        policy_kwargs={"net_arch": [control.HIDDEN, control.HIDDEN]}, seed=seed, device="cpu",
    )  # fmt: skip


class Blocks:
    """A training that is continued by a block at each call."""

    def __init__(self) -> None:
        self.learner = learner(0)
        self.learner.learn(control.WARM_UP)

    def __call__(self) -> list[float]:
        """Take a block of steps."""
        self.learner.learn(control.BLOCK, reset_num_timesteps=False)
        return []


def curve(seed: int, steps: int) -> list[float]:
    """Mean returns of the mode along a training of that many steps after the warm-up."""
    one, found = learner(seed), []
    held_out = Monitor(gymnasium.make(control.ENVIRONMENT))
    held_out.reset(seed=control.HELD_OUT + seed)
    one.learn(control.WARM_UP)
    for _ in range(control.EVALUATIONS):
        one.learn(steps // control.EVALUATIONS, reset_num_timesteps=False)
        found.append(float(evaluate_policy(one, held_out, control.EPISODES)[0]))
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    steps, seeds = (int(word) for word in sys.argv[1].split(","))
    curves = {f"curve/{seed}": lambda seed=seed: curve(seed, steps) for seed in control.curve_seeds(seeds)}
    serving.serve(REPLY, "stable-baselines3", "torch", {"block": Blocks(), **curves})
