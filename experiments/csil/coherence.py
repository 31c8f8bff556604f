"""CSIL, Sections 3-4 and Theorem 2: a policy's coherent reward, its shaping, and the bound on the game's objective.

With r = alpha (log q - log p), normalised occupancies and p(a|s) = the policy's own prior predictive law, Theorem 2 is

    E_D[r] - E_{s ~ mu_q, a ~ q}[r] - beta KL_w >= alpha E_D[log q] - (alpha + beta) KL_w - alpha E_D[log p],

KL_w = KL(q(w) || p(w)) of the weights. The last term is the constant: it does not depend on q. The two sides differ by
alpha (KL_w - E_s KL(q(.|s) || p(.|s))), so that neither beta nor the demonstrations matter for the slack, and the one
inequality is data processing at every state. Summed occupancies (of mass 1/(1-gamma)) multiply E_s KL alone.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from experiments.csil import _linear_gaussian as gaussian
from experiments.harness import stats, style
from experiments.harness.claim import Claim, Verdict, holds
from experiments.harness.context import Context
from experiments.harness.schema import bounded, seed_list
from imitation.mdp import random_processes
from imitation.mdp.soft import (
    coherent_reward,
    next_value,
    shaped_reward,
    soft_policy_iteration,
    soft_policy_value,
    soft_value_iteration,
)

SHARD_AXES = ("seeds",)
EXACT = 1e-9  # in nats; float64 sums of a few hundred terms of size 1 to 100
LAWS = ("3 demonstrations", "30 demonstrations", "any posterior")
COLDER = 0.1  # the policy temperature over alpha at which the clone is no longer optimal


@dataclass
class Config:
    """seeds x processes: the random processes of each size; alphas: reward temperatures of the exact claims.

    feature_dimensions: weights of the linear policies; log10_temperatures: range of alpha and beta for the bound.
    """

    seeds: list[int] = seed_list()
    processes: int = bounded(1, 1000)
    states: list[int] = bounded(2, 100)
    actions: int = bounded(2, 20)
    alphas: list[float] = bounded(1e-3, 1e3)
    discount: float = bounded(0, 0.95)
    feature_dimensions: list[int] = bounded(1, 64)
    bound_states: int = bounded(2, 100)
    noise: float = bounded(1e-2, 10)
    log10_temperatures: list[float] = bounded(-3, 3, min_items=2)


def run(cfg: Config, context: Context) -> pd.DataFrame:
    """One row per process and condition.

    kind "inversion" and "shaping": errors in nats (values and rewards over alpha). kind "bound": both sides as stated
    (`objective`, `bound`), with summed occupancies, and with an action prior outside the policy's space.
    """
    frames = []
    for done, seed in enumerate(cfg.seeds):
        frames += [_exact(cfg, states, alpha, seed, context) for states in cfg.states for alpha in cfg.alphas]
        frames += [_bound(cfg, size, law, seed, context) for size in cfg.feature_dimensions for law in LAWS]
        context.progress(done + 1, len(cfg.seeds))
    return pd.concat(frames, ignore_index=True)


def _largest(values: Tensor) -> np.ndarray:
    return values.abs().amax((-2, -1)).numpy() if values.ndim == 3 else values.abs().amax(-1).numpy()


def _exact(cfg: Config, states: int, alpha: float, seed: int, context: Context) -> pd.DataFrame:
    rng = context.rng(seed, states, round(1000 * alpha))
    shape = (cfg.processes, states, cfg.actions)
    mdp, elsewhere = (random_processes(*shape, rng) for _ in range(2))
    clone, prior, rival = (torch.from_numpy(2 * rng.normal(size=shape)).log_softmax(-1) for _ in range(3))
    start = alpha * torch.from_numpy(rng.normal(size=shape[:2]))
    iterations = 40 + round(40 / (1 - cfg.discount))  # gamma^iterations < e^-40
    reward = coherent_reward(clone, prior, alpha)
    here = soft_value_iteration(mdp, reward, prior, alpha, cfg.discount, iterations, start)
    there = soft_value_iteration(elsewhere, reward, prior, alpha, cfg.discount, iterations, start)
    solved = soft_policy_iteration(mdp, reward, prior, alpha, cfg.discount)
    colder = soft_value_iteration(mdp, reward, prior, COLDER * alpha, cfg.discount, iterations)
    # A rival's regularised value is minus the discounted KL to the clone: nothing beats the clone's zero.
    loss = soft_policy_value(mdp, reward, rival, prior, alpha, cfg.discount) / alpha
    distance = -soft_policy_value(mdp, torch.zeros_like(reward), rival, clone, 1.0, cfg.discount)
    inversion = {
        "policy_error": _largest(here.log_policy - clone),
        "value_error": _largest(here.value) / alpha,
        "other_dynamics_error": _largest(there.log_policy - clone),
        "policy_iteration_error": _largest(solved.log_policy - clone),
        "rival_error": _largest(loss + distance),
        "rival_value": loss.amax(-1).numpy(),
        "colder_change": _largest(colder.log_policy.exp() - clone.exp()),
    }
    shaping = _shaping(cfg, mdp, prior, alpha, iterations, rng)
    index = {"seed": seed, "process": np.arange(cfg.processes), "states": states, "alpha": alpha}
    tables = [
        pd.DataFrame({"kind": kind} | index | columns)
        for kind, columns in (("inversion", inversion), ("shaping", shaping))
    ]
    return pd.concat(tables, ignore_index=True)


def _shaping(cfg: Config, mdp, prior: Tensor, alpha: float, iterations: int, rng: np.random.Generator) -> dict:
    """The reward is of the order of alpha, so that its soft-optimal policy is neither the prior nor greedy."""
    reward = alpha * torch.from_numpy(rng.normal(size=tuple(prior.shape)))
    expert = soft_policy_iteration(mdp, reward, prior, alpha, cfg.discount)
    value = soft_value_iteration(mdp, reward, prior, alpha, cfg.discount, iterations).value
    coherent = coherent_reward(expert.log_policy, prior, alpha)
    shaped = shaped_reward(mdp, reward, value, cfg.discount)
    again = soft_value_iteration(mdp, shaped, prior, alpha, cfg.discount, iterations)
    unshaped = coherent - reward - cfg.discount * next_value(mdp, value)
    return {
        "coherent_error": _largest(coherent - shaped) / alpha,
        "again_error": _largest(again.log_policy - expert.log_policy),
        "again_value": _largest(again.value) / alpha,
        "potential_error": _largest(unshaped + value[..., None]) / alpha,
        "reward_change": _largest(coherent - reward) / alpha,
    }


def _bound(cfg: Config, dimension: int, law: str, seed: int, context: Context) -> pd.DataFrame:
    rng = context.rng(seed, dimension, LAWS.index(law))
    count = cfg.processes
    mdp = random_processes(count, cfg.bound_states, 2, rng)
    features = torch.from_numpy(rng.normal(size=(count, cfg.bound_states, dimension)) / np.sqrt(dimension))
    data = gaussian.demonstrate(mdp, features, cfg.noise, cfg.discount, 3 if law == LAWS[0] else 30, rng)
    if law == LAWS[2]:
        weights = gaussian.arbitrary(count, dimension, rng)
    else:
        weights = gaussian.posterior(features, data, cfg.noise)
    exponents = rng.uniform(min(cfg.log10_temperatures), max(cfg.log10_temperatures), (2, count))
    alpha, beta = torch.from_numpy(10**exponents)
    policy = gaussian.predictive(weights, features, cfg.noise)
    shared = gaussian.predictive(gaussian.standard(count, dimension), features, cfg.noise)
    visits = gaussian.occupancy(mdp, policy, cfg.discount)
    by_state = kl_divergence(policy, shared)
    columns = {
        "alpha": alpha,
        "beta": beta,
        "weight_kl": gaussian.weight_divergence(weights),
        "action_kl": (visits * by_state).sum(-1),
        "largest_action_kl": by_state.amax(-1),
    }
    columns |= _sides(cfg, columns, data, visits, policy, shared)
    index = {"kind": "bound", "seed": seed, "process": np.arange(count), "dimension": dimension, "law": law}
    return pd.DataFrame(index | {name: value.numpy() for name, value in columns.items()})


def _sides(
    cfg: Config, given: dict[str, Tensor], data: gaussian.Data, visits: Tensor, policy: Normal, shared: Normal
) -> dict[str, Tensor]:
    """Both sides of Theorem 2 from their definitions: as stated, and with each of its two conditions broken."""
    alpha, beta, divergence = given["alpha"], given["beta"], given["weight_kl"]
    mass = 1 / (1 - cfg.discount)
    outside = Normal(torch.zeros_like(shared.mean), torch.ones_like(shared.mean))  # not the law of any N(0, I) weights
    sides = {}
    for name, prior, total in (("", shared, 1.0), ("_summed", shared, mass), ("_outside", outside, 1.0)):
        online = (visits * gaussian.mean_log_ratio(policy, prior)).sum(-1)
        demonstrated = gaussian.mean_log_likelihood(policy, data) - gaussian.mean_log_likelihood(prior, data)
        sides[f"objective{name}"] = total * alpha * (demonstrated - online) - beta * divergence
        sides[f"bound{name}"] = total * alpha * demonstrated - (alpha + beta) * divergence
        if total == mass:
            sides["bound_repaired"] = mass * alpha * demonstrated - (mass * alpha + beta) * divergence
    return sides


def _within(values: pd.Series, limit: float = EXACT) -> bool:
    """Whether all are finite and at most `limit`; a NaN is not."""
    return len(values) > 0 and bool((values <= limit).all())


def _rows(frame: pd.DataFrame, kind: str) -> pd.DataFrame:
    return frame[frame.kind == kind]


def decide_inversion(frame: pd.DataFrame) -> Verdict:
    """Every error is rounding, no rival reaches the clone's value, and at another temperature the optimum moves."""
    rows = _rows(frame, "inversion")
    errors = ["policy_error", "value_error", "other_dynamics_error", "policy_iteration_error", "rival_error"]
    largest = rows[errors].max(axis=1, skipna=False)
    moves = bool((rows.colder_change > 1e-3).mean() > 0.99)
    note = (
        f"{len(rows)} random processes, each with two dynamics, by value and policy iteration: log pi = log q and "
        f"V = 0 to {largest.max():.0e}. A rival loses exactly its discounted KL to the clone. It needs the policy's "
        f"temperature to be the reward's: at {COLDER:g} alpha probabilities move by {rows.colder_change.mean():.2f}."
    )
    return holds(_within(largest) and bool((rows.rival_value < 0).all()) and moves, float(largest.max()), note)


