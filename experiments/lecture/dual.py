"""Lecture, eqs. (18.4)-(18.8): does MaxEnt IRL (best response, online gradient) match moments with maximal entropy?

Random processes with two features and two more that no policy can tell apart from them (a constant, and f_1 - f_2), so
that lambda is identified only in part. The expert is either the best response to known multipliers, which the dual then
has to recover, or any policy, whose moments are matched with more entropy. L-BFGS on the convex dual is the check: its
minimum is, by strong duality, the largest causal entropy of all policies with these moments.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor

from experiments.harness import style
from experiments.harness.claim import Claim, Verdict, holds
from experiments.harness.context import Context
from experiments.harness.schema import bounded, seed_list
from experiments.lecture._random_games import RandomGames, largest_entropy, random_games
from imitation.mdp.games import dual_maxent, smoothness_step
from imitation.mdp.horizon import causal_entropy
from imitation.mdp.maxent import COST, REWARD, curvature

SHARD_AXES = ("seeds",)
CONVENTIONS = {"reward": REWARD, "cost": COST}
SOFT, ANY = "soft-optimal", "any policy"
GAP_TOLERANCE = 1e-8  # of the moments, which lie between 0 and the horizon
# L-BFGS compares values of the dual, whose rounding of 1e-15 hides distances of 1e-8 to 1e-7.
CONVEX_TOLERANCE = 1e-6
ENTROPY_TOLERANCE = 1e-8  # nats
MULTIPLIER_TOLERANCE = 1e-6
SIGN_TOLERANCE = 1e-9  # two orders of the same sums, over some hundred iterations
COMPARED = ["gap", "deficit", *(f"multiplier_{k}" for k in range(4))]  # two features and two redundant ones
NULL = 1e-9  # eigenvalues of the curvature below this share of the largest: lambda is not identified there


@dataclass
class Config:
    """expert_scale: standard deviation of the soft-optimal experts' multipliers; iterations: of the online gradient."""

    seeds: list[int] = seed_list()
    states: int = bounded(2, 1000)
    actions: int = bounded(2, 100)
    horizon: int = bounded(1, 1000)
    expert_scale: float = bounded(0.01, 10)
    iterations: int = bounded(8, 100_000)


def run(cfg: Config, context: Context) -> pd.DataFrame:
    """One row per seed, expert, sign convention and recorded iteration.

    `gap` is |mu(pi) - mu_E|, `deficit` the largest causal entropy less this policy's, `to_convex` and `to_expert` the
    distance of the identified multipliers, as rewards, to L-BFGS's and to the expert's; `convex_gap` and
    `convex_to_expert` are L-BFGS's own. `multiplier_k` are all of them as rewards, and `policies` is the largest total
    variation in any state and step between this convention's policy and the first one's at this iteration.
    """
    frames = []
    for expert, scale in ((SOFT, cfg.expert_scale), (ANY, 0.0)):
        games = random_games(context, cfg.seeds, cfg.states, cfg.actions, 2, cfg.horizon, scale, redundant=True)
        frames.append(_measured(cfg, games).assign(expert=expert))
        context.progress(len(frames), 2)
    table = pd.concat(frames, ignore_index=True)
    return table.assign(**{name: table[name].where(table.expert == SOFT) for name in ("to_expert", "convex_to_expert")})


def _measured(cfg: Config, games: RandomGames) -> pd.DataFrame:
    game = games.game
    convex, log_policy, most_entropy = largest_entropy(game)
    identified = _identified(curvature(game, log_policy))
    convex_gap = (game.moments(log_policy) - game.expert).norm(dim=-1)
    frames, first = [], {}
    for name, convention in CONVENTIONS.items():
        path = dual_maxent(game, smoothness_step(game), cfg.iterations, convention=convention)
        for iteration in recorded(cfg.iterations):
            multipliers = path.multipliers[iteration - 1]
            as_reward = -convention.direction * multipliers
            policy = convention.respond(game.mdp, game.reward(multipliers), game.horizon).log_policy.exp()
            first.setdefault(iteration, policy)
            columns = {
                "gap": (path.moments[iteration - 1] - game.expert).norm(dim=-1),
                "deficit": most_entropy - causal_entropy(game.mdp, policy),
                "to_convex": _distance(as_reward - convex, identified),
                "to_expert": _distance(as_reward - games.multipliers, identified),
                "convex_gap": convex_gap,
                "more_than_expert": most_entropy - games.entropy,
                "convex_to_expert": _distance(convex - games.multipliers, identified),
                "policies": _variation(policy, first[iteration]),
            } | {f"multiplier_{k}": as_reward[:, k] for k in range(as_reward.shape[-1])}
            table = pd.DataFrame({key: value.numpy() for key, value in columns.items()})
            frames.append(table.assign(seed=cfg.seeds, convention=name, iteration=iteration))
    return pd.concat(frames, ignore_index=True)


def recorded(iterations: int) -> list[int]:
    """Iterations whose state is written down: powers of 2, and the last."""
    return sorted({2**k for k in range(iterations.bit_length()) if 2**k <= iterations} | {iterations})


def _variation(one: Tensor, other: Tensor) -> Tensor:
    """Total variation of two policies (H, P, S, A), the largest over steps and states, (P,)."""
    return (one - other).abs().sum(-1).amax((0, -1)) / 2


