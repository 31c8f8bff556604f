"""Our soft actor-critic, served to `benchmarks/sac.py`."""

import sys

import control
import serving

REPLY = serving.open_reply()

import torch  # noqa: E402

from imitation.control.replay import Replay  # noqa: E402
from imitation.control.sac import Settings, SoftActorCritic  # noqa: E402
from imitation.control.training import Plan, Training, evaluate  # noqa: E402
from imitation.envs.control import Environments  # noqa: E402
from imitation.population import Generators  # noqa: E402


def training(seed: int, updates: int, every: int) -> Training:
    """One learner with one environment."""
    environments = Environments(control.ENVIRONMENT, [seed])
    sizes = environments.observation_dim, environments.action_dim
    settings = Settings(
        (control.HIDDEN, control.HIDDEN), discount=control.DISCOUNT, smoothing=control.SMOOTHING,
        actor_rate=control.RATE, critic_rate=control.RATE, temperature_rate=control.RATE,
    )  # fmt: skip
    learner = SoftActorCritic(*sizes, Generators([seed]), settings)
    plan = Plan(updates, control.WARM_UP, control.BATCH, every)
    return Training(learner, environments, Replay(1, *sizes, control.CAPACITY), plan)


class Blocks:
    """A training that is continued by a block at each call."""

    def __init__(self) -> None:
        self.training = training(0, control.BLOCK, control.BLOCK)

    def __call__(self) -> list[float]:
        """Take a block of steps."""
        self.training.plan = Plan(self.training.learner.updates + control.BLOCK, control.WARM_UP, control.BATCH,
                                  control.BLOCK)  # fmt: skip
        self.training.run(lambda _: None)
        return []


def curve(seed: int, steps: int) -> list[float]:
    """Mean returns of the mode along a training of that many steps."""
    one, found = training(seed, steps, steps // control.EVALUATIONS), []
    held_out = Environments(control.ENVIRONMENT, [control.HELD_OUT + seed], control.EPISODES)
    one.run(lambda _: found.append(float(evaluate(one.learner.actor.mode, held_out).mean())))
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    steps, seeds = (int(word) for word in sys.argv[1].split(","))
    curves = {f"curve/{seed}": lambda seed=seed: curve(seed, steps) for seed in control.curve_seeds(seeds)}
    serving.serve(REPLY, "", "torch", {"block": Blocks(), **curves})
