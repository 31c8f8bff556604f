"""Lecture, Section 18.5: does the primal game (policy gradient against online gradient) reach the same equilibrium?

Natural policy gradient is Hedge in every state and step, so that for T iterations with steps proportional to 1/sqrt(T)
the average iterate is no farther from equilibrium than both players' regret bounds over T. Multipliers stay in the unit
ball, where the game's value is 0 and every equilibrium has the expert's moments: the dual's moments, not its policy.
With the dual's entropy bonus the equilibrium is one policy, and the primal must find that one.

The bound is what the claim rests on: a finite range of T fixes no rate, and the steps and the range of T were chosen
after a first look.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor

from experiments.harness import stats, style
from experiments.harness.claim import Claim, Verdict, below, holds
from experiments.harness.context import Context
from experiments.harness.schema import bounded, seed_list
from experiments.harness.stats import Interval
from experiments.lecture._random_games import RandomGames, random_games
from experiments.lecture.dual import recorded
from imitation.mdp.games import dual_maxent, primal_game, smoothness_step
from imitation.mdp.horizon import occupancies, repeated, value_iteration
from imitation.mdp.maxent import MomentGame, soft_best_response

SHARD_AXES = ("seeds",)
RADIUS = 1.0  # of the ball of multipliers
# The bounds' slope is -1/2; at small T the start still weighs and falls as 1 / T, so that only T within this factor of
# the largest are fitted.
SLOPE, FITTED = -0.45, 16
LEAST_GAIN = 10.0  # from the uniform policy's gap to the last: moments reached, not only approached
SAME_POLICY = 1e-6  # total variation of both last policies, with entropy, to the MaxEnt policy, mean over its visits
POLICY_STEP = 0.5  # of the regularised game: halfway to the soft best response in every iteration
PLAIN, REGULARISED, DUAL, OTHER = "primal", "primal with entropy", "dual", "another equilibrium"


@dataclass
class Config:
    """iterations: lengths T of the plain games, each with steps of its own; regularised: of the one with entropy."""

    seeds: list[int] = seed_list()
    states: int = bounded(2, 100)
    actions: int = bounded(2, 20)
    horizon: int = bounded(1, 100)
    expert_scale: float = bounded(0.01, 10)
    iterations: list[int] = bounded(2, 1_000_000, min_items=2, unique=True)
    regularised: int = bounded(2, 100_000)


class Steps(NamedTuple):
    """Step sizes of both players for T iterations, and the bound on the average iterate's gap that they give, (P,)."""

    policy: Tensor
    reward: Tensor
    bound: Tensor


def steps(game: MomentGame, iterations: int) -> Steps:
    """Hedge's log(A)/step + step T range^2/8 per step of the horizon, and the gradient's D^2/(2 step) + step G^2 T/2.

    What Q can be lies between the returns of the policies that are best and worst for each feature, and so does the
    gradient mu - mu_E; D = 2 is the ball's diameter. These steps minimise the two sums. (From the ball's centre, where
    the game starts, D = 1 would do: the reward player's share of the bound is twice what is needed.)
    """
    features = game.features.movedim(-1, 0)  # (K, P, S, A)
    best, worst = (value_iteration(game.mdp, repeated(sign * features, game.horizon)) for sign in (1, -1))
    spans = best.action_value.amax(-1) + worst.action_value.amax(-1)  # (H, K, P, S): largest less smallest Q
    ranges = spans.square().sum(1).amax(-1).sum(0) / 8
    high, low = ((game.mdp.initial * plan.value[0]).sum(-1).mT for plan in (best, worst))  # (P, K); low is negated
    largest = torch.maximum(high - game.expert, game.expert + low).norm(dim=-1)
    entropy = game.horizon * float(np.log(game.mdp.actions))
    regret = 2 * (entropy * ranges * iterations).sqrt() + 2 * RADIUS * largest * iterations**0.5
    return Steps(
        (entropy / (ranges * iterations)).sqrt(), 2 * RADIUS / (largest * iterations**0.5), regret / iterations
    )


