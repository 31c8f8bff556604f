"""Lecture, Fig. 18.3: does the equilibrium of the game lie on the Pareto frontier of the rewards?

With R = {r1, r2} the game is max over pi of min over f of J(pi, f) - J(pi_E, f). Its equilibria come from a linear
programme over occupancies, the frontier from dynamic programming on w r1 + (1 - w) r2: two computations that know
nothing of one another. An equilibrium with the reward player's mix w* must be best for w*: then it is weakly
Pareto-optimal (nothing is better on both). Strictly it need not be: in the lecture's setting with returns (5, 5) for
the expert and policy A and (5, 6) for B, policy A is an equilibrium and B dominates it.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from scipy.optimize import OptimizeResult, linprog
from torch import Tensor

from experiments.harness import style
from experiments.harness.claim import Claim, Verdict, holds
from experiments.harness.context import Context
from experiments.harness.schema import bounded, seed_list
from experiments.lecture._random_games import member, random_games
from imitation.mdp.horizon import repeated, value_iteration
from imitation.mdp.lecture import pareto
from imitation.mdp.maxent import MomentGame

SHARD_AXES = ("seeds",)
TOLERANCE = 1e-7  # of returns: what the linear programme's own tolerances leave
RANDOM, EXAMPLE = "random process", "example"
EQUILIBRIUM, EXPERT, UNIFORM, FRONT = "equilibrium", "expert", "uniform", "frontier"
STEPS = 5  # of the example


@dataclass
class Config:
    """weights: how many mixtures w r1 + (1 - w) r2 trace the frontier."""

    seeds: list[int] = seed_list()
    states: int = bounded(2, 30)
    actions: int = bounded(2, 10)
    horizon: int = bounded(1, 30)
    weights: int = bounded(2, 10_000)


def run(cfg: Config, context: Context) -> pd.DataFrame:
    """One row per process and point: returns `j1`, `j2` under both rewards.

    For policies `below` is how far all of the frontier's supporting lines lie above the point, at least (0: weakly
    Pareto-optimal), and `dominated` how much both returns together can still grow if neither falls (0: Pareto-optimal).
    For the equilibrium `payoff` is the game's value and `weight` the reward player's w*.
    """
    games = random_games(context, cfg.seeds, cfg.states, cfg.actions, 2, cfg.horizon, 0.0)
    frames = []
    for index, seed in enumerate(cfg.seeds):
        rows = _process(member(games.game, index), cfg.weights)
        frames.append(pd.DataFrame(rows).assign(seed=seed, process=RANDOM))
        context.progress(index + 1, len(cfg.seeds) + 1)
    return pd.concat([*frames, pd.DataFrame(_example(cfg.weights)).assign(seed=-1, process=EXAMPLE)], ignore_index=True)


def _process(game: MomentGame, weights: int) -> list[dict[str, object]]:
    chance = torch.full_like(game.features[..., 0], 1 / game.mdp.actions)
    uniform = game.moments(repeated(chance.log(), game.horizon))
    payoff, weight, found = equilibrium(game)
    points = {EQUILIBRIUM: found, EXPERT: game.expert, UNIFORM: uniform}
    rows = [_placed(game, point, name, weights, weight) for name, point in points.items()]
    rows[0] |= {"payoff": payoff, "weight": weight}
    return rows + [_row(point, FRONT) for point in frontier(game, weights)]


def _example(weights: int) -> list[dict[str, object]]:
    """The expert and policies A and B, each as an equilibrium or not: `payoff` is the least J(pi, f) - J(pi_E, f)."""
    example = pareto()
    actions = torch.eye(3, dtype=torch.float64)[:, None].expand(3, 1, 3)  # always the same action
    blank = MomentGame(example.mdp, example.rewards, torch.zeros(2, dtype=torch.float64), STEPS)
    returns = torch.stack([blank.moments(repeated(one, STEPS).log()) for one in actions])
    game = MomentGame(example.mdp, example.rewards, returns[0], STEPS)
    value, weight, _ = equilibrium(game)
    rows = []
    for name, point in zip(("expert", "A", "B"), returns, strict=True):
        row = _placed(game, point, name, weights, weight)
        rows.append(row | {"payoff": float((point - returns[0]).min()), "value": value})
    return rows + [_row(point, FRONT) for point in frontier(game, weights)]


def _row(point: Tensor, name: str) -> dict[str, object]:
    return {"point": name, "j1": float(point[0]), "j2": float(point[1])}


def _placed(game: MomentGame, point: Tensor, name: str, weights: int, weight: float) -> dict[str, object]:
    grid = torch.cat([torch.linspace(0, 1, weights, dtype=torch.float64), torch.tensor([weight], dtype=torch.float64)])
    mixes = torch.stack([grid, 1 - grid], -1)
    below = float((support(game, mixes) - mixes @ point).min())
    return _row(point, name) | {"below": below, "dominated": dominated(game, point)}


def support(game: MomentGame, mixes: Tensor) -> Tensor:
    """max over pi of J(pi, w r1 + (1 - w) r2) by dynamic programming, (W, 2) -> (W,)."""
    plan = value_iteration(game.mdp, repeated(game.reward(mixes), game.horizon))
    return (game.mdp.initial * plan.value[0]).sum(-1)


def frontier(game: MomentGame, weights: int) -> Tensor:
    """Returns of the policies that are best for the mixtures with 0 < w < 1, in the order of w, (W, 2)."""
    inside = torch.linspace(0, 1, weights + 2, dtype=torch.float64)[1:-1]
    plan = value_iteration(game.mdp, repeated(game.reward(torch.stack([inside, 1 - inside], -1)), game.horizon))
    return game.moments(plan.log_policy)


def equilibrium(game: MomentGame) -> tuple[float, float, Tensor]:
    """Value of the game, the reward player's w*, and the returns (2,) of a policy that attains the value."""
    features = _stacked(game)
    worse = np.column_stack([-features.T, np.ones(2)])  # value <= J(pi, f) - J(pi_E, f)
    flow, start = _flow(game)
    flow = np.column_stack([flow, np.zeros(len(flow))])
    aim = np.append(np.zeros(len(features)), -1.0)
    bounds = [(0, None)] * len(features) + [(None, None)]
    found = linprog(aim, worse, -game.expert.numpy(), flow, start, bounds, method="highs")
    _solved(found)
    prices = -np.asarray(found.ineqlin.marginals)
    return float(found.x[-1]), float(prices[0] / prices.sum()), torch.from_numpy(features.T @ found.x[:-1])