def _identified(hessian: Tensor) -> Tensor:
    """The projection on the directions that change the policy, (P, K, K)."""
    sizes, directions = torch.linalg.eigh(hessian)
    kept = (sizes > NULL * sizes[..., -1:]).to(hessian.dtype)
    return (directions * kept[..., None, :]) @ directions.mT


def _distance(difference: Tensor, projection: Tensor) -> Tensor:
    return (projection @ difference[..., None]).squeeze(-1).norm(dim=-1)


def last(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows of the final iteration."""
    return frame[frame.iteration == frame.iteration.max()]


def decide_dual(frame: pd.DataFrame) -> Verdict:
    """In every game and both conventions: moments matched, entropy maximal, and the identified multipliers found."""
    rows = last(frame)
    soft = rows[rows.expert == SOFT]
    sizes = {
        "gap": rows.gap.max(skipna=False),
        "convex": rows.convex_gap.max(skipna=False),
        "deficit": rows.deficit.abs().max(skipna=False),
        "multipliers": np.max([rows.to_convex.max(skipna=False), soft.to_expert.max(skipna=False)]),
    }
    matched = bool(sizes["gap"] <= GAP_TOLERANCE and sizes["convex"] <= CONVEX_TOLERANCE)
    maximal = bool(sizes["deficit"] <= ENTROPY_TOLERANCE)
    found = bool(sizes["multipliers"] <= MULTIPLIER_TOLERANCE)
    complete = set(rows.expert) == {SOFT, ANY} and set(rows.convention) == set(CONVENTIONS)
    more = rows[rows.expert == ANY].more_than_expert.mean()
    note = (
        f"Largest of {len(rows)} runs after {rows.iteration.max()} iterations: moment gap {sizes['gap']:.0e}, missing "
        f"entropy {sizes['deficit']:.0e} nats, error of the identified multipliers {soft.to_expert.max():.0e} against "
        f"the expert's. L-BFGS is itself {soft.convex_to_expert.max():.0e} from the expert's, and the dual "
        f"{rows.to_convex.max():.0e} from L-BFGS. Experts that are no best response have {more:.2f} nats less."
    )
    return holds(complete and matched and maximal and found, float(sizes["deficit"]), note)


def decide_signs(frame: pd.DataFrame) -> Verdict:
    """Reward with descent and cost with ascent take the same path: multipliers mirrored, policies equal."""
    keys = ["expert", "seed", "iteration"]
    one, other = (frame[frame.convention == name].set_index(keys).sort_index() for name in CONVENTIONS)
    if not one.index.equals(other.index):
        return holds(False, float("nan"), "The two conventions were not run on the same games.")
    paths = float((one[COMPARED] - other[COMPARED]).abs().to_numpy().max())
    policies = float(frame.policies.max(skipna=False))
    difference = float(np.max([paths, policies]))  # NaN stays NaN
    note = (
        "With +log pi as a cost (18.5) and with -log pi as a reward the games are one: all multipliers, moment gaps "
        f"and entropies agree to {paths:.0e}, the policies to {policies:.0e} in total variation. (18.4) and (18.6) mix "
        "the two."
    )
    return holds(difference <= SIGN_TOLERANCE, difference).as_corrected(note)


CLAIMS = [
    Claim(
        id="lecture.dual",
        source="Lecture 18",
        location="Section 18.6, eqs. (18.4)-(18.8)",
        statement="Best responses and online gradient steps match the expert's moments with maximal causal entropy.",
        measures="missing causal entropy in nats, largest",
        decide=decide_dual,
    ),
    Claim(
        id="lecture.dual.signs",
        source="Lecture 18",
        location="eqs. (18.4)-(18.7)",
        statement="(Asked here) The game has one meaning, whether lambda . f is read as a cost or as a reward.",
        measures="largest difference between the conventions",
        decide=decide_signs,
    ),
]


def figure(frame: pd.DataFrame) -> Figure:
    """(a) moment gap, (b) missing entropy, (c) error of the identified multipliers, all against iterations."""
    drawing, axes = style.panels(1, 3, height=2.5)
    looks = {SOFT: (style.BLUE, "o-"), ANY: (style.VERMILION, "s--")}
    panels = [("gap", r"moment gap $|\mu(\pi)-\mu_E|$"), ("deficit", "missing entropy in nats, |.|"),
              ("to_convex", r"error of $\lambda$ (identified)")]  # fmt: skip
    for axis, (column, label) in zip(axes, panels, strict=True):
        for expert, (colour, line) in looks.items():
            rows = frame[(frame.expert == expert) & (frame.convention == "reward")]
            _draw(axis, rows, column, colour, line, f"expert: {expert}")
        axis.set(xscale="log", yscale="log", xlabel="iterations", ylabel=label)
    axes[0].set_title("best response, online gradient")
    axes[1].set_title("against strong duality's value")
    axes[2].set_title("against L-BFGS")
    axes[2].axhline(MULTIPLIER_TOLERANCE, color=style.GREY, linewidth=0.8, linestyle=":", label="bar, $10^{-6}$")
    drawing.legend(*axes[2].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return drawing


def _draw(axis, rows: pd.DataFrame, column: str, colour: str, line: str, label: str) -> None:
    """Over games; below 1e-16 is rounding."""
    values = rows.assign(size=rows[column].abs().clip(lower=1e-16)).groupby("iteration")["size"]
    style.median_and_range(axis, values, line, color=colour, markersize=3, label=label)
