"""Lecture, Fig. 18.3's caption: does solving the game need fewer demonstrations than behavioural cloning?

Random processes whose reward is linear in two known features. Three learners see the same demonstrations: a clone per
state and step (the expert's own class of policies), a clone per state only, and MaxEnt IRL on the empirical moments
with penalty 1/(100 n): a prior on lambda five times as wide as the experts' law, so that moments that no policy has do
no harm. The stationary clone is there so that the game's advantage is not overstated: the processes and rewards do not
change over time. Experts: soft-optimal and optimal.

What the game is given and the clones are not: the exact dynamics, the reward's true features, and the prior on lambda.
The clones are plain frequencies without smoothing, uniform where there is no data. The prior was chosen after a first
look at these processes.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor

from experiments.harness import stats, style
from experiments.harness.claim import REFUTED, REPRODUCED, Claim, Verdict, above, below, holds, weakest
from experiments.harness.context import Context
from experiments.harness.schema import bounded, seed_list
from experiments.harness.stats import Interval
from experiments.lecture._random_games import RandomGames, member, random_games
from imitation.mdp.games import newton_maxent
from imitation.mdp.horizon import moments, occupancies, repeated, value_iteration
from imitation.mdp.learners import stationary_clone, time_indexed_clone
from imitation.mdp.maxent import MomentGame, soft_best_response
from imitation.mdp.rollouts import Episodes, rollouts, step_counts
from imitation.mdp.tabular import TabularMDP

SHARD_AXES = ("seeds",)
INDEXED, STATIONARY, GAME = "clone per step", "clone, stationary", "MaxEnt IRL"
EXPERTS = ("soft-optimal", "optimal")
TARGETS = (0.05, 0.01)  # normalised gaps down to which the demonstrations that a method needs are counted
PRIOR = 0.01  # the penalty times n: one over the prior's variance
CONVERGED = 1e-6  # of the dual's gradient, in the moments' units


@dataclass
class Config:
    """n: numbers of demonstrations of `horizon` steps; expert_scale: of the experts' multipliers."""

    seeds: list[int] = seed_list()
    states: int = bounded(2, 200)
    actions: int = bounded(2, 20)
    horizon: int = bounded(1, 200)
    expert_scale: float = bounded(0.01, 10)
    n: list[int] = bounded(1, 100_000, unique=True)


def run(cfg: Config, context: Context) -> pd.DataFrame:
    """One row per seed (process), expert, number of demonstrations and method.

    `gap` is (J(pi_E) - J(pi)) / (J(best) - J(uniform)) under the true reward, below 0 if better than the expert.
    `residual` is the largest component of the dual's last gradient.
    """
    games = random_games(context, cfg.seeds, cfg.states, cfg.actions, 2, cfg.horizon, cfg.expert_scale)
    reward = games.game.reward(games.multipliers)
    best = value_iteration(games.game.mdp, repeated(reward, cfg.horizon)).log_policy.exp()
    frames = []
    for kind, expert in zip(EXPERTS, (games.log_policy.exp(), best), strict=True):
        counts = _demonstrated(cfg, games, expert, context)
        policies, residual = _learned(cfg, games.game, counts)
        normal = _normalised(games.game, reward, expert, best)
        for method, policy in policies.items():
            index = pd.MultiIndex.from_product([cfg.seeds, sorted(cfg.n)], names=["seed", "n"])
            values = normal(policy).numpy().ravel()  # (P, N)
            rows = pd.DataFrame({"gap": values}, index).reset_index().assign(method=method, expert=kind)
            rows["residual"] = residual.numpy().ravel() if method == GAME else np.nan
            frames.append(rows)
        context.progress(len(frames), 3 * len(EXPERTS))
    return pd.concat(frames, ignore_index=True)


def _demonstrated(cfg: Config, games: RandomGames, expert: Tensor, context: Context) -> Tensor:
    """Counts per step of the first n demonstrations, (H, P, N, S, A): more demonstrations contain the fewer."""
    tables = []
    for index, seed in enumerate(cfg.seeds):
        mdp = member(games.game, index).mdp
        episodes = rollouts(mdp, expert[:, index], max(cfg.n), context.rng(seed, 1))
        first = [Episodes(*(part[:n] for part in episodes)) for n in sorted(cfg.n)]
        tables.append(torch.stack([step_counts(one, cfg.states, cfg.actions) for one in first], 1))
    return torch.stack(tables, 1)


