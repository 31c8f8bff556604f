"""Our MaxEnt solvers, served to `benchmarks/maxent_irl.py`."""

import sys

import maxent_problem
import numpy as np
import serving

REPLY = serving.open_reply()

import torch  # noqa: E402

from imitation.mdp import TabularMDP  # noqa: E402
from imitation.mdp.games import convex_maxent, dual_maxent, smoothness_step  # noqa: E402
from imitation.mdp.maxent import MomentGame  # noqa: E402


def games(path: str) -> MomentGame:
    """The problem as a game; rewards of states are rewards of any action there."""
    problem = maxent_problem.read(path)
    mdp = TabularMDP(torch.from_numpy(problem.transition), torch.from_numpy(problem.initial))
    table = torch.from_numpy(problem.features)[:, None].expand(-1, mdp.actions, -1).contiguous()
    expert = torch.from_numpy(maxent_problem.moments(problem, problem.multipliers))
    return MomentGame(mdp, table, expert, problem.horizon)


def lbfgs(game: MomentGame) -> list[float]:
    """The multipliers by the convex dual; no component of the gap may leave its share of the target."""
    return convex_maxent(game, tolerance=maxent_problem.TARGET / np.sqrt(maxent_problem.FEATURES)).tolist()


def online(game: MomentGame) -> list[float]:
    """The multipliers by best responses and online gradient steps, doubled in number until the gap is met."""
    step, iterations = smoothness_step(game), 50
    while True:
        path = dual_maxent(game, step, iterations)
        if float((path.moments[-1] - game.expert).norm()) <= maxent_problem.TARGET or iterations > 20_000:
            return path.multipliers[-1].tolist()
        iterations *= 2


if __name__ == "__main__":
    torch.set_num_threads(1)
    one = games(sys.argv[1])
    serving.serve(REPLY, "", "torch", {"L-BFGS": lambda: lbfgs(one), "online gradient": lambda: online(one)})
