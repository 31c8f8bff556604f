"""Energy-based distribution matching (EDM, Jarrett et al. 2020): one network is a policy and a model of the states.

With logits f(s)[a] the policy is pi(a|s) = softmax f(s), and the states are modelled by p(s) ~ exp(-E(s)) with
E(s) = -logsumexp f(s). (Swamy et al. 2021 print the other sign in (4); with it samples would leave the data.) The loss
is the cross-entropy, -log p(s) whose gradient is that of

    rho = mean logsumexp f(samples of p) - mean logsumexp f(demonstrated states),

and, in the official code though not in the paper, rho^2. The samples come from a buffer of chains that are moved on by
some Langevin steps at every update. Without the state term this is behavioural cloning.
"""

import math
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from imitation.ebm.sgld import OFFICIAL_ALPHA, OFFICIAL_REINITIALISED, OFFICIAL_SIGMA, OFFICIAL_STEPS, kernel
from imitation.nn.diverged import diverged, mark_diverged
from imitation.nn.optimiser import Adam
from imitation.nn.relu import ReluNetwork
from imitation.population import Generators, integers, random_states, restore, uniform_like

Pairs = tuple[Tensor, Tensor]  # states (T, D) and actions (T,), integers, of one member


class LogSumExp(ReluNetwork):
    """P perceptrons with ELU between the layers, and the logarithm of their summed exponentials as a log-density.

    Arguments and start are those of `ReluNetwork`, not its activation. With one output the log-density is the output.
    """

    def forward(self, value: Float[Tensor, "P B D"]) -> Float[Tensor, "P B A"]:
        """States (P, B, D) -> logits (P, B, A)."""
        return self._layers(value)[-1]

    def log_density(self, states: Float[Tensor, "P B D"]) -> Float[Tensor, "P B"]:
        """logsumexp f(s), (P, B): log p(s) but for a constant."""
        return self(states).logsumexp(-1)

    @torch.no_grad()
    def slope(self, states: Float[Tensor, "P B D"]) -> Float[Tensor, "P B D"]:
        """The gradient of `log_density` in the states, written out: it needs no graph."""
        *hidden, logits = self._layers(states)
        slope = torch.bmm(logits.softmax(-1), self.weights[-1].mT)
        for weight, value in zip(reversed(list(self.weights)[:-1]), reversed(hidden), strict=True):
            slope = torch.bmm(slope * (value.clamp(max=0) + 1), weight.mT)  # the ELU's own value tells its slope
        return slope

    def _layers(self, value: Tensor) -> list[Tensor]:
        """What every layer gives, after its ELU but for the last."""
        layers = []
        *inner, (weight, bias) = zip(self.weights, self.biases, strict=True)
        for one, offset in inner:
            value = nn.functional.elu(torch.baddbmm(offset, value, one))
            layers.append(value)
        return [*layers, torch.baddbmm(bias, value, weight)]


@dataclass(frozen=True)
class StateTerm:
    """How the states are modelled; the defaults are the official code's.

    Args:
        alpha, sigma: step and noise of a Langevin update, s' = s + alpha grad log p(s) + sigma w.
        steps: updates of a chain each time it is picked up.
        reinitialised: probability that it starts afresh from U(-1, 1) then.
        buffer: chains kept by a member.
        square: weight of rho^2.
        shifted: whether p(s) has a network g(s) of its own beside the logits, E(s) = -logsumexp f(s) - g(s), which
            leaves the policy's probabilities as they are (Swamy et al. 2021, (6)). The logits are still trained by the
            state term, until g has taken over what it asks for. Without f in E(s) the policy would be the clone.

    Raises:
        ValueError: alpha, steps or buffer not positive, sigma or square negative, one of these not finite, or
            reinitialised outside [0, 1].
    """

    alpha: float = OFFICIAL_ALPHA
    sigma: float = OFFICIAL_SIGMA
    steps: int = OFFICIAL_STEPS
    reinitialised: float = OFFICIAL_REINITIALISED
    buffer: int = 10_000
    square: float = 1.0
    shifted: bool = False

    def __post_init__(self) -> None:
        bad = min(self.alpha, self.steps, self.buffer) <= 0 or min(self.sigma, self.square) < 0
        finite = all(map(math.isfinite, (self.alpha, self.sigma, self.square)))
        if bad or not finite or not 0 <= self.reinitialised <= 1:
            rule = "alpha, steps, buffer must be positive, sigma, square not negative, reinitialised in [0, 1]; finite"
            raise ValueError(f"{self}: {rule}")


