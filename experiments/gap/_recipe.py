"""The hyperparameters that the trained experiments share, and what is built from them; values in configs/recipe."""

from dataclasses import dataclass

import torch

from experiments.harness.schema import BadInputError, bounded
from imitation.ebm.inference import LangevinMinimiser
from imitation.ebm.langevin import Langevin
from imitation.ebm.mlp import MLPEnergy
from imitation.ebm.negatives import LongChain, ShortChains
from imitation.ebm.residual import ResidualEnergy
from imitation.ebm.schedules import polynomial
from imitation.nn.optimiser import Schedule, cosine, stepwise
from imitation.policies.scaling import Scaling
from imitation.population import Generators

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass
class Recipe:
    """Actions are scaled to [-1, 1]; clip, margin and distances are in these units.

    clip: largest change of a coordinate in one Langevin iteration. margin: chains stay in [-margin, margin].
    step_initial, step_final: polynomial schedule of power 2, lambda in IBC's form, tau = lambda / 2 in the true one.
    network: plain, layer after layer with ReLU between them, or residual, of blocks of two layers after a first one.
    spectral_norm: of a residual network. hidden: widths of the layers; of a residual network all the same.
    decay: of the learning rate, stepwise (factor per decay_every steps) or cosine to 0. precision: of the sampler.
    """

    spectral_norm: bool
    network: str = bounded(choices=("plain", "residual"))
    hidden: list[int] = bounded(1, 4096)
    batch: int = bounded(1, 1_000_000)
    learning_rate: float = bounded(1e-8, 1)
    decay: str = bounded(choices=("stepwise", "cosine"))
    decay_factor: float = bounded(1e-3, 1)
    decay_every: int = bounded(1)
    steps: int = bounded(1, 100_000_000)
    negatives: int = bounded(1, 100_000)
    iterations: int = bounded(1, 10_000)
    step_initial: float = bounded(1e-9, 100)
    step_final: float = bounded(1e-9, 100)
    noise_scale: float = bounded(0, 100)
    clip: float = bounded(1e-9, 100)
    margin: float = bounded(1, 10)
    penalty: float = bounded(0, 1000)
    demonstrations: int = bounded(1, 100_000)
    observation_scaling: str = bounded(choices=("min_max", "z_score"))
    inference_samples: int = bounded(1, 100_000)
    inference_iterations: list[int] = bounded(1, 10_000, unique=True)
    inference_noise_scale: float = bounded(0, 100)
    precision: str = bounded(choices=tuple(PRECISIONS))

    def __post_init__(self) -> None:
        blocks = all(one == self.hidden[0] for one in self.hidden) and len(self.hidden) % 2 == 0
        if (self.network == "residual" and not blocks) or (self.network == "plain" and self.spectral_norm):
            given = f"network={self.network}, hidden={self.hidden}, spectral_norm={self.spectral_norm}"
            raise BadInputError(f"{given}: a residual network has an even number of equal widths, others no such norm")

    @property
    def bounds(self) -> tuple[float, float]:
        """Where chains start and stay."""
        return -self.margin, self.margin

    def learning_rates(self) -> Schedule:
        """Step -> learning rate."""
        if self.decay == "cosine":
            return cosine(self.learning_rate, self.steps)
        return stepwise(self.learning_rate, self.decay_factor, self.decay_every)

    def chain(self, form: str, iterations: int, noise_scale: float | None = None) -> tuple[Langevin, list[float]]:
        """A kernel and its step sizes; the true form (8) at noise scale 1 and lambda = 2 tau (Appendix C)."""
        sizes = polynomial(self.step_initial, self.step_final, iterations)
        if form == "true":
            return Langevin("true", 1.0, self.clip, self.bounds), [2 * size for size in sizes]
        noise = self.noise_scale if noise_scale is None else noise_scale
        return Langevin("ibc", noise, self.clip, self.bounds), sizes

    def short_chains(self, form: str = "ibc", noise_scale: float | None = None) -> ShortChains:
        """`negatives` chains of `iterations` steps."""
        kernel, sizes = self.chain(form, self.iterations, noise_scale)
        return ShortChains(self.negatives, self.bounds, kernel, sizes, PRECISIONS[self.precision])

    def long_chain(self, form: str = "ibc", noise_scale: float | None = None) -> LongChain:
        """One chain of as many gradient evaluations as the short ones take together."""
        kernel, sizes = self.chain(form, self.iterations * self.negatives, noise_scale)
        return LongChain(self.negatives, self.bounds, kernel, sizes, PRECISIONS[self.precision])

    def minimiser(self, iterations: int) -> LangevinMinimiser:
        """IBC's form with the noise of inference."""
        kernel, sizes = self.chain("ibc", iterations, self.inference_noise_scale)
        return LangevinMinimiser(self.inference_samples, self.bounds, kernel, sizes, PRECISIONS[self.precision])

    def energy(self, observation_dim: int, action_dim: int, random: Generators) -> MLPEnergy:
        """Energies of one member for each generator."""
        if self.network == "plain":
            return MLPEnergy(observation_dim, action_dim, random, self.hidden, members=len(random))
        sizes = {"width": self.hidden[0], "blocks": len(self.hidden) // 2, "members": len(random)}
        return ResidualEnergy(observation_dim, action_dim, random, **sizes, spectral_norm=self.spectral_norm)

    def scaling(self, observations: torch.Tensor) -> Scaling:
        """Of observations (P, T, Dx)."""
        return getattr(Scaling, self.observation_scaling)(observations)
