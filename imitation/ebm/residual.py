"""The energies of Florence et al. 2021: a pre-activation residual network E(x, y), and spectral normalisation.

    h_0     = [x, y] W_0 + b_0
    h_{k+1} = h_k + relu(relu(h_k) U_k + c_k) V_k + d_k
    E       = h_K w + e

as in the code published with the paper: a linear layer to the width comes first, and none of the blocks' sums is
rectified before the last layer. Written out by hand, the gradient in y needs no graph, as in `imitation.ebm.mlp`.
"""

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from imitation.ebm.langevin import Gradient
from imitation.ebm.mlp import ROWS, MLPEnergy
from imitation.nn.products import heaviside_, layer, linear, packed
from imitation.population import RandomSource, normal_like

FIRST = 15  # power iterations before the first use, as torch's own spectral normalisation takes


class ResidualEnergy(MLPEnergy):
    """P independent energies with residual blocks of two layers; all weights and biases start from N(0, std).

    `weights` holds W_0, then U_k and V_k block after block, then w.

    Args:
        observation_dim: Dx, may be 0.
        action_dim: Dy.
        random: the generator, or one per member of the population.
        width: of all hidden layers.
        blocks: K, at least 1.
        members: P.
        std: standard deviation of the starting weights and biases.
        spectral_norm: divide every matrix by its largest singular value (Miyato et al. 2018), estimated by one power
            iteration per training step, as table D.3 of Florence et al. 2021 has it. As far as the estimates are
            exact, the slope in (x, y) is at most 2^K.

    Raises:
        ValueError: a size that is not positive.
    """

    def __init__(
        self,
        observation_dim: int,
        action_dim: int,
        random: RandomSource,
        width: int = 256,
        blocks: int = 1,
        members: int = 1,
        std: float = 0.05,
        spectral_norm: bool = False,
    ) -> None:
        if blocks < 1:
            raise ValueError(f"{blocks=}: must be positive")
        super().__init__(observation_dim, action_dim, random, [width] * (1 + 2 * blocks), members, std)
        self.spectral_norm = spectral_norm
        # Left singular vectors, (P, in, 1), each the last estimate.
        for number, weight in enumerate(self.weights if spectral_norm else []):
            self.register_buffer(f"singular_{number}", normal_like(weight[..., :1].detach(), random))
        for _ in range(FIRST if spectral_norm else 0):
            self.iterate()

    def forward(
        self, observation: Float[Tensor, "P B Dx"], action: Float[Tensor, "P B M Dy"]
    ) -> Float[Tensor, "P B M"]:
        """Energies (P, B, M) of actions (P, B, M, Dy) under observations (P, B, Dx).

        With a graph this counts as a training step, unless after `eval()`: the estimates of the singular vectors go on.
        """
        if self.spectral_norm and self.training and torch.is_grad_enabled():
            self.iterate()
        weights, biases = self.normalised(), list(self.biases)
        members, rows, samples, _ = action.shape
        first = weights[0][:, self.observation_dim :]
        stream = layer(
            action.reshape(members, rows * samples, -1), first, self._observation_share(observation, weights[0])
        )
        for up, rise, down, fall in _blocks(weights, biases):
            stream = stream + layer(layer(stream.relu(), up, rise, relu=True), down, fall)
        return layer(stream, weights[-1], biases[-1]).view(members, rows, samples)

    def action_gradient(self, observation: Float[Tensor, "P B Dx"], precision: torch.dtype | None = None) -> Gradient:
        """As `MLPEnergy.action_gradient`."""
        precision = precision or self.weights[0].dtype
        with torch.no_grad():
            weights, biases = self.normalised(), [one.detach().to(precision, copy=True) for one in self.biases]
            share = self._observation_share(observation, weights[0]).to(precision)
            inputs = weights[0][:, self.observation_dim :]
            forwards = [packed(one.mT.to(precision), ROWS) for one in (inputs, *weights[1:-1])]
            backwards = [packed(one.to(precision), ROWS) for one in (inputs, *weights[1:-1])]
            last = weights[-1].mT.to(precision, copy=True)  # (P, 1, W), the slope in h_K
            # It meets the last block before anything that depends on the action.
            folded = torch.bmm(last, weights[-2].mT.to(precision))
        pairs = list(zip(range(1, len(forwards), 2), range(2, len(forwards), 2), strict=True))

        def block(some: slice, share: Tensor, action: Tensor) -> Tensor:
            """The gradient for some members' rows: their share of the first layer, and their actions."""
            members, rows, samples, _ = action.shape
            stream = linear(action.reshape(members, rows * samples, -1).to(precision), forwards[0][some])
            stream.view(members, rows, samples, -1).add_(share[:, :, None])
            active = []
            for up, down in pairs:
                inner = stream.relu()
                middle = linear(inner, forwards[up][some], biases[up][some], relu=True)
                active.append((inner, middle))
                if (up, down) != pairs[-1]:  # no slope depends on the last sum
                    stream += linear(middle, forwards[down][some], biases[down][some])
            slope, into = last[some], folded[some]
            for (up, down), (inner, middle) in zip(reversed(pairs), reversed(active), strict=True):
                into = into if (up, down) == pairs[-1] else linear(slope, backwards[down][some])
                slope = slope + linear(into * heaviside_(middle), backwards[up][some]) * heaviside_(inner)
            return linear(slope, backwards[0][some]).view(action.shape)

        return self._by_blocks(share, block)

    def differentiable_action_gradient(
        self, observation: Float[Tensor, "P B Dx"], action: Float[Tensor, "P B M Dy"]
    ) -> Float[Tensor, "P B M Dy"]:
        """As `MLPEnergy.differentiable_action_gradient`."""
        weights, biases = self.normalised(), list(self.biases)
        members, rows, samples, _ = action.shape
        inputs = weights[0][:, self.observation_dim :]
        with torch.no_grad():
            share, passes = self._observation_share(observation, weights[0]), []
            stream = layer(action.reshape(members, rows * samples, -1), inputs, share)
            for up, rise, down, fall in _blocks(weights, biases):
                inner = stream.relu()
                middle = layer(inner, up, rise, relu=True)
                stream = stream + layer(middle, down, fall)
                passes.append((inner.sign(), middle.sign()))
        slope = weights[-1].mT.expand(-1, rows * samples, -1)
        for (up, _, down, _), (inner, middle) in zip(
            reversed(list(_blocks(weights, biases))), reversed(passes), strict=True
        ):
            slope = slope + layer(layer(slope, down.mT) * middle, up.mT) * inner
        return layer(slope, inputs.mT).view(action.shape)

    def normalised(self) -> list[Tensor]:
        """The weights as they are used: under spectral normalisation each (P, in, out) over its singular value."""
        if not self.spectral_norm:
            return list(self.weights)
        return [one / self._singular_value(one, left) for one, left in zip(self.weights, self._lefts(), strict=True)]

    def _lefts(self) -> list[Tensor]:
        return [getattr(self, f"singular_{number}") for number in range(len(self.weights))]

    @staticmethod
    def _singular_value(weight: Tensor, left: Tensor) -> Tensor:
        """|W^T u| of the estimate u, (P, 1, 1): exact in value and gradient where u is the singular vector."""
        unit = torch.nn.functional.normalize(left, dim=1)
        return torch.bmm(weight.mT, unit).norm(dim=1, keepdim=True)

    @torch.no_grad()
    def iterate(self) -> None:
        """One power iteration for every matrix."""
        for weight, left in zip(self.weights, self._lefts(), strict=True):
            left.copy_(torch.nn.functional.normalize(torch.bmm(weight, torch.bmm(weight.mT, left)), dim=1))


def _blocks(weights: Sequence[Tensor], biases: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """U, c, V and d of every block."""
    return zip(weights[1:-1:2], biases[1:-1:2], weights[2:-1:2], biases[2:-1:2], strict=True)
