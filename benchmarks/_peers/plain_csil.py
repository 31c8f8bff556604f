"""CSIL's update of one learner, written straight down from the published mathematics in torch's own modules.

Nothing is kept from before and nothing is by hand: dense triangular matrices, the cloned policy evaluated whenever it
is asked for, the critic's slope by autograd, twice differentiated. What our update must equal, and is timed against.
"""

from math import log, pi
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.distributions import Normal

if TYPE_CHECKING:
    from imitation.control.csil import CoherentSoftImitation
    from imitation.control.networks import SmoothPerceptron
    from imitation.control.replay import Transitions
    from imitation.policies import HetStat

DISCOUNT, SMOOTHING, LIMIT, FLOOR = 0.99, 0.005, 0.999, -5.0
LARGEST_REWARD = -0.5 * log(1e-5) + log(2)


class PlainPolicy(nn.Module):
    """HetStat of one member with dense matrices."""

    def __init__(self, policy: "HetStat") -> None:
        super().__init__()
        kept = [*policy.perceptron.weights, *policy.perceptron.biases, policy.directions, policy.log_scales]
        lower = policy.factor.dense()
        diagonal = lower.diagonal(dim1=-2, dim2=-1)
        kept += [policy.mean_weights, lower + torch.diag_embed(diagonal.log() - diagonal)]
        self.values = nn.ParameterList([nn.Parameter(value[0].detach().clone()) for value in kept])

    def forward(self, x: Tensor) -> Normal:
        """The Normal before tanh."""
        count = (len(self.values) - 4) // 2
        for weight, bias in zip(self.values[:count], self.values[count : 2 * count], strict=True):
            x = nn.functional.elu(x @ weight + bias)
        directions, scales, mean, lower = self.values[2 * count :]
        v = (x * scales.exp()) @ directions
        waves = [1 - 4 * ((v + p - pi / 2) / (2 * pi) % 1 - 0.5).abs() for p in (pi / 4, -pi / 4)]
        phi = -(pi**2) / (2 * 8**0.5) * torch.cat(waves, -1) / (2 * v.shape[-1]) ** 0.5
        lower = lower.tril(-1) + torch.diag_embed(lower.diagonal(dim1=-2, dim2=-1).exp())
        square = torch.einsum("bi,dij->bdj", phi, lower).square().sum(-1)
        return Normal(phi @ mean, 0.75**0.5 * (1e-5 + square).sqrt().tanh())

    @staticmethod
    def density(base: Normal, action: Tensor) -> Tensor:
        """Log-density of actions in [-1, 1]; beyond the limit that of the tail's mass."""
        raw = action.clamp(-LIMIT, LIMIT).atanh()
        inside = base.log_prob(raw) - (1 - raw.tanh().square()).log()
        edge = torch.atanh(torch.tensor(LIMIT))
        tail = torch.special.log_ndtr((action.sign() * base.mean - edge) / base.stddev) - log(1 - LIMIT)
        return torch.where(action.abs() >= LIMIT, tail, inside).sum(-1)


def smooth_network(network: "SmoothPerceptron", index: int = 0) -> nn.Sequential:
    """Member `index` in torch's modules."""
    layers: list[nn.Module] = []
    for number, (weight, bias) in enumerate(zip(network.weights, network.biases, strict=True)):
        one = nn.Linear(weight.shape[1], weight.shape[2])
        one.weight.data, one.bias.data = weight[index].T.detach().clone(), bias[index, 0].detach().clone()
        layers.append(one)
        if number == 0:
            norm = nn.LayerNorm(weight.shape[2])
            norm.weight.data = network.gain[index, 0].detach().clone()
            norm.bias.data = network.offset[index, 0].detach().clone()
            layers += [norm, nn.Tanh()]
        elif number < len(network.weights) - 1:
            layers.append(nn.ELU())
    return nn.Sequential(*layers)


class PlainCSIL:
    """The learner: a copy of the first member of `ours`, whose actions have D dimensions and alpha = 1/D."""

    def __init__(self, ours: "CoherentSoftImitation") -> None:
        policies = (ours.cloned, ours.actor.policy, ours.rewarder)  # type: ignore[attr-defined]
        self.prior, self.actor, self.rewarder = (PlainPolicy(one) for one in policies)  # type: ignore[arg-type]
        networks = (ours.critics.network, ours.targets.network)
        self.critic, self.target = (smooth_network(one) for one in networks)  # type: ignore[arg-type]
        self.width, self.alpha, self.beta = ours.action_dim, 1 / ours.action_dim, 0.01
        self.adams = [torch.optim.Adam(one.parameters(), 3e-4) for one in (self.critic, self.actor)]
        self.sgd = torch.optim.SGD(self.rewarder.parameters(), 1e-3)

    def draw(self, observation: Tensor, random: torch.Generator) -> tuple[Tensor, Tensor]:
        """Actions of the policy, and log pi - log q of them."""
        base = self.actor(observation)
        action = (base.mean + base.stddev * torch.randn(base.mean.shape, generator=random)).tanh()
        ratio = PlainPolicy.density(base, action) - PlainPolicy.density(self.prior(observation), action)
        return action, ratio

    def update(self, rows: "Transitions", random: torch.Generator) -> None:
        """One step of everything on rows (1, B, ...), the first half demonstrated."""
        s, a, _, after, end = (value[0] for value in rows)
        half = len(s) // 2
        reward = self.alpha * (PlainPolicy.density(self.rewarder(s), a) + self.width * log(2))
        with torch.no_grad():
            drawn, divergence = self.draw(after, random)
            value = self.target(torch.cat([after, drawn], -1))[:, 0] - self.beta * divergence
            value = value.clamp(max=LARGEST_REWARD / (1 - DISCOUNT))
            goal = reward + DISCOUNT * (1 - end) * value
        shown = a[:half].clone().requires_grad_()
        q = self.critic(torch.cat([s, a], -1))[:, 0]
        of_shown = self.critic(torch.cat([s[:half], shown], -1)).sum()
        slope = torch.autograd.grad(of_shown, shown, create_graph=True)[0]
        bellman = (q - goal).square().mean() + slope.square().sum(-1).mean().sqrt()
        met = reward[half:]
        of_reward = ((-met.clamp(min=FLOOR)).exp() - 1 + met).mean() - reward[:half].mean()
        for one in (*self.adams, self.sgd):
            one.zero_grad()
        (bellman + of_reward).backward()
        self.adams[0].step()
        self.sgd.step()
        drawn, divergence = self.draw(s, random)
        self.adams[1].zero_grad()
        (self.beta * divergence - self.critic(torch.cat([s, drawn], -1))[:, 0]).mean().backward()
        self.adams[1].step()
        with torch.no_grad():
            for slow, fast in zip(self.target.parameters(), self.critic.parameters(), strict=True):
                slow += SMOOTHING * (fast - slow)