def dominated(game: MomentGame, point: Tensor) -> float:
    """max of J(pi, r1) + J(pi, r2) less the point's, over policies that are nowhere worse than the point.

    Raises:
        ValueError: no policy is nowhere worse: the point is no policy's.
    """
    features = _stacked(game)
    flow, start = _flow(game)
    found = linprog(-features.sum(1), -features.T, TOLERANCE / 100 - point.numpy(), flow, start, method="highs")
    _solved(found)
    return float(-found.fun - point.sum())


def _solved(found: OptimizeResult) -> None:
    if found.status:
        raise ValueError(f"the linear programme has no solution: {found.message.splitlines()[0]}")


def _stacked(game: MomentGame) -> np.ndarray:
    """f of every step, state and action, (H S A, 2)."""
    return np.tile(game.features.reshape(-1, 2).numpy(), (game.horizon, 1))


def _flow(game: MomentGame) -> tuple[np.ndarray, np.ndarray]:
    """Occupancies d_h(s, a) >= 0 belong to a policy if d_1 sums to the first law and d_{h+1} to what d_h leads to."""
    states, actions, steps = game.mdp.states, game.mdp.actions, game.horizon
    out = np.repeat(np.eye(states), actions, axis=1)  # (S, S A): sums over actions
    into = game.mdp.transition.reshape(-1, states).numpy().T
    flow = np.kron(np.eye(steps), out) - np.kron(np.eye(steps, k=-1), into)
    return flow, np.append(game.mdp.initial.numpy(), np.zeros((steps - 1) * states))


def decide(frame: pd.DataFrame) -> Verdict:
    """Equilibria are weakly Pareto-optimal in every process; one that is dominated shows that "weakly" is needed."""
    rows = frame[frame.point == EQUILIBRIUM]
    weakly = bool((rows.below.abs() <= TOLERANCE).all() and (rows.payoff >= -TOLERANCE).all()) and not rows.empty
    below = float(rows.below.abs().max(skipna=False))
    solves = frame[(frame.process == EXAMPLE) & ((frame.payoff - frame.value).abs() <= TOLERANCE)]
    counter = solves[solves.dominated > 1e-3]
    if not weakly or (solves.below.abs() > TOLERANCE).any():
        return holds(False, below, f"An equilibrium lies {below:.2g} below the frontier.")
    if counter.empty:
        return holds(True, below, "No equilibrium is dominated.")
    off = frame[(frame.process == RANDOM) & (frame.point == EXPERT)].below
    note = (
        f"Weakly: in {len(rows)} random processes the equilibrium is {below:.0e} below the frontier (the expert "
        f"{off.mean():.2g}), and at most {rows.dominated.max():.0e} is left to gain. Not strictly: in the example "
        f"policy {counter.point.iloc[-1]} solves the game, and another gains "
        f"{counter.dominated.max():.2f} under r2 at no loss under r1."
    )
    return holds(True, float(counter.dominated.max())).as_corrected(note)


