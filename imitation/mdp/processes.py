"""Named decision processes of the documents, and random ones."""

import numpy as np
import torch

from imitation.mdp.tabular import TabularMDP


def self_loops(states: int, actions: int) -> TabularMDP:
    """Every action stays where it is and the first state is fixed: Swamy et al. 2021, Example 1.

    Raises:
        ValueError: no state or no action.
    """
    if states < 1 or actions < 1:
        raise ValueError(f"states={states}, actions={actions}: at least one of each")
    stay = torch.eye(states, dtype=torch.float64)
    return TabularMDP(stay[:, None].expand(states, actions, states), stay[0])


def random_processes(count: int, states: int, actions: int, rng: np.random.Generator) -> TabularMDP:
    """`count` processes whose transitions and first states are uniform on the simplex (Dirichlet with ones).

    Returns:
        One process with a leading axis: transition (count, S, A, S), initial (count, S).

    Raises:
        ValueError: a size that is not positive.
    """
    if min(count, states, actions) < 1:
        raise ValueError(f"count={count}, states={states}, actions={actions}: at least one of each")
    ones = np.ones(states)
    return TabularMDP(
        torch.from_numpy(rng.dirichlet(ones, size=(count, states, actions))),
        torch.from_numpy(rng.dirichlet(ones, size=count)),
    )
