"""The marginal action sampler: negatives from a second energy model, of the actions alone, trained beside the first.

Ta et al. 2022, Section V: InfoNCE bounds the mutual information if its negatives are independent draws of p(y). So a
marginal model p_gamma(y) is trained by Langevin sampling, with maximum entropy or without (Appendix D), and the
samples of each of its training steps are the negatives of the conditional model's step.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from imitation.ebm import losses
from imitation.ebm.langevin import Langevin
from imitation.ebm.mlp import MLPEnergy
from imitation.ebm.negatives import Actions, Proposal, check_samples, uniform_actions
from imitation.nn.optimiser import Adam, Schedule
from imitation.population import RandomSource


class MarginalSampler(Proposal):
    """Draws M negatives for each observation from its model of p(y), and trains that model on the same samples.

    Args:
        energy: the marginal model, `observation_dim` 0.
        schedule: its learning rate.
        samples: M.
        bounds: where chains start.
        kernel: which Langevin.
        step_sizes: one per iteration.
        maximum_entropy: add half the variance of the samples' energies (Appendix A) to the MCMC loss (4), and
            `anchor` times the mean square of the demonstrated actions' energies.
        anchor: weight of that L2 term, which holds energies near zero.
        precision: of the sampler's arithmetic, float32 if not given.

    Raises:
        ValueError: a model of observations, no samples, an empty box, a negative weight, or an anchor without
            maximum_entropy.
    """

    def __init__(
        self,
        energy: MLPEnergy,
        schedule: Schedule,
        samples: int,
        bounds: tuple[float, float],
        kernel: Langevin,
        step_sizes: Sequence[float],
        maximum_entropy: bool = False,
        anchor: float = 0.0,
        precision: torch.dtype | None = None,
    ) -> None:
        check_samples(samples, bounds)
        if energy.observation_dim or not anchor >= 0:
            raise ValueError(f"observation_dim={energy.observation_dim}, anchor={anchor}: must be 0, and not negative")
        if anchor and not maximum_entropy:
            raise ValueError(f"anchor={anchor}: must be 0 without maximum_entropy")
        self.energy, self.samples, self.bounds = energy, samples, bounds
        self.kernel, self.step_sizes = kernel, list(step_sizes)
        self.maximum_entropy, self.anchor, self.precision = maximum_entropy, anchor, precision
        self._adam = Adam(energy.parameters(), schedule)

    def draw(self, energy, observation, positive, random: RandomSource) -> Actions:
        """M independent samples of p_gamma(y) for each row, (P, B, M, Dy); the conditional model is not asked."""
        start = uniform_actions(positive, self.samples, self.bounds, random)
        gradient = self.energy.action_gradient(positive[..., :0], self.precision)
        return self.kernel.sample(gradient, start, self.step_sizes, random)[0]

    def learn(self, positive: Float[Tensor, "P B Dy"], negatives: Actions) -> None:
        """One step down the marginal model's loss."""
        self._adam.step(self.loss(positive, negatives).sum())

    def loss(self, positive: Float[Tensor, "P B Dy"], negatives: Actions) -> Float[Tensor, "P"]:
        """The marginal model's loss for each member: all P's negatives are samples of its one distribution."""
        every = torch.cat([positive[:, None], negatives.flatten(1, 2)[:, None]], 2)
        energies = self.energy(every[:, :, 0, :0], every)[:, 0]  # (P, B + B M)
        ours, theirs = energies.split([positive.shape[1], negatives[0, ..., 0].numel()], 1)
        if not self.maximum_entropy:
            return losses.mcmc(ours.mean(1), theirs)
        return losses.entropy_regularised(ours.mean(1), theirs) + self.anchor * ours.square().mean(1)

    def state_dict(self) -> dict[str, Any]:
        return {"energy": self.energy.state_dict(), "adam": self._adam.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.energy.load_state_dict(state["energy"])
        self._adam.load_state_dict(state["adam"])