def decide_shaping(frame: pd.DataFrame) -> Verdict:
    """The coherent reward is r + gamma E V(s') - V(s) to rounding, and not r itself."""
    rows = _rows(frame, "shaping")
    largest = rows[["coherent_error", "again_error", "again_value", "potential_error"]].max(axis=1, skipna=False)
    note = (
        f"{len(rows)} random processes and rewards: equal to {largest.max():.0e} (in units of alpha), where the reward "
        f"itself differs by {rows.reward_change.min():.2g} or more; the shaped reward has the same soft-optimal "
        "policy, with V = 0."
    )
    return holds(_within(largest) and bool((rows.reward_change > 1e-3).all()), float(largest.max()), note)


def slack(rows: pd.DataFrame, name: str = "", bound: str | None = None) -> pd.Series:
    """Objective minus bound, in units of alpha: nats. Negative where the bound is broken."""
    return (rows[f"objective{name}"] - rows[f"bound{bound or name}"]) / rows.alpha


def _tightness(rows: pd.DataFrame) -> stats.Interval:
    """E_s KL(q(.|s) || p(.|s)) / KL(q(w) || p(w)), 1 where the bound is tight; the mean over seeds."""
    return stats.mean_interval((rows.action_kl / rows.weight_kl).groupby(rows.seed).mean())


