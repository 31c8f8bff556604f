"""Lecture, eqs. (18.10)-(18.14): is the printed closed form the soft best response?

Single steps and whole processes, each against a numerical minimisation of E[log pi + cost] that knows no closed form
(softmax parameters, automatic derivatives, L-BFGS). Printed is exp(+m), correct is exp(-m). A trap: run with descent in
lambda, the printed recursion (18.13)-(18.14) still matches the expert's moments; only its causal entropy tells.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from scipy.optimize import minimize
from torch import Tensor

from experiments.harness import style
from experiments.harness.claim import Claim, Verdict, holds
from experiments.harness.context import Context
from experiments.harness.schema import bounded, seed_list
from experiments.lecture._printed import PRINTED_WITH_DESCENT, printed_response
from experiments.lecture._random_games import RandomGames, largest_entropy, member, random_games
from imitation.mdp.games import dual_maxent, smoothness_step
from imitation.mdp.horizon import causal_entropy, occupancies
from imitation.mdp.maxent import COST, Convention, MomentGame, soft_best_response_to_cost
from imitation.mdp.processes import self_loops

SHARD_AXES = ("seeds",)
TOLERANCE = 1e-9  # nats, of the objective against the numerical minimum
CLEARLY = 1e-3  # nats: what counts as missing the minimum
GAP_TOLERANCE = 1e-8  # of the moments
ENTROPY_TOLERANCE = 1e-8  # nats
FORMS = {"corrected": soft_best_response_to_cost, "printed": printed_response}
MATCHING = {"corrected": COST, "printed": PRINTED_WITH_DESCENT}


@dataclass
class Config:
    """outcomes: sizes of single steps; states, actions, horizon: of processes; expert_scale: of costs and lambda."""

    seeds: list[int] = seed_list()
    outcomes: list[int] = bounded(2, 1000)
    states: int = bounded(2, 100)
    actions: int = bounded(2, 20)
    horizon: int = bounded(2, 100)
    expert_scale: float = bounded(0.01, 10)
    iterations: int = bounded(1, 100_000)


def run(cfg: Config, context: Context) -> pd.DataFrame:
    """One row per seed, part and form.

    Parts `step`, of `size` outcomes, and `process`, of `size` steps: `excess`, the form's objective less the numerical
    minimum. Part `matching`: after the dual's last iteration `gap`, the largest moment gap, and `deficit`, the largest
    causal entropy (by L-BFGS and strong duality) less this policy's.
    """
    sizes = (cfg.states, cfg.actions, 2, cfg.horizon, cfg.expert_scale)
    games = random_games(context, cfg.seeds, *sizes)
    rows = []
    for index, seed in enumerate(cfg.seeds):
        costs = [
            torch.from_numpy(cfg.expert_scale * context.rng(seed, size).normal(size=(1, size))) for size in cfg.outcomes
        ]
        rows += [{"seed": seed, "part": "step"} | row for cost in costs for row in _step(cost)]
        game = member(games.game, index)
        rows += [
            {"seed": seed, "part": "process"} | row for row in _excess(game, -game.reward(games.multipliers[index]))
        ]
        context.progress(index + 1, len(cfg.seeds))
    matched = [_matched(cfg, games, form, convention) for form, convention in MATCHING.items()]
    return pd.concat([pd.DataFrame(rows), *matched], ignore_index=True)


def _step(cost: Tensor) -> list[dict[str, object]]:
    """(18.10) as a process of one state and one step."""
    one = torch.ones(1, dtype=cost.dtype)
    game = MomentGame(self_loops(1, cost.shape[-1]), cost[..., None], one, 1)
    return [row | {"size": cost.shape[-1]} for row in _excess(game, cost)]


def _excess(game: MomentGame, cost: Tensor) -> list[dict[str, object]]:
    least = numerical_minimum(game, cost)
    return [
        {
            "form": form,
            "size": game.horizon,
            "excess": float(attained(game, cost, respond(game.mdp, cost, game.horizon).log_policy)) - least,
        }
        for form, respond in FORMS.items()
    ]


def attained(game: MomentGame, cost: Tensor, log_policy: Tensor) -> Tensor:
    """E sum_h (log pi + cost), (18.5), forwards in time: no recursion over values."""
    return (occupancies(game.mdp, log_policy.exp()) * (log_policy + cost)).sum()


def numerical_minimum(game: MomentGame, cost: Tensor) -> float:
    """The least objective (18.5) over all policies, for a cost (S, A), by L-BFGS on the logits of all steps."""
    shape = (game.horizon, *cost.shape)

    def objective(point: np.ndarray) -> tuple[float, np.ndarray]:
        """(18.5) and its gradient at the logits, flattened (H S A,)."""
        logits = torch.from_numpy(point).reshape(shape).requires_grad_()
        value = attained(game, cost, logits.log_softmax(-1))
        value.backward()
        assert logits.grad is not None
        return float(value.detach()), logits.grad.numpy().ravel()

    limits = {"gtol": 1e-7, "ftol": 0.0, "maxiter": 2000, "maxfun": 4000}
    start = np.zeros(int(np.prod(shape)))
    return float(minimize(objective, start, jac=True, method="L-BFGS-B", options=limits).fun)


def _matched(cfg: Config, games: RandomGames, form: str, convention: Convention) -> pd.DataFrame:
    game = games.game
    path = dual_maxent(game, smoothness_step(game), cfg.iterations, convention=convention)
    log_policy = convention.respond(game.mdp, game.reward(path.multipliers[-1]), game.horizon).log_policy
    gap = (path.moments[-1] - game.expert).norm(dim=-1)
    deficit = largest_entropy(game).entropy - causal_entropy(game.mdp, log_policy.exp())
    columns = {"gap": gap.numpy(), "deficit": deficit.numpy()}
    return pd.DataFrame(columns).assign(seed=cfg.seeds, part="matching", form=form, size=game.horizon)


def at(frame: pd.DataFrame, part: str, form: str) -> pd.DataFrame:
    """The rows of one part and form.

    Raises:
        LookupError: there are none.
    """
    rows = frame[(frame.part == part) & (frame.form == form)]
    if rows.empty:
        raise LookupError(f"{part}, {form}: not in the frame")
    return rows


def decide_closed_form(frame: pd.DataFrame) -> Verdict:
    """exp(-m) attains the numerical minimum everywhere; as printed, exp(+m), it would have to do so as well."""
    right = float(np.max([at(frame, part, "corrected").excess.abs().max(skipna=False) for part in ("step", "process")]))
    printed = pd.concat([at(frame, part, "printed") for part in ("step", "process")])
    if bool((printed.excess.abs() <= TOLERANCE).all()):
        return holds(True, float(printed.excess.max()), "exp(+m) attains the minimum.")
    misses = bool((printed.excess > CLEARLY).all())
    note = (
        f"exp(-m) attains the numerical minimum to {right:.0e} nats in {len(printed)} problems; the printed exp(+m) "
        f"misses it by {printed.excess.min():.2g} to {printed.excess.max():.2g}."
    )
    return holds(right <= TOLERANCE and misses, float(printed.excess.median())).as_corrected(note)


def decide_entropy(frame: pd.DataFrame) -> Verdict:
    """The dual finds a policy with the expert's moments and the largest causal entropy: corrected does, printed not."""
    right, printed = at(frame, "matching", "corrected"), at(frame, "matching", "printed")
    if _is_maxent(printed):
        return holds(True, float(printed.deficit.max()), "The printed recursion is maximum entropy.")
    also_matches = bool((printed.gap <= GAP_TOLERANCE).all())
    note = (
        f"Corrected: entropy short by {right.deficit.abs().max():.0e} nats. Printed, with descent in lambda: "
        f"{'the moments match' if also_matches else 'the moments do not match'} too (gap {printed.gap.max():.0e}), "
        f"but the entropy is up to {printed.deficit.max():.2g} nats short, in the mean {printed.deficit.mean():.2g}."
    )
    return holds(_is_maxent(right), float(printed.deficit.max())).as_corrected(note)


