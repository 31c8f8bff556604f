"""Adam with a learning rate that is a function of the number of steps taken, as energies are trained."""

import copy
import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

Schedule = Callable[[int], float]


def stepwise(rate: float, factor: float, every: int) -> Schedule:
    """rate times factor^(step // every), as Ta et al. 2022, Appendix D; IBC's code decays by a little in every step."""
    if not rate > 0 or not 0 < factor <= 1 or every < 1:
        raise ValueError(f"rate={rate}, factor={factor}, every={every}: need rate > 0, 0 < factor <= 1, every >= 1")
    return lambda step: rate * factor ** (step // every)


def cosine(rate: float, steps: int) -> Schedule:
    """From rate at step 0 to 0 at `steps` along half a cosine."""
    if not rate > 0 or steps < 1:
        raise ValueError(f"rate={rate}, steps={steps}: must be positive")
    return lambda step: rate * (1 + math.cos(math.pi * min(step, steps) / steps)) / 2


class Adam:
    """torch's Adam over parameters with a leading population axis: it acts on each number alone, so on each member."""

    def __init__(self, parameters: Iterable[torch.nn.Parameter], schedule: Schedule) -> None:
        self.schedule, self.steps = schedule, 0
        self._adam = torch.optim.Adam(parameters, lr=schedule(0), fused=True)

    def step(self, loss: Tensor) -> None:
        """Go down the gradient of a scalar, the members' losses summed."""
        for group in self._adam.param_groups:
            group["lr"] = self.schedule(self.steps)
        self._adam.zero_grad()
        loss.backward()
        self._adam.step()
        self.steps += 1

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self.steps, "adam": self._adam.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.steps = state["steps"]
        self._adam.load_state_dict(copy.deepcopy(state["adam"]))  # torch would go on in the state's own tensors