def _scale(rows: pd.DataFrame) -> pd.Series:
    """What rounding is relative to: the sides are differences of terms of this size, in nats."""
    return 1 + (rows.objective.abs() + rows.bound.abs()) / rows.alpha


def decide_bound(frame: pd.DataFrame) -> Verdict:
    """Data processing holds at every state, the inequality in every process, and its slack is the one derived."""
    rows = _rows(frame, "bound")
    gap = slack(rows)
    predicted = rows.weight_kl - rows.action_kl
    derived = _within((gap - predicted).abs() / _scale(rows))
    processing = _within((rows.largest_action_kl - rows.weight_kl) / (1 + rows.weight_kl))
    one, many = (rows[rows.dimension == size] for size in (rows.dimension.min(), rows.dimension.max()))
    (near, *ends), (far, *others) = _tightness(one), _tightness(many)
    note = (
        "In full: E_D[r] - E_mu,q[r] - beta KL_w >= alpha E_D[log q] - (alpha + beta) KL_w - alpha E_D[log p], KL_w of "
        f"the weights. {len(rows)} random processes; smallest slack {gap.min():.1e} nats (over alpha). The slack is "
        "alpha (KL_w - E_s KL(q(.|s)||p(.|s))), whatever beta and the data. The last KL is "
        f"{near:.2f} [{ends[0]:.2f}, {ends[1]:.2f}] of KL_w with {one.dimension.iloc[0]:g} weight(s) and "
        f"{far:.3f} [{others[0]:.3f}, {others[1]:.3f}] with {many.dimension.iloc[0]:g}: the bound loosens with size."
    )
    return holds(derived and processing and _within(-gap / _scale(rows)), float(gap.min()), note)