def _is_maxent(rows: pd.DataFrame) -> bool:
    return bool((rows.gap <= GAP_TOLERANCE).all() and (rows.deficit.abs() <= ENTROPY_TOLERANCE).all())


CLAIMS = [
    Claim(
        id="lecture.soft-value-iteration",
        source="Lecture 18",
        location="eqs. (18.10)-(18.14)",
        statement="The minimiser of E[log pi + m] is exp(m) over its sum, step by step backwards in time.",
        printed="exp(+m)",
        measures="nats by which the printed form misses the minimum, median",
        decide=decide_closed_form,
    ),
    Claim(
        id="lecture.soft-value-iteration.entropy",
        source="Lecture 18",
        location="eqs. (18.13)-(18.14) in the dual of Section 18.6",
        statement="The policy found with this recursion has the expert's moments with maximal causal entropy.",
        measures="missing causal entropy of the printed recursion in nats, largest",
        decide=decide_entropy,
    ),
]


def figure(frame: pd.DataFrame) -> Figure:
    """(a) a single step, (b) processes: distance to the numerical minimum; (c) gap and missing entropy at the end."""
    drawing, axes = style.panels(1, 3, height=2.5)
    looks = {
        "corrected": (style.BLUE, "o", r"corrected, $e^{-m}$"),
        "printed": (style.VERMILION, "x", r"printed, $e^{+m}$"),
    }
    for form, (colour, marker, label) in looks.items():
        for axis, part in zip(axes, ("step", "process"), strict=False):
            rows = at(frame, part, form)
            _points(axis, rows["size"] if part == "step" else rows.seed, rows.excess, colour, marker, label)
        rows = at(frame, "matching", form)
        _points(axes[2], rows.gap.clip(lower=1e-16), rows.deficit, colour, marker, label)
    axes[0].set(xscale="log", yscale="log", xlabel="outcomes $x$", ylabel="nats above the minimum", title="single step")
    sizes = sorted(at(frame, "step", "printed")["size"].unique())
    axes[0].set_xticks(sizes, [f"{size:g}" for size in sizes])
    axes[0].set_xticks([], minor=True)
    axes[1].set(yscale="log", xlabel="process (seed)", ylabel="nats above the minimum", title="processes")
    axes[2].set(xscale="log", yscale="log", xlabel="moment gap", ylabel="missing entropy in nats")
    axes[2].axvline(GAP_TOLERANCE, color=style.GREY, linewidth=0.8, linestyle=":")
    axes[2].set_xlim(2e-17, 1e-7)
    axes[2].set_title("after the dual's descent")
    drawing.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return drawing


def _points(axis, places: pd.Series, values: pd.Series, colour: str, marker: str, label: str) -> None:
    """Sizes on a log axis; what is below 1e-16 is rounding and drawn there."""
    axis.plot(places, values.abs().clip(lower=1e-16), marker, color=colour, markersize=3.5, label=label)