CLAIMS = [
    Claim(
        id="lecture.fig-18-3",
        source="Lecture 18",
        location="Fig. 18.3 and Section 18.4.1",
        statement="A solution to the game must live on the Pareto frontier.",
        measures="return by which an equilibrium is dominated",
        decide=decide,
    ),
]


def figure(frame: pd.DataFrame) -> Figure:
    """(a) one random process: frontier, expert, equilibrium; (b) all of them: distances; (c) the counterexample."""
    drawing, axes = style.panels(1, 3, height=2.6)
    first = frame[(frame.process == RANDOM) & (frame.seed == frame[frame.process == RANDOM].seed.min())]
    _draw_plane(axes[0], first)
    _draw_distances(axes[1], frame[frame.process == RANDOM])
    _draw_example(axes[2], frame[frame.process == EXAMPLE])
    drawing.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return drawing


def _draw_plane(axis, rows: pd.DataFrame) -> None:
    front = rows[rows.point == FRONT].drop_duplicates(["j1", "j2"])
    axis.plot(front.j1, front.j2, ".-", color=style.BLACK, linewidth=0.8, label="Pareto frontier (traced)")
    looks = {UNIFORM: (style.GREY, "s", "uniform policy"), EXPERT: (style.VERMILION, "^", "expert"),
             EQUILIBRIUM: (style.BLUE, "o", "equilibrium")}  # fmt: skip
    for name, (colour, marker, label) in looks.items():
        point = rows[rows.point == name].iloc[0]
        axis.plot(point.j1, point.j2, marker, color=colour, label=label)
    expert, best = (rows[rows.point == name].iloc[0] for name in (EXPERT, EQUILIBRIUM))
    gain = best.payoff
    axis.plot([expert.j1, expert.j1 + gain], [expert.j2, expert.j2 + gain], ":", color=style.VERMILION, linewidth=1)
    axis.set(xlabel=r"$J(\pi, r_1)$", ylabel=r"$J(\pi, r_2)$", title="a random process")


def _draw_distances(axis, rows: pd.DataFrame) -> None:
    for name, colour, marker in (
        (UNIFORM, style.GREY, "s"),
        (EXPERT, style.VERMILION, "^"),
        (EQUILIBRIUM, style.BLUE, "o"),
    ):
        points = rows[rows.point == name].sort_values("seed")
        axis.plot(points.seed, points.below.abs().clip(lower=1e-16), marker, color=colour, markersize=3)
    axis.axhline(TOLERANCE, color=style.GREY, linewidth=0.8, linestyle=":")
    axis.set(yscale="log", xlabel="process (seed)", ylabel="below the frontier (return)", title="all processes")


def _draw_example(axis, rows: pd.DataFrame) -> None:
    front = rows[rows.point == FRONT]
    axis.plot(front.j1, front.j2, ".", color=style.BLACK)
    places = {"expert": (-62, 6), "A": (8, -3), "B": (8, -3)}
    words = {"expert": "expert and", "A": "A: solves the\ngame, dominated", "B": "B: solves the\ngame"}
    colours = {"expert": style.VERMILION, "A": style.BLUE, "B": style.BLUE}
    for name in ("A", "B", "expert"):
        point = rows[rows.point == name].iloc[0]
        axis.plot(point.j1, point.j2, "^" if name == "expert" else "o", color=colours[name], markersize=5)
        if name != "expert":
            axis.annotate(words[name], (point.j1, point.j2), places[name], textcoords="offset points", fontsize=7)
    axis.set(xlim=(4.8, 5.8), ylim=(4.7, 6.3), xlabel=r"$J(\pi, r_1)$", ylabel=r"$J(\pi, r_2)$")
    axis.set_title("strictly: a counterexample")