def decide_conditions(frame: pd.DataFrame) -> Verdict:
    """Each broken condition breaks the bound in some process; with alpha/(1-gamma) summed occupancies keep it."""
    rows = _rows(frame, "bound")
    summed, outside = (slack(rows, name) < -EXACT * _scale(rows) for name in ("_summed", "_outside"))
    repaired = _within(-slack(rows, "_summed", "_repaired") / _scale(rows))
    note = (
        f"Broken in {summed.mean():.0%} of processes if occupancies sum to 1/(1-gamma) (then the factor must be "
        f"alpha/(1-gamma) + beta), and in {outside.mean():.0%} if the action prior is N(0, 1) in place of the "
        "weights' prior predictive law: the policy may then differ from it at no cost in KL_w. A uniform prior over "
        "bounded actions is no such law either."
    )
    verdict = holds(bool(summed.any() and outside.any()) and repaired, float(outside.mean()))
    return verdict.as_corrected(note) if decide_bound(frame).verdict == "reproduced" else holds(False, 0.0, note)


SOURCE = "Watson et al. 2023"
CLAIMS = [
    Claim(
        id="csil.inversion",
        source=SOURCE,
        location="Section 3",
        statement="The cloned policy is soft-optimal for its coherent reward alpha (log q - log p), for any dynamics.",
        measures="largest error of log pi, V or Q, in nats",
        decide=decide_inversion,
    ),
    Claim(
        id="csil.shaping",
        source=SOURCE,
        location="Section 3",
        statement="For the soft-optimal policy of r the coherent reward is r shaped by the soft value.",
        measures="largest error, in units of alpha",
        decide=decide_shaping,
    ),
    Claim(
        id="csil.bound",
        source=SOURCE,
        location="Theorem 2",
        statement="The KL-regularised game objective is bounded below by a scaled KL-regularised cloning objective.",
        measures="smallest slack over alpha, in nats",
        decide=decide_bound,
    ),
    Claim(
        id="csil.bound.conditions",
        source=SOURCE,
        location="Theorem 2; found here",
        statement="(Found here) It holds for occupancies of any mass and for any action prior.",
        measures="share of processes that break it with an action prior outside the policy's space",
        decide=decide_conditions,
    ),
]


def figure(frame: pd.DataFrame) -> Figure:
    """(a) errors of the exact claims; (b) data processing; (c) tightness over size; (d) shares of broken bounds."""
    drawing, axes = style.panels(2, 2, height=2.5)
    _draw_errors(axes[0], frame)
    rows = _rows(frame, "bound")
    _draw_processing(axes[1], rows)
    _draw_tightness(axes[2], rows)
    _draw_conditions(axes[3], rows)
    return drawing


