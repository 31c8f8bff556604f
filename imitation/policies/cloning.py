"""Behavioural cloning of tanh-Normal policies for a population: the losses, and the fit by Adam.

The faithful loss (Stirn et al. 2023, used by Watson et al. 2023) fits the mean by least squares as if there were no
deviation, and the deviation by likelihood around that mean. Under the plain likelihood a large deviation lets the fit
of the mean go slack: its errors are divided by the variance.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from imitation.policies._tanh_normal import log_prob
from imitation.population import Generators

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
        rows = [observations.shape[1]] * len(random) if rows is None else list(rows)
        _check(observations, actions, random, rows)
        optimiser = torch.optim.Adam(policy.parameters(), lr=self.learning_rate, fused=True)
        diverged = torch.zeros(len(random), dtype=torch.bool, device=actions.device)
        for step in range(steps):
            chosen = self._minibatch(random, rows, actions.device)
            loss = LOSSES[self.loss](policy, observations.gather(1, _wide(chosen, observations)),
                                     actions.gather(1, _wide(chosen, actions)))  # fmt: skip
            optimiser.zero_grad()
            loss.sum().backward()
            optimiser.step()
            diverged |= ~loss.detach().isfinite()
            if bool(diverged.any()):
                spoil(policy, diverged)
            if progress:
                progress(step + 1, steps)
        return diverged

    def _minibatch(self, random: Generators, rows: Sequence[int], device: torch.device) -> Tensor:
        """Row numbers (P, batch), drawn with replacement by each member."""
        members = zip(rows, random.members, strict=True)
        return torch.stack([torch.randint(n, (self.batch,), generator=one, device=device) for n, one in members])


@torch.no_grad()
def spoil(policy: nn.Module, members: Bool[Tensor, " P"]) -> None:
    """Set every parameter of these members to NaN: no later update brings them back."""
    for value in policy.parameters():
        value[members] = torch.nan


def _wide(chosen: Tensor, data: Tensor) -> Tensor:
    return chosen[..., None].expand(-1, -1, data.shape[-1])


def _check(observations: Tensor, actions: Tensor, random: Generators, rows: Sequence[int]) -> None:
    members, most, _ = actions.shape
    fits = observations.shape[:2] == actions.shape[:2] and members == len(random) == len(rows)
    if not fits or min(rows) < 1 or max(rows) > most:
        shapes = f"observations {tuple(observations.shape)}, actions {tuple(actions.shape)}, rows {rows}"
        raise ValueError(f"{shapes}, {len(random)} generators: members and rows must agree, at least one row each")
    if not bool(observations.isfinite().all()) or not bool((actions.abs() <= 1).all()):
        raise ValueError("observations must be finite and actions in [-1, 1]")
