"""Coherent soft imitation learning, online: Watson et al. 2023, Sections 3 and 4 and their published code.

1. q is fitted to the demonstrations with the faithful loss: a `HetStat` by `Cloning`.
2. The coherent reward r = alpha (log q(a|s) + |A| ln 2) makes q optimal for the entropy-regularised problem of
   temperature alpha, whatever the dynamics (their Section 3). `CoherentSoftImitation.pretrain` fits a critic to it.
3. Soft policy iteration at a lower temperature beta, from q and with q as prior, goes on with new experience, while
   the reward is refined: up on the demonstrations, down where the policy goes.

Different from the published code: pairs of actions do not cross episodes, as `pretrain` says, and the bound of values
follows alpha, where there it is that of alpha = 1/|A|.
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isfinite, log
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from imitation.control.imitation_rows import DemonstrationRows, Noted, halves
from imitation.control.networks import Policy, SmoothCritics
from imitation.control.replay import Transitions
from imitation.control.sac import Info, Settings, SoftActorCritic, per_member
from imitation.policies import tanh_normal
from imitation.population import Generators, RandomSource, normal_like, rows_at

# Per action coordinate and alpha; values are clipped as if no reward were larger. Some are: at a small deviation the
# log-density grows with the mean, since tanh squeezes actions towards the limits.
CLIPPED_REWARD = -0.5 * log(1e-5) + log(2)
BLOCK = 4096  # rows that the cloned policy sees at once
LOWEST_REWARD = -5.0  # the exponential in the refinement goes no further


@dataclass(frozen=True)
class CoherentSettings(Settings):
    """Of CSIL, with the published values. What has "per member" may be one number for all members or one for each.

    Args:
        copies: critics; one, as published.
        temperature: beta, of the policy, per member; fixed. Published below alpha, which is not checked.
        temperature_rate: must be 0.
        alpha: of the reward, per member; 1 / |A| if None.
        prior: 1 charges the policy's divergence from the cloned policy, 0 that from the uniform one; per member.
        refinement_rate: of gradient descent on the reward's policy, per member; 0 leaves the reward as cloned.
        jacobian: weight of the root mean square of |dQ/da| at demonstrations, per member.
        clip: whether V' is held below alpha |A| 6.45 / (1 - gamma).
        pretraining: steps of `pretrain`.
        pretraining_rate: Adam's there.

    Raises:
        ValueError: a value outside its range.
    """

    copies: int = 1
    temperature: float | Sequence[float] = 0.01
    temperature_rate: float = 0.0
    alpha: float | Sequence[float] | None = None
    prior: float | Sequence[float] = 1.0
    refinement_rate: float | Sequence[float] = 1e-3
    jacobian: float | Sequence[float] = 1.0
    clip: bool = True
    pretraining: int = 5000
    pretraining_rate: float = 1e-4

    def __post_init__(self) -> None:
        super().__post_init__()
        given = [_all(self.alpha), _all(self.prior), _all(self.refinement_rate), _all(self.jacobian)]
        if not all(isfinite(value) for one in given for value in one) or not isfinite(self.pretraining_rate):
            raise ValueError(f"{self}: alpha, prior, rates and weights must be finite")
        if min(min(one) for one in given) < 0 or max(given[1]) > 1 or min(given[0]) == 0:
            raise ValueError(f"{self}: alpha must be positive, prior in [0, 1], rates and weights not negative")
        if self.temperature_rate or self.pretraining < 0 or self.pretraining_rate <= 0:
            raise ValueError(f"{self}: the temperature must be fixed, steps not negative, pretraining_rate positive")


def _all(value: float | Sequence[float] | None) -> Sequence[float]:
    return value if isinstance(value, Sequence) else [1.0 if value is None else value]


class CoherentInfo(Info):
    """`Info`, and `diagnostics`, each (P,).

    at_limits: share of the policy's action coordinates beyond +-.999. value_share: the largest |Q| of the batch over
    the bound of `clip`. demonstrated, replayed: mean rewards. largest: the largest reward. slope: root mean square of
    |dQ/da| at demonstrations.
    """

    diagnostics: dict[str, Float[Tensor, " P"]]

    @classmethod
    def of(cls, info: Info, diagnostics: dict[str, Float[Tensor, " P"]]) -> "CoherentInfo":
        """Both together."""
        whole = cls(*info)
        whole.diagnostics = diagnostics
        return whole


class CoherentActor(Policy):
    """A tanh-Normal policy such as `HetStat` as the actor."""

    def __init__(self, policy: nn.Module) -> None:
        super().__init__()
        self.policy = policy

    def forward(self, observation: Float[Tensor, "P B Do"]) -> tuple[Tensor, Tensor]:
        """Mean and deviation before the tanh, both (P, B, Da)."""
        return self.policy(observation)

    def sample(
        self, observation: Float[Tensor, "P B Do"], random: RandomSource
    ) -> tuple[Float[Tensor, "P B Da"], Float[Tensor, "P B"]]:
        """Actions (P, B, Da) with their log-density (P, B), both differentiable in the parameters."""
        mean, deviation = self(observation)
        return tanh_normal.sample(mean, deviation, random)

    @torch.no_grad()
    def mode(self, observation: Float[Tensor, "P B Do"]) -> Float[Tensor, "P B Da"]:
        """tanh of the mean, (P, B, Da)."""
        return tanh_normal.mode(self(observation)[0])


class CoherentSoftImitation(SoftActorCritic):
    """P learners of CSIL.

    Rows have as many demonstrated as replayed transitions, the demonstrated ones first (`ImitationTraining`). With a
    `NotedReplay` of `note`, what the cloned policy says of a state is computed when it comes in, and never again.

    Args:
        cloned: the fitted q: a `HetStat` or another tanh-Normal policy. Prior and reward; the actor starts from it.
        random: one generator per member.
        settings: see there.
    """

    def __init__(self, cloned: nn.Module, random: Generators, settings: CoherentSettings) -> None:
        self.cloned = copy.deepcopy(cloned).requires_grad_(False)
        self.coherent = settings
        self.diagnostics: dict[str, Tensor] = {}
        super().__init__(cloned.observation_dim, cloned.action_dim, random, settings)  # type: ignore[arg-type]
        alpha = 1 / self.action_dim if settings.alpha is None else settings.alpha
        self.alpha, self.prior, self.jacobian, self.rate = (
            per_member(one, random) for one in (alpha, settings.prior, settings.jacobian, settings.refinement_rate)
        )
        self.bound = self.alpha * self.action_dim * CLIPPED_REWARD / (1 - settings.discount)
        self.refines = bool((self.rate > 0).any())
        self.rewarder = copy.deepcopy(cloned).requires_grad_(self.refines)
        # The rates are weights of the losses, since they may differ between members.
        self.optimisers["reward"] = torch.optim.SGD(self.rewarder.parameters(), 1.0, fused=True)

    def make_actor(self, observation_dim: int, action_dim: int) -> Policy:
        """A copy of the cloned policy."""
        return CoherentActor(copy.deepcopy(self.cloned).requires_grad_(True))

    def make_critics(self, observation_dim: int, action_dim: int) -> SmoothCritics:
        """Smooth critics: their slopes in the actions are penalised."""
        return SmoothCritics(observation_dim, action_dim, self.random, self.settings.hidden, self.settings.copies)

    # ---- what the cloned policy says ----

    @torch.no_grad()
    def note(self, rows: Transitions) -> Float[Tensor, "P B Dn"]:
        """Mean and deviation of the cloned policy at the observations, then at those that follow."""
        blocks = torch.cat([rows.observation, rows.following], 1).split(BLOCK, 1)
        both = torch.cat([torch.cat(self.cloned(one), -1) for one in blocks], 1)
        return torch.cat(both.chunk(2, 1), -1)

    def noted(self, rows: Transitions) -> Noted:
        """The rows with their notes, written now if they have none."""
        return rows if isinstance(rows, Noted) else Noted.of(rows, self.note(rows))

    def log_ratio(self, rows: Transitions) -> Float[Tensor, "P B"]:
        """log q(a|s) + |A| ln 2 of the refined q; with a graph if it is being refined."""
        if self.refines:
            mean, deviation = self.rewarder(rows.observation)
        else:
            mean, deviation = self.noted(rows).note[..., : 2 * self.action_dim].chunk(2, -1)
        return tanh_normal.log_prob(mean, deviation, rows.action) + self.action_dim * log(2)

    def reward(self, rows: Transitions) -> Float[Tensor, "P B"]:
        """The coherent reward."""
        return self.alpha * self.log_ratio(rows).detach()

    # ---- one update ----

    def update(self, rows: Transitions) -> CoherentInfo:
        """One step of critics, reward and actor, then the targets follow."""
        self.diagnostics = {}
        info = super().update(self.noted(rows))
        return CoherentInfo.of(info, self.diagnostics)

    def critic_step(self, rows: Transitions) -> tuple[Tensor, Tensor]:
        """One step of the critics, and one of the reward, which both descend from what they were before."""
        ratio = self.log_ratio(rows)
        reward = self.alpha * ratio.detach()
        loss, values, slope = self._critic_loss(rows, self._target(rows, reward), rows.reward.shape[1] // 2)
        self._descend("critic", loss)
        if self.refines:
            self._descend("reward", self.rate[:, 0] * self.refinement_loss(ratio))
        demonstrated, replayed = (half.mean(1) for half in halves(reward))
        self.diagnostics |= {"demonstrated": demonstrated, "replayed": replayed, "largest": reward.amax(1)}
        self.diagnostics |= {"slope": slope.detach()}
        self.diagnostics |= {"value_share": values.detach().abs().amax((1, 2)) / self.bound[:, 0]}
        return loss, values

    def target(self, rows: Transitions) -> Float[Tensor, "P B"]:
        """r + gamma V'(s') where the process goes on."""
        return self._target(rows, self.reward(rows))

    @torch.no_grad()
    def _target(self, rows: Transitions, reward: Float[Tensor, "P B"]) -> Float[Tensor, "P B"]:
        return torch.addcmul(reward, 1 - rows.terminated, self.following_value(rows), value=self.settings.discount)

    @torch.no_grad()
    def following_value(self, rows: Transitions) -> Float[Tensor, "P B"]:
        """V'(s') = min Q'(s', a') - beta (log pi(a'|s') - log q(a'|s')), clipped from above."""
        action, divergence = self._draw(rows.following, self.noted(rows).note[..., 2 * self.action_dim :])
        value = self.targets(rows.following, action).amin(1) - self.temperature * divergence
        return torch.minimum(value, self.bound) if self.coherent.clip else value

    def critic_loss(self, rows: Transitions, target: Float[Tensor, "P B"]) -> tuple[Tensor, Tensor]:
        """Mean squared Bellman error plus the weighted slope, summed over critics (P,), and the values (P, K, B)."""
        return self._critic_loss(rows, target, rows.reward.shape[1] // 2)[:2]

    def _critic_loss(self, rows: Transitions, target: Tensor, demonstrated: int) -> tuple[Tensor, Tensor, Tensor]:
        """Loss, values, and the slope alone (P,): of the first `demonstrated` rows."""
        assert isinstance(self.critics, SmoothCritics)
        values, slopes = self.critics.with_slope(rows.observation, rows.action, demonstrated)
        error = (values - target[:, None]).square().mean(-1)
        slope = slopes.square().sum(-1).mean(-1).sqrt()
        return (error + self.jacobian * slope).sum(-1), values, slope.mean(-1)

    def refinement_loss(self, ratio: Float[Tensor, "P B"]) -> Float[Tensor, " P"]:
        """- E_demonstrated[r] + E_replay[exp(-max(r, -5)) - 1 + r], r = alpha times the log-ratio (P, B), as published.

        At alpha = 1 and without the floor, the second term would estimate KL(q || p) where actions are q's. Of the
        log-ratio itself, whatever alpha, it does not serve: the replay's actions are the policy's, far from q they lie
        below any floor, and there the estimate falls with r, so that the reward diverges.

        With alpha it still has no lower bound: below the floor it falls with the log-density, its slope in q's
        parameters grows, and plain gradient descent on q's exponential scales can run off within a few updates of one
        outlier. The member of csil/mujoco that diverged at the laptop scale did so, as a replay of its updates showed.
        """
        demonstrated, replayed = halves(self.alpha * ratio)
        estimate = (-replayed.clamp(min=LOWEST_REWARD)).exp() - 1 + replayed
        return estimate.mean(1) - demonstrated.mean(1)

    def actor_loss(self, rows: Transitions) -> tuple[Float[Tensor, " P"], Float[Tensor, " P"]]:
        """Mean of beta (log pi - log q) - min Q over the rows' observations, and of the divergence, (P,)."""
        action, divergence = self._draw(rows.observation, self.noted(rows).note[..., : 2 * self.action_dim])
        value = self.critics(rows.observation, action, frozen=True).amin(1)
        at_limits = action.detach().abs() >= tanh_normal.THRESHOLD
        self.diagnostics["at_limits"] = at_limits.to(action).mean((1, 2))
        return (self.temperature * divergence - value).mean(-1), divergence.mean(-1)

    def _draw(self, observation: Tensor, note: Tensor) -> tuple[Tensor, Tensor]:
        """Actions of the policy (P, B, Da), and log pi - log prior of them (P, B)."""
        mean, deviation = self.actor(observation)
        action, value = tanh_normal.draw(mean, deviation, normal_like(mean, self.random))
        means, deviations = (torch.stack(pair) for pair in zip((mean, deviation), note.chunk(2, -1), strict=True))
        own, cloned = tanh_normal.log_prob_of_value(means, deviations, value.expand_as(means))
        return action, own - self.prior * cloned + (1 - self.prior) * self.action_dim * log(2)

    # ---- the critic's pretraining ----

    def pretrain(self, demonstrations: DemonstrationRows, batch: int = 256) -> Float[Tensor, "P steps"]:
        """Fit the critics to the demonstrations' own values by SARSA, slope penalty included; the losses.

        Where the action that followed is not known, it is drawn from the cloned policy. (The published code pairs the
        last step of an episode with the first of the next.) The targets end as the critics.
        """
        rows = demonstrations.rows
        here, note = self.note(rows).chunk(2, -1)
        mean, deviation = here.chunk(2, -1)
        reward = self.alpha * (tanh_normal.log_prob(mean, deviation, rows.action) + self.action_dim * log(2))
        known = demonstrations.following_action.isfinite()
        actions = torch.cat([demonstrations.following_action.nan_to_num(nan=0.0), known.to(note), note], -1)
        optimiser = torch.optim.Adam(self.critics.parameters(), self.coherent.pretraining_rate, fused=True)
        losses = []
        for _ in range(self.coherent.pretraining):
            places = demonstrations.places(batch, self.random)
            chosen = Transitions(*(rows_at(value, places) for value in rows))
            target = self._sarsa_target(chosen, rows_at(reward, places), rows_at(actions, places))
            loss, *_ = self._critic_loss(chosen, target, batch)
            optimiser.zero_grad()
            loss.sum().backward()
            optimiser.step()
            self._follow()
            losses.append(loss.detach())
        self.targets.load_state_dict(self.critics.state_dict())
        return torch.stack(losses, 1) if losses else reward[:, :0]

    @torch.no_grad()
    def _sarsa_target(self, rows: Transitions, reward: Tensor, actions: Tensor) -> Tensor:
        action, known, mean, deviation = actions.chunk(4, -1)
        drawn, _ = tanh_normal.draw(mean, deviation, normal_like(mean, self.random))
        value = self.targets(rows.following, torch.where(known > 0, action, drawn)).amin(1)
        return torch.addcmul(reward, 1 - rows.terminated, value, value=self.settings.discount)

    # ---- use ----

    def first_actions(self, observation: Float[Tensor, "P B Do"]) -> Float[Tensor, "P B Da"]:
        """The policy's own: it was cloned."""
        return self.explore(observation)

    def _values(self) -> Iterator[Tensor]:
        yield from super()._values()
        yield from self.rewarder.parameters()

    def _state(self) -> dict[str, Any]:
        return super()._state() | {"cloned": self.cloned.state_dict(), "rewarder": self.rewarder.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`'s."""
        super().load_state_dict(state)
        self.cloned.load_state_dict(state["cloned"])
        self.rewarder.load_state_dict(state["rewarder"])