def _draw_errors(axis, frame: pd.DataFrame) -> None:
    looks = [("inversion", "policy_error", style.BLUE, "o", r"$\log\pi - \log q$"),
             ("inversion", "value_error", style.SKY, "s", r"$V/\alpha$"),
             ("inversion", "rival_error", style.GREEN, "^", "rival's loss - KL"),
             ("shaping", "coherent_error", style.VERMILION, "D", "coherent - shaped reward"),
             ("inversion", "colder_change", style.GREY, "x", rf"$\pi - q$ at {COLDER:g}$\,\alpha$"),
             ("shaping", "reward_change", style.BLACK, "+", "coherent - true reward")]  # fmt: skip
    for kind, column, colour, marker, label in looks:
        largest = _rows(frame, kind).groupby("alpha")[column].max() + 1e-17
        axis.plot(largest.index, largest, marker, color=colour, label=label, markerfacecolor="none")
    axis.axhline(EXACT, color=style.GREY, linewidth=0.7)
    axis.set(xscale="log", yscale="log", ylim=(1e-18, 1e3))
    axis.set(xlabel=r"reward temperature $\alpha$", ylabel=r"largest error (nats, or $r/\alpha$)")
    axis.set_title("random processes; line: tolerance")
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=2, columnspacing=0.8)


def _draw_processing(axis, rows: pd.DataFrame) -> None:
    sizes = sorted(rows.dimension.unique())
    for size, colour in zip(sizes, (style.BLUE, style.ORANGE, style.GREEN, style.PURPLE), strict=False):
        group = rows[rows.dimension == size]
        look = {"markersize": 2, "color": colour, "rasterized": True}
        label = "1 weight" if size == 1 else f"{size:g} weights"
        axis.plot(group.weight_kl, group.action_kl, "o", label=label, **look)
    ends = [rows.weight_kl.min(), rows.weight_kl.max()]
    axis.plot(ends, ends, color=style.BLACK, linewidth=0.8, label="equal: the bound is tight")
    axis.set(xscale="log", yscale="log", xlabel="KL of the weights (nats)", ylabel="mean KL of the actions (nats)")
    axis.set_title("data processing")
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=2, columnspacing=0.8)


def _draw_tightness(axis, rows: pd.DataFrame) -> None:
    sizes = np.sort(rows.dimension.unique())
    for law, colour, marker in zip(LAWS, (style.BLUE, style.VERMILION, style.GREEN), "osD", strict=True):
        group = rows[rows.law == law]
        center, low, high = np.array([_tightness(group[group.dimension == size]) for size in sizes]).T
        axis.errorbar(sizes, center, [center - low, high - center], fmt=f"-{marker}", color=colour, label=law)
    axis.set(xscale="log", yscale="log", xlabel="number of weights", ylabel="actions' KL / weights' KL")
    shown = [0.03, 0.1, 0.3, 1]
    axis.set_yticks(shown, [f"{share:g}" for share in shown])
    axis.minorticks_off()
    axis.set_xticks(sizes, [f"{size:g}" for size in sizes])
    axis.set_title("tightness; bars: 95 % over seeds")
    axis.legend(loc="lower left")


def _draw_conditions(axis, rows: pd.DataFrame) -> None:
    cases = [("as stated", "", ""), ("occupancies\nsum to " + r"$1/(1-\gamma)$", "_summed", "_summed"),
             ("... and factor\n" + r"$\alpha/(1-\gamma)+\beta$", "_summed", "_repaired"),
             ("prior outside:\nN(0, 1)", "_outside", "_outside")]  # fmt: skip
    for place, (_, name, bound) in enumerate(cases):
        broken = (slack(rows, name, bound) < -EXACT * _scale(rows)).groupby(rows.seed).mean()
        center, low, high = stats.mean_interval(broken)
        axis.barh(place, center, color=style.SKY, height=0.6)
        axis.errorbar(center, place, xerr=[[center - low], [high - center]], color=style.BLACK, linewidth=1)
        axis.annotate(f"{center:.0%}", (high, place), (4, 0), textcoords="offset points", va="center", fontsize=8)
    axis.set_yticks(range(len(cases)), [label for label, *_ in cases])
    axis.invert_yaxis()
    axis.set(xlabel="share of processes that break the bound", xlim=(0, 1), title="its two conditions")
