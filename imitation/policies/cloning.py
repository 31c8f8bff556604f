"""Behavioural cloning of tanh-Normal policies for a population: the losses, and the fit by Adam.

The faithful loss (Stirn et al. 2023, used by Watson et al. 2023) fits the mean by least squares as if there were no
deviation, and the deviation by likelihood around that mean. Under the plain likelihood a large deviation lets the fit
of the mean go slack: its errors are divided by the variance.
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from math import isfinite
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from imitation.nn.diverged import diverged, mark_diverged
from imitation.policies._tanh_normal import log_prob
from imitation.population import Generators, integers, random_states, restore, rows_at

Progress = Callable[[float, float], None]


def faithful_loss(
    policy: nn.Module, observation: Float[Tensor, "P B Dx"], action: Float[Tensor, "P B Da"]
) -> Float[Tensor, " P"]:
    """mean((tanh mu - a)^2) - mean log p(a; stop(mu), sd) per member (P,), features stopped on the deviation's path.

    The squares are averaged over rows and coordinates, the log-densities (nats, summed over coordinates) over rows.
    """
    mean, deviation = policy(observation, faithful=True)
    return _squares(mean, action) - log_prob(mean.detach(), deviation, action).mean(1)


def likelihood_loss(
    policy: nn.Module, observation: Float[Tensor, "P B Dx"], action: Float[Tensor, "P B Da"]
) -> Float[Tensor, " P"]:
    """The plain heteroscedastic likelihood, - mean log p(a; mu, sd) per member (P,), in nats."""
    mean, deviation = policy(observation)
    return -log_prob(mean, deviation, action).mean(1)


def squared_loss(
    policy: nn.Module, observation: Float[Tensor, "P B Dx"], action: Float[Tensor, "P B Da"]
) -> Float[Tensor, " P"]:
    """mean((tanh mu - a)^2) per member (P,): least squares, the deviation left as it is."""
    return _squares(policy(observation)[0], action)


def _squares(mean: Tensor, action: Tensor) -> Tensor:
    return (mean.tanh() - action).square().mean((1, 2))


LOSSES = {"faithful": faithful_loss, "likelihood": likelihood_loss, "squares": squared_loss}


@dataclass(frozen=True)
class Cloning:
    """Fits a population of tanh-Normal policies to demonstrations by Adam on minibatches drawn with replacement.

    Args:
        loss: "faithful" as published, "likelihood" or "squares".
        batch: rows per minibatch.
        learning_rate: Adam's, constant; 1e-3 as published, for 25 000 steps.

    Raises:
        ValueError: an unknown loss, or a size or rate that is not positive.
    """

    loss: str = "faithful"
    batch: int = 256
    learning_rate: float = 1e-3

    def __post_init__(self) -> None:
        rate = self.learning_rate
        if self.loss not in LOSSES or self.batch < 1 or not (rate > 0 and isfinite(rate)):
            raise ValueError(f"{self}: batch and rate must be positive, the loss one of {', '.join(LOSSES)}")

    def fit(
        self,
        policy: nn.Module,
        observations: Float[Tensor, "P T Dx"],
        actions: Float[Tensor, "P T Da"],
        random: Generators,
        steps: int,
        rows: Sequence[int] | None = None,
        progress: Progress | None = None,
    ) -> Bool[Tensor, " P"]:
        """Train the policy's members in place; each becomes what it would become alone, to rounding.

        A member whose loss is not finite is stopped, its parameters become NaN, and the others go on.

        Args:
            policy: its parameters and `forward(observation, faithful)` have a leading population axis.
            observations: (P, T, Dx), each member's own rows.
            actions: (P, T, Da), in [-1, 1].
            random: one generator per member, for the minibatches.
            steps: updates.
            rows: how many of the T rows each member has; all of them if None.
            progress: called with the steps done and the steps in all.

        Returns:
            (P,), the members that diverged.

        Raises:
            ValueError: shapes that do not fit, no rows, or data that are not finite or not in [-1, 1].
        """
        fit = Fit(self, policy, observations, actions, random, rows)
        while fit.steps < steps:
            fit.step()
            if progress:
                progress(fit.steps, steps)
        return diverged(policy)


class Fit:
    """A fit under way, which `state_dict` lets go on elsewhere. Arguments and errors are those of `Cloning.fit`.

    Attributes:
        fitted: the policy, or all that is fitted with it.
        steps: updates so far.
        diverged: (P,), the members that were stopped.
    """

    def __init__(
        self,
        cloning: Cloning,
        policy: nn.Module,
        observations: Float[Tensor, "P T Dx"],
        actions: Float[Tensor, "P T Da"],
        random: Generators,
        rows: Sequence[int] | None = None,
    ) -> None:
        self.rows = [observations.shape[1]] * len(random) if rows is None else list(rows)
        _check(observations, actions, random, self.rows)
        self.cloning, self.fitted, self.random = cloning, policy, random
        self.observations, self.actions = observations, actions
        self.optimiser = torch.optim.Adam(policy.parameters(), lr=cloning.learning_rate, fused=True)
        self.diverged = torch.zeros(len(random), dtype=torch.bool, device=actions.device)
        self.steps = 0

    def step(self) -> None:
        """One update of every member that has not diverged."""
        loss = self.loss()
        self.optimiser.zero_grad()
        loss.sum().backward()
        self.optimiser.step()
        self.diverged |= ~loss.detach().isfinite()
        if bool(self.diverged.any()):
            mark_diverged(self.fitted, self.diverged)
        self.steps += 1

    def loss(self) -> Float[Tensor, " P"]:
        """Each member's, (P,), of rows that are drawn now."""
        chosen = self.drawn()
        return LOSSES[self.cloning.loss](self.fitted, rows_at(self.observations, chosen), rows_at(self.actions, chosen))

    def drawn(self) -> Int[Tensor, "P B"]:
        """Row numbers (P, batch), drawn with replacement by each member."""
        return integers(self.random, self.rows, self.cloning.batch)

    def state_dict(self) -> dict[str, Any]:
        """A copy of all that the next step depends on, but for the data."""
        state = {
            "fitted": self.fitted.state_dict(), "optimiser": self.optimiser.state_dict(), "steps": self.steps,
            "diverged": self.diverged, "random": random_states(self.random),
        }  # fmt: skip
        return deepcopy(state)  # torch's are the living tensors, which the next step changes

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`'s."""
        self.fitted.load_state_dict(state["fitted"])
        self.optimiser.load_state_dict(deepcopy(state["optimiser"]))  # torch would go on in the state's tensors
        self.steps, self.diverged = state["steps"], state["diverged"].clone()
        restore(self.random, state["random"])


def _check(observations: Tensor, actions: Tensor, random: Generators, rows: Sequence[int]) -> None:
    members, most, _ = actions.shape
    fits = observations.shape[:2] == actions.shape[:2] and members == len(random) == len(rows)
    if not fits or min(rows) < 1 or max(rows) > most:
        shapes = f"observations {tuple(observations.shape)}, actions {tuple(actions.shape)}, rows {rows}"
        raise ValueError(f"{shapes}, {len(random)} generators: members and rows must agree, at least one row each")
    if not bool(observations.isfinite().all()) or not bool((actions.abs() <= 1).all()):
        raise ValueError("observations must be finite and actions in [-1, 1]")
