"""Explicit behavioural cloning: a network y = F(x), fitted by the mean squared error.

Its optimum is the conditional mean of the demonstrated actions, which lies between the modes where there are several;
this is the baseline that implicit policies are measured against (Florence et al. 2021, Section 2; Ta et al. 2022).
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from imitation.policies._fit import Learner


@dataclass(frozen=True)
class Explicit(Learner):
    """Least squares on scaled actions; arguments, errors and `fit` as in `Learner`."""

    def width(self, action_dim: int) -> int:
        """Dy: the outputs are the action."""
        return action_dim

    def loss(self, output: Float[Tensor, "P B Dy"], action: Float[Tensor, "P B Dy"]) -> Float[Tensor, " P"]:
        """The mean square (P,) over the minibatch and the coordinates."""
        return (output - action).square().mean((1, 2))

    def action(self, output: Float[Tensor, "P E Dy"]) -> Float[Tensor, "P E Dy"]:
        """The outputs themselves."""
        return output