def run(cfg: Config, context: Context) -> pd.DataFrame:
    """One row per seed, method and number of iterations T; `sweeps` are passes over the horizon, what time goes into.

    `gap` is the distance from equilibrium (both players' best gain) of the averages over T iterations, with `bound`;
    `moment_gap` is |mu - mu_E| of the average and `to_dual` the total variation of the policy to the MaxEnt policy.
    """
    games = random_games(context, cfg.seeds, cfg.states, cfg.actions, 2, cfg.horizon, cfg.expert_scale)
    game = games.game
    visits = occupancies(game.mdp, games.log_policy.exp())  # the soft-optimal expert is the MaxEnt policy
    frames = []
    for count in sorted(cfg.iterations):
        frames.append(_plain(game, count, games.log_policy, visits))
        context.progress(sum(cfg.iterations[: len(frames)]), sum(cfg.iterations))
    frames.append(_regularised(cfg, game, games.log_policy, visits))
    frames.append(_other(cfg, random_games(context, cfg.seeds, cfg.states, cfg.actions, 2, cfg.horizon, 0.0)))
    table = pd.concat(frames, ignore_index=True)
    return table.assign(seed=np.tile(cfg.seeds, len(table) // len(cfg.seeds)))


def _plain(game: MomentGame, count: int, target: Tensor, visits: Tensor) -> pd.DataFrame:
    chosen = steps(game, count)
    path = primal_game(game, chosen.policy[:, None, None], chosen.reward[:, None], RADIUS, count)
    mean, multipliers = path.moments.mean(0), path.multipliers.mean(0)
    average = path.mean_visits / path.mean_visits.sum(-1, keepdim=True).clamp_min(1e-300)
    columns = {
        "gap": exploitability(game, mean, multipliers),
        "start": exploitability(game, path.moments[0], path.multipliers[0]),
        "bound": chosen.bound,
        "moment_gap": (mean - game.expert).norm(dim=-1),
        "to_dual": _variation(average, target.exp(), visits),
    }
    table = pd.DataFrame({name: value.numpy() for name, value in columns.items()})
    return table.assign(method=PLAIN, iteration=count, sweeps=3 * count)


def exploitability(game: MomentGame, moments: Tensor, multipliers: Tensor) -> Tensor:
    """What both players could still gain by a best response: 0 at an equilibrium, never negative, (P,)."""
    best = value_iteration(game.mdp, repeated(game.reward(multipliers), game.horizon)).value[0]
    policy = (game.mdp.initial * best).sum(-1) - (multipliers * game.expert).sum(-1)
    return policy + RADIUS * (moments - game.expert).norm(dim=-1)


def _regularised(cfg: Config, game: MomentGame, target: Tensor, visits: Tensor) -> pd.DataFrame:
    """The primal with an entropy bonus of 1 and no ball, and the dual, at the same iterations and reward steps."""
    reward_step, frames = smoothness_step(game) / 2, []
    dual = dual_maxent(game, reward_step, cfg.regularised)
    counts = recorded(cfg.regularised)
    last = counts[-1]
    path = primal_game(game, POLICY_STEP, reward_step, float("inf"), last, temperature=1.0, keep=counts)
    for count, log_policy in zip(counts, path.kept, strict=True):
        response = soft_best_response(game.mdp, game.reward(dual.multipliers[count - 1]), game.horizon)
        answers = {
            REGULARISED: (path.moments[count - 1], log_policy),
            DUAL: (dual.moments[count - 1], response.log_policy),
        }
        for method, (moments, log_policy) in answers.items():
            columns = {"moment_gap": (moments - game.expert).norm(dim=-1),
                       "to_dual": _variation(log_policy.exp(), target.exp(), visits)}  # fmt: skip
            table = pd.DataFrame({name: value.numpy() for name, value in columns.items()})
            sweeps = (3 if method == REGULARISED else 2) * count
            frames.append(table.assign(method=method, iteration=count, sweeps=sweeps))
    return pd.concat(frames, ignore_index=True)


def _other(cfg: Config, games: RandomGames) -> pd.DataFrame:
    """An expert that is any policy is an equilibrium of its own game, with lambda = 0, but not the MaxEnt policy."""
    game = games.game
    path = dual_maxent(game, smoothness_step(game), cfg.regularised)
    dual = soft_best_response(game.mdp, game.reward(path.multipliers[-1]), game.horizon).log_policy.exp()
    own = games.log_policy.exp()
    gap = exploitability(game, game.moments(games.log_policy), torch.zeros_like(game.expert))
    columns = {"gap": gap, "to_dual": _variation(own, dual, occupancies(game.mdp, dual))}
    table = pd.DataFrame({name: value.numpy() for name, value in columns.items()})
    return table.assign(method=OTHER, iteration=cfg.regularised)


def _variation(policy: Tensor, target: Tensor, visits: Tensor) -> Tensor:
    """Total variation to the target in a state, mean over the target's visits, (P,)."""
    return ((policy - target).abs().sum(-1) / 2 * visits.sum(-1)).sum((0, -1)) / len(policy)


def slope(frame: pd.DataFrame) -> Interval:
    """Slope of the log gap against log T where T is large, one per game; mean with its interval."""
    counts, gaps = _gaps(frame)
    large = counts * FITTED >= counts.max()
    return stats.mean_interval(np.polyfit(np.log(counts[large]), np.log(gaps[:, large]).T, 1)[0])


def segments(frame: pd.DataFrame) -> list[float]:
    """Slope of the log gap between neighbouring T, mean over games."""
    counts, gaps = _gaps(frame)
    return (np.diff(np.log(gaps), axis=1) / np.diff(np.log(counts))).mean(0).tolist()


def _gaps(frame: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Increasing T (N,), and the gaps of every game, (P, N)."""
    table = frame[frame.method == PLAIN].pivot(index="seed", columns="iteration", values="gap")
    return table.columns.to_numpy(float), table.to_numpy(float)


def decide(frame: pd.DataFrame) -> Verdict:
    """The average iterate is within its bound at every T, comes much closer than it began, and still falls at the end.

    The bound tends to 0, so that whatever stays within it does too.
    """
    rows = frame[frame.method == PLAIN]
    final = rows[rows.iteration == rows.iteration.max()]
    within = bool((rows.gap <= rows.bound).all() and (rows.gap >= -1e-9).all())
    if not within:
        return holds(False, float((rows.gap / rows.bound).max()), "The gap leaves the bound of its step sizes.")
    gain = stats.mean_interval(np.log(final.start / final.gap))
    if not gain[1] > np.log(LEAST_GAIN):
        return below((-gain[0], -gain[2], -gain[1]), -float(np.log(LEAST_GAIN)), "The gap has not fallen enough.")
    share = (rows.gap / rows.bound).max()
    note = (
        f"Log-log slope of the gap over the largest T, {rows.iteration.max() // FITTED} to {rows.iteration.max()}. In "
        "every game and for every T the gap is within the bound of the stated steps, of order T^(-1/2) (at most "
        f"{share:.2g} of it); at the end it is {final.gap.mean():.2g}, {np.exp(gain[0]):.0f} times less than at the "
        f"start, and the average's moments are {final.moment_gap.mean():.2g} away. Not decided here: the rate. Steps "
        "and T were chosen after a first look."
    )
    return below(slope(frame), 0.0, note)


def decide_rate(frame: pd.DataFrame) -> Verdict:
    """Where T is large the gap itself falls at least about as fast as its bound, T^(-1/2)."""
    counts, _ = _gaps(frame)
    _, low, high = slope(frame)
    place = "within" if low <= -0.5 <= high else "below" if low > -0.5 else "above"
    note = (
        f"Log-log slope of the gap over the largest T, {counts.max() / FITTED:g} to {counts.max():g}, against {SLOPE:g}"
        f", which allows for finite T; -1/2 itself lies {place} the interval. Between neighbouring T from "
        f"{counts.min():g} on: {', '.join(f'{one:.2f}' for one in segments(frame))}."
    )
    return below(slope(frame), SLOPE, note)


def decide_same(frame: pd.DataFrame) -> Verdict:
    """With the entropy bonus both end at one policy; without it the game has equilibria with other policies."""
    rows = frame[frame.method.isin([REGULARISED, DUAL])]
    last = rows[rows.iteration == rows.iteration.max()]
    worst = float(last.to_dual.max(skipna=False))
    other = frame[frame.method == OTHER]
    several = bool((other.gap.abs() <= 1e-9).all() and (other.to_dual > 0.01).all()) and not other.empty
    primal, dual = (last[last.method == method].to_dual.max() for method in (REGULARISED, DUAL))
    note = (
        f"With the entropy bonus both end at the MaxEnt policy after {rows.iteration.max()} iterations (total "
        f"variation {primal:.0e} for the primal, {dual:.0e} for the dual). Without it the equilibrium fixes the "
        f"moments only: an expert that is any policy is one itself (gap {other.gap.abs().max():.0e}), "
        f"{other.to_dual.mean():.2g} away "
        "from the dual's in total variation."
    )
    both = set(last.method) == {REGULARISED, DUAL}
    verdict = holds(both and worst <= SAME_POLICY, worst, note)
    return verdict.as_corrected(note) if several else verdict


CLAIMS = [
    Claim(
        id="lecture.primal",
        source="Lecture 18",
        location="Section 18.5, table",
        statement="(Natural) policy gradient against online gradient solves the game: the average iterate tends to "
        "equilibrium.",
        measures="slope of log gap against log iterations, largest T",
        decide=decide,
        smallest_scale="laptop",
    ),
    Claim(
        id="lecture.primal.rate",
        source="Lecture 18",
        location="Section 18.5, table",
        statement="(Asked here) The average iterate's distance from equilibrium falls as T^(-1/2) or faster, as the "
        "bound does.",
        measures="slope of log gap against log iterations, largest T",
        decide=decide_rate,
        smallest_scale="laptop",
    ),
    Claim(
        id="lecture.primal.same",
        source="Lecture 18",
        location="Sections 18.5 and 18.6",
        statement="(Asked here) Primal and dual reach the same equilibrium.",
        measures="total variation of either last policy to the MaxEnt policy, largest",
        decide=decide_same,
    ),
]


def figure(frame: pd.DataFrame) -> Figure:
    """(a) gap of the average iterate against T with its bound; (b), (c) moments against iterations and sweeps."""
    drawing, axes = style.panels(1, 3, height=2.6)
    rows = frame[frame.method == PLAIN]
    _draw(axes[0], rows, "iteration", "gap", style.VERMILION, "o-", "average iterate")
    bound = rows.groupby("iteration").bound.median()
    axes[0].plot(
        bound.index, np.asarray(bound), "--", color=style.BLACK, linewidth=0.8, label="bound of the stated steps"
    )
    axes[0].set(ylabel="gap of the game (return)", xlabel="iterations $T$", title="distance to equilibrium")
    looks = {PLAIN: (style.VERMILION, "o-", None), REGULARISED: (style.PURPLE, "^-", "primal with entropy, last"),
             DUAL: (style.BLUE, "s--", "dual, last")}  # fmt: skip
    for axis, along, label in ((axes[1], "iteration", "iterations"), (axes[2], "sweeps", "sweeps over the horizon")):
        for method, (colour, line, name) in looks.items():
            shown = frame[frame.method == method]
            _draw(axis, shown, along, "moment_gap", colour, line, name)
        axis.set(ylabel=r"moment gap $|\mu-\mu_E|$", xlabel=label)
    axes[1].set_title("against iterations")
    axes[2].set_title("against work")
    for axis in axes:
        axis.set(xscale="log", yscale="log")
    handles = [axis.get_legend_handles_labels() for axis in axes[:2]]
    drawing.legend(*[handles[0][i] + handles[1][i] for i in (0, 1)], loc="outside lower center", ncols=2)
    return drawing


def _draw(axis, rows: pd.DataFrame, along: str, value: str, colour: str, line: str, label: str | None) -> None:
    values = rows.assign(size=rows[value].clip(lower=1e-16)).groupby(along)["size"]
    style.median_and_range(axis, values, line, color=colour, markersize=3, label=label)