def _learned(cfg: Config, game: MomentGame, counts: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """Every method's policy (H, P, N, S, A), and the dual's last gradient (P, N)."""
    n = torch.tensor(sorted(cfg.n), dtype=torch.float64)[:, None]
    shared = TabularMDP(game.mdp.transition[:, None], game.mdp.initial[:, None])
    features = game.features[:, None]
    empirical = moments(counts, features.expand(*counts.shape[1:], 2)) / n
    match = MomentGame(shared, features, empirical, cfg.horizon)
    multipliers = newton_maxent(match, PRIOR / n)
    response = soft_best_response(shared, match.reward(multipliers), cfg.horizon).log_policy
    residual = (match.moments(response) - empirical + PRIOR / n * multipliers).abs().amax(-1)
    policies = {
        INDEXED: time_indexed_clone(counts),
        STATIONARY: repeated(stationary_clone(counts), cfg.horizon),
        GAME: response.exp(),
    }
    return policies, residual


def _normalised(game: MomentGame, reward: Tensor, expert: Tensor, best: Tensor) -> Callable[[Tensor], Tensor]:
    """Maps policies (H, P, N, S, A) to gaps (P, N)."""
    mdp = TabularMDP(game.mdp.transition[:, None], game.mdp.initial[:, None])

    def value(policy: Tensor) -> Tensor:
        """J of policies under the true reward, (H, P, N, S, A) -> (P, N)."""
        return (occupancies(mdp, policy) * reward[:, None]).sum((0, -2, -1))

    uniform = torch.full_like(expert, 1 / expert.shape[-1])
    shown, top, chance = (value(policy[:, :, None]) for policy in (expert, best, uniform))
    return lambda policy: (shown - value(policy)) / (top - chance)


def gaps(frame: pd.DataFrame, expert: str, method: str) -> pd.DataFrame:
    """Gaps by seed (rows) and number of demonstrations (columns)."""
    rows = frame[(frame.expert == expert) & (frame.method == method)]
    return rows.pivot(index="seed", columns="n", values="gap")


def demonstrations_needed(means: np.ndarray, n: np.ndarray, target: float) -> np.ndarray:
    """log n where mean gaps (R, N) first come down to the target, (R,), between two n on the line in log n.

    The smallest and the largest n bound what can be told: a curve that starts below the target counts as the first, one
    that does not come down to it as the last, so that both make two methods more alike. A NaN stays one.
    """
    steps, rows = np.log(n), np.arange(len(means))
    reached = means <= target
    place = np.where(reached.any(1), reached.argmax(1), len(n) - 1)
    before = np.maximum(place - 1, 0)
    high, low = means[rows, before], means[rows, place]
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(reached.any(1) & (place > 0), (high - target) / (high - low), 1.0)
    found = steps[before] + share * (steps[place] - steps[before])
    return np.where(np.isfinite(means).all(1), found, np.nan)


def saving(frame: pd.DataFrame, expert: str, clone: str, target: float) -> Interval:
    """log of (demonstrations that the clone needs over those that the game needs), bootstrapped over processes.

    Paired: a resample takes both methods' gaps of the same processes.
    """
    both = [gaps(frame, expert, method) for method in (clone, GAME)]
    n = both[0].columns.to_numpy(float)

    def statistic(resamples: np.ndarray) -> np.ndarray:
        """(R, P, 2, N) -> (R,)."""
        means = resamples.mean(1)
        return demonstrations_needed(means[:, 0], n, target) - demonstrations_needed(means[:, 1], n, target)

    return stats.bootstrap_interval(np.stack([table.to_numpy() for table in both], 1), statistic)


def difference(frame: pd.DataFrame, expert: str, clone: str, n: int) -> Interval:
    """The game's gap less the clone's on the same demonstrations, mean over processes with its interval."""
    return stats.mean_interval(gaps(frame, expert, GAME)[n] - gaps(frame, expert, clone)[n])


def _unsettled(frame: pd.DataFrame) -> Verdict | None:
    residual = float(frame[frame.method == GAME].residual.max(skipna=False))
    return None if residual <= CONVERGED else holds(False, residual, "The dual has not converged.")


def _decide_needed(frame: pd.DataFrame, clone: str) -> Verdict:
    unsettled = _unsettled(frame)
    if unsettled:
        return unsettled
    savings = {(expert, target): saving(frame, expert, clone, target) for expert in EXPERTS for target in TARGETS}
    checks = {cell: above(interval, 0.0) for cell, interval in savings.items()}
    worst = weakest(list(checks.values()), expected=float(np.log(frame.n.max())))  # the most that n can tell
    place = next(cell for cell, check in checks.items() if check is worst)
    listed = "; ".join(
        "{} expert, gap {:g}: {:.2g} [{:.2g}, {:.2g}]".format(*cell, *np.exp(interval))
        for cell, interval in savings.items()
    )
    last = frame.n.max()
    note = (
        f"log of the clone's demonstrations over the game's, {frame.seed.nunique()} processes, bootstrapped; weakest "
        f"of {len(savings)} cells ({place[0]} expert, gap {place[1]:g}). Ratios: {listed}; a method that has not "
        f"come down to the gap counts as n = {last}. {_failing(checks)}The game is given the exact dynamics, the true "
        "features and a prior on lambda (chosen after a first look); the clones have no smoothing."
    )
    return worst._replace(note=note)


def _failing(checks: dict[tuple[str, float], Verdict]) -> str:
    """In how many cells it fails and why it may where the expert is optimal, in words; nothing where it never does."""
    experts = [expert for (expert, _), check in checks.items() if check.verdict != REPRODUCED]
    if not experts:
        return ""
    reason = "The game's policies are stochastic by their entropy bonus, an optimal expert is not. "
    return f"Not shown in {len(experts)} of {len(checks)} cells. {reason if EXPERTS[1] in experts else ''}"


def _decide_gap(frame: pd.DataFrame, clone: str) -> Verdict:
    unsettled = _unsettled(frame)
    if unsettled:
        return unsettled
    cells = [(expert, n) for expert in EXPERTS for n in sorted(frame.n.unique())]
    checks = {cell: below(difference(frame, cell[0], clone, cell[1]), 0.0) for cell in cells}
    worst = weakest(list(checks.values()), expected=-1.0)
    place = next(cell for cell, check in checks.items() if check is worst)
    worse = [f"{expert}, n = {n}" for (expert, n), check in checks.items() if check.verdict == REFUTED]
    listed = f" The clone is better at: {'; '.join(worse)}." if worse else ""
    note = (
        f"The game's gap less the clone's on the same demonstrations, {frame.seed.nunique()} processes; the weakest of "
        f"{len(cells)} cells ({place[0]} expert, n = {place[1]}). A gap below 0 is a return above the expert's.{listed}"
    )
    return worst._replace(note=note)


def decide_indexed(frame: pd.DataFrame) -> Verdict:
    """For both experts and every target gap the game needs fewer demonstrations than the clone per step."""
    return _decide_needed(frame, INDEXED)


def decide_stationary(frame: pd.DataFrame) -> Verdict:
    """For both experts and every target gap the game needs fewer demonstrations than the stationary clone."""
    return _decide_needed(frame, STATIONARY)


def decide_indexed_gap(frame: pd.DataFrame) -> Verdict:
    """For both experts and every n the game's gap is below that of the clone per step."""
    return _decide_gap(frame, INDEXED)


def decide_stationary_gap(frame: pd.DataFrame) -> Verdict:
    """For both experts and every n the game's gap is below that of the stationary clone."""
    return _decide_gap(frame, STATIONARY)


CLAIMS = [
    Claim(
        id="lecture.sample-efficiency",
        source="Lecture 18",
        location="Fig. 18.3, caption",
        statement="Solved as MaxEnt IRL the game needs fewer demonstrations than cloning (per state and step).",
        measures="log of the clone's demonstrations over the game's, weakest cell",
        decide=decide_indexed,
        smallest_scale="laptop",
    ),
    Claim(
        id="lecture.sample-efficiency.stationary",
        source="Lecture 18",
        location="Fig. 18.3, caption",
        statement="Solved as MaxEnt IRL the game needs fewer demonstrations than cloning (one stationary clone).",
        measures="log of the clone's demonstrations over the game's, weakest cell",
        decide=decide_stationary,
        smallest_scale="laptop",
    ),
    Claim(
        id="lecture.sample-efficiency.gap",
        source="Lecture 18",
        location="Fig. 18.3, caption",
        statement="(Asked here) MaxEnt IRL returns more than a clone per step with every number of demonstrations.",
        measures="difference of normalised gaps to the expert's return, weakest cell",
        decide=decide_indexed_gap,
        smallest_scale="laptop",
    ),
    Claim(
        id="lecture.sample-efficiency.gap.stationary",
        source="Lecture 18",
        location="Fig. 18.3, caption",
        statement="(Asked here) MaxEnt IRL returns more than a stationary clone with every number of demonstrations.",
        measures="difference of normalised gaps to the expert's return, weakest cell",
        decide=decide_stationary_gap,
        smallest_scale="laptop",
    ),
]


def figure(frame: pd.DataFrame) -> Figure:
    """The normalised gap against the number of demonstrations, mean over processes with 95 % intervals."""
    drawing, axes = style.panels(1, 2, height=2.6, sharey=True)
    looks = {
        INDEXED: (style.VERMILION, "s:", "cloning per state and step"),
        STATIONARY: (style.ORANGE, "^--", "cloning, stationary"),
        GAME: (style.BLUE, "o-", "the game (MaxEnt IRL)"),
    }
    for axis, expert in zip(axes, EXPERTS, strict=True):
        for method, (colour, line, label) in looks.items():
            table = gaps(frame, expert, method)
            center, low, high = np.array([stats.mean_interval(table[n]) for n in table]).T
            bars = np.nan_to_num([center - low, high - center])
            axis.errorbar(table.columns, center, bars, fmt=line, color=colour, markersize=3, label=label)
        marks = [axis.axhline(target, color=style.GREY, linewidth=0.8) for target in TARGETS]
        marks[0].set_label(f"targets {' and '.join(f'{target:g}' for target in TARGETS)}")
        axis.set(xscale="log", xlabel="demonstrations $n$", title=f"{expert} expert")
        axis.set_yscale("symlog", linthresh=1e-2)
    axes[0].set_ylabel("gap to the expert over the\nbest policy's gain on chance")
    drawing.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return drawing