class Info(NamedTuple):
    """Of one update, each (P,): the cross-entropy (nats), and rho, 0 without a state term."""

    cross_entropy: Float[Tensor, " P"]
    rho: Float[Tensor, " P"]


class Batch(NamedTuple):
    """Rows of each member, and their weights (P, B), which add up to 1; a row of weight 0 only fills up."""

    states: Float[Tensor, "P B D"]
    actions: Int[Tensor, "P B"]
    weights: Float[Tensor, "P B"]


class DistributionMatching:
    """Trains P policies by EDM, or, without a state term, by cloning; each is what it would be alone, to rounding.

    A member whose loss is not finite is stopped: its weights become NaN, and the others go on.

    Args:
        demonstrations: states (T, D) and actions (T,) of each member; T may differ.
        actions: A, how many actions there are.
        random: draws the networks' start, and the minibatches: they are the same with every state term.
        chains: draws the buffer and moves it.
        term: of the states; None for cloning.
        hidden: widths of the layers.
        batch: pairs per update, each at most once, and as many chains; all of a member's pairs where it has fewer.
        learning_rate: Adam's.

    Raises:
        ValueError: members and generators differ in number, a member has no pairs, or other states than the rest, an
            action is not among 0 to A - 1, a state is not finite, or a batch is larger than the buffer.
    """

    def __init__(
        self,
        demonstrations: Sequence[Pairs],
        actions: int,
        random: Generators,
        chains: Generators,
        term: StateTerm | None,
        hidden: Sequence[int] = (64, 64),
        batch: int = 32,
        learning_rate: float = 1e-3,
    ) -> None:
        _check(demonstrations, actions, len(random), len(chains))
        if term and batch > term.buffer:
            raise ValueError(f"batch={batch}: more than the {term.buffer} chains of the buffer")
        self.random, self.chains, self.term = random, chains, term
        self.counts = [len(chosen) for _, chosen in demonstrations]
        self.batch = batch
        states, chosen = zip(*demonstrations, strict=True)
        self.states, self.actions = (nn.utils.rnn.pad_sequence(list(one), batch_first=True) for one in (states, chosen))
        width = self.states.shape[-1]
        self.policy = LogSumExp([width, *hidden, actions], random, self.states)
        self.densities = [self.policy]
        if term and term.shifted:
            self.densities.append(LogSumExp([width, *hidden, 1], chains, self.states))
        if term:
            self.buffer = uniform_like(self.states.new_empty(len(chains), term.buffer, width), chains, -1.0, 1.0)
        self._adam = Adam([one for part in self.densities for one in part.parameters()], lambda step: learning_rate)

    @property
    def updates(self) -> int:
        """Made so far."""
        return self._adam.steps

    @property
    def diverged(self) -> Bool[Tensor, " P"]:
        """Members with weights that are not finite."""
        return torch.stack([diverged(part) for part in self.densities]).any(0)

    @torch.no_grad()
    def act(self, states: Float[Tensor, "P N D"]) -> Int[Tensor, "P N"]:
        """The most probable actions (P, N); of a diverged member the first."""
        return self.policy(states.to(self.states)).nan_to_num(0.0).argmax(-1)

    def log_density(self, states: Float[Tensor, "P B D"]) -> Float[Tensor, "P B"]:
        """log p(s) but for a constant, (P, B)."""
        return sum(part.log_density(states) for part in self.densities)  # type: ignore[return-value]

    def update(self) -> Info:
        """One step of Adam on one minibatch."""
        batch = self.minibatch()
        cross_entropy, rho = self.loss(batch, self.samples(batch.weights > 0) if self.term else None)
        loss = cross_entropy if self.term is None else cross_entropy + rho + self.term.square * rho.square()
        self._adam.step(loss.sum())
        failed = ~loss.detach().isfinite()
        if bool(failed.any()):
            for part in self.densities:
                mark_diverged(part, failed)
        return Info(cross_entropy.detach(), rho.detach())

    def loss(self, batch: Batch, samples: Float[Tensor, "P B D"] | None) -> tuple[Tensor, Tensor]:
        """Cross-entropy and rho, both (P,) and with a graph; rho is 0 without samples."""
        logits = self.policy(batch.states)
        likelihood = logits.log_softmax(-1).take_along_dim(batch.actions[..., None], -1)[..., 0]
        cross_entropy = -(batch.weights * likelihood).sum(-1)
        if samples is None:
            return cross_entropy, torch.zeros_like(cross_entropy)
        difference = self.log_density(samples) - self.log_density(batch.states)
        return cross_entropy, (batch.weights * difference).sum(-1)

    def minibatch(self) -> Batch:
        """Rows drawn without replacement by each member's generator."""
        places = torch.zeros(len(self.counts), self.batch, dtype=torch.long, device=self.states.device)
        weights = torch.zeros(places.shape, dtype=self.states.dtype, device=self.states.device)
        for member, (count, generator) in enumerate(zip(self.counts, self.random.members, strict=True)):
            drawn = torch.randperm(count, generator=generator, device=places.device)[: self.batch]
            places[member, : len(drawn)] = drawn
            weights[member, : len(drawn)] = 1 / len(drawn)
        members = torch.arange(len(places), device=places.device)[:, None]
        return Batch(self.states[members, places], self.actions[members, places], weights)

    def samples(self, used: Bool[Tensor, "P B"]) -> Float[Tensor, "P B D"]:
        """Chains of each member, picked at random and moved on; those that are used are put back where they were."""
        term = self.term
        assert term is not None
        places = integers(self.chains, term.buffer, used.shape[1])
        members = torch.arange(len(places), device=places.device)[:, None].expand_as(places)
        start = self.buffer[members, places]
        afresh = uniform_like(start[..., :1], self.chains) < term.reinitialised
        start = torch.where(afresh, uniform_like(start, self.chains, -1.0, 1.0), start)
        langevin, size = kernel(torch.tensor(term.alpha), torch.tensor(term.sigma))
        moved = langevin.sample(self._energy_slope, start, [size] * term.steps, self.chains)[-1]
        self.buffer[members[used], places[used]] = moved[used]
        return moved

    def _energy_slope(self, states: Tensor) -> Tensor:
        return -sum(part.slope(states) for part in self.densities)  # type: ignore[return-value]

    def state_dict(self) -> dict[str, Any]:
        """A copy of all that an update changes."""
        generators = [random_states(source) for source in (self.random, self.chains)]
        networks = [{name: value.clone() for name, value in part.state_dict().items()} for part in self.densities]
        state = {"networks": networks, "adam": deepcopy(self._adam.state_dict()), "generators": generators}
        return state | ({"buffer": self.buffer.clone()} if self.term else {})

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`'s."""
        for part, values in zip(self.densities, state["networks"], strict=True):
            part.load_state_dict(values)
        self._adam.load_state_dict(state["adam"])
        for source, values in zip((self.random, self.chains), state["generators"], strict=True):
            restore(source, values)
        if self.term:
            self.buffer.copy_(state["buffer"])


def _check(demonstrations: Sequence[Pairs], actions: int, *generators: int) -> None:
    members = len(demonstrations)
    if any(count != members for count in generators) or not members:
        raise ValueError(f"{members} members, generators for {' and '.join(map(str, generators))}: must be the same")
    width = demonstrations[0][0].shape[-1]
    for number, (states, chosen) in enumerate(demonstrations):
        if states.ndim != 2 or chosen.shape != states.shape[:1] or not len(chosen) or states.shape[1] != width:
            raise ValueError(f"member {number}: states {tuple(states.shape)}, actions {tuple(chosen.shape)}: must fit")
        if not bool(states.isfinite().all()) or not 0 <= int(chosen.min()) <= int(chosen.max()) < actions:
            raise ValueError(f"member {number}: states must be finite, actions among 0 to {actions - 1}")
