"""Lecture 18, all of it: every printed formula that is wrong, run as printed beside the corrected one.

Each place is one quantity: what the printed formula gives, what the corrected one gives, and what an independent
computation (exact dynamic programming, a linear programme, a numerical minimisation) finds. A place is corrected if the
printed value misses somewhere and the corrected value nowhere.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor

from experiments.harness import style
from experiments.harness.claim import Claim, Verdict, holds
from experiments.harness.context import Context
from experiments.harness.schema import bounded, seed_list
from experiments.lecture._printed import printed_response
from experiments.lecture._random_games import member, random_games
from experiments.lecture.pareto import STEPS, dominated, equilibrium
from experiments.lecture.soft_value_iteration import attained, numerical_minimum
from imitation.mdp.games import newton_maxent
from imitation.mdp.horizon import repeated, returns, value_iteration
from imitation.mdp.lecture import compounding, compounding_policy, pareto, two_mistakes, two_mistakes_policy
from imitation.mdp.maxent import MomentGame, soft_best_response_to_cost
from imitation.mdp.processes import self_loops

SHARD_AXES = ("seeds",)
TOLERANCE = 1e-6  # of numbers of order 1 to 1000: numerical minima of entropies are exact to about 1e-8
CLEARLY = 1e-3  # by how much a printed value has to miss
TWO = torch.tensor([[0.0, 1.0]], dtype=torch.float64)  # the audit's single step: costs 0 and 1
NOTHING = 0.0  # what a statement claims that says there is nothing to gain
PENALTY, ROUNDS = 0.1, 40  # the gap of the method of multipliers shrinks by half or more per round


@dataclass
class Config:
    """epsilons, horizons: of Figs. 18.1 and 18.2 and of the bounds; seeds: of random processes."""

    seeds: list[int] = seed_list()
    epsilons: list[float] = bounded(1e-6, 0.5)
    horizons: list[int] = bounded(3, 1000)


class Case(NamedTuple):
    """One counterexample. `corrected_truth` is given where the corrected statement is about another quantity."""

    case: str
    printed: float
    truth: float
    corrected: float
    corrected_truth: float | None = None


def run(cfg: Config, context: Context) -> pd.DataFrame:
    """One row per place, case and form (printed, corrected): `value` of the formula, `truth`, and their `error`."""
    rows = []
    for done, (place, (cases, *_)) in enumerate(PLACES.items()):
        for one in cases(cfg, context):
            right = one.truth if one.corrected_truth is None else one.corrected_truth
            rows.append({"place": place, "case": one.case, "form": "printed", "value": one.printed, "truth": one.truth})
            rows.append({"place": place, "case": one.case, "form": "corrected", "value": one.corrected, "truth": right})
        context.progress(done + 1, len(PLACES))
    frame = pd.DataFrame(rows)
    return frame.assign(error=(frame.value - frame.truth).abs())


def _grid(cfg: Config) -> list[tuple[float, int, str]]:
    return [(e, horizon, f"eps = {e:g}, H = {horizon}") for e in cfg.epsilons for horizon in cfg.horizons]


def _lost(epsilon: float, recovery: float, horizon: int) -> float:
    """J(pi_E) - J(pi) in Fig. 18.1 by dynamic programming."""
    example = compounding()
    reward = repeated(example.rewards[..., 0], horizon)
    value = [
        returns(example.mdp, reward, repeated(compounding_policy(*map(_number, pair)), horizon))[-1]
        for pair in ((0.0, recovery), (epsilon, recovery))
    ]
    return float(value[0] - value[1])


def _number(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


def recovering(cfg: Config, _: Context) -> list[Case]:
    """Fig. 18.1, pi_1."""
    return [
        Case(name, e * h, _lost(e, 1.0, h), (h - 1) * e / (1 + e) - e * (1 - (-e) ** (h - 1)) / (1 + e) ** 2)
        for e, h, name in _grid(cfg)
    ]


def staying(cfg: Config, _: Context) -> list[Case]:
    """Fig. 18.1, pi_2."""
    return [Case(name, e * h**2, _lost(e, 0.0, h), (h - 1) - (1 - (1 - e) ** (h - 1)) / e) for e, h, name in _grid(cfg)]


def _mistakes(horizon: int, policies: Tensor) -> Tensor:
    """J(pi_E, f) - J(pi, f) in Fig. 18.2, (policy, reward: -1[s2] or -1[s3]).

    Args:
        policies: probabilities (lane change, crash) of each policy's mistakes, (P, 2).
    """
    example = two_mistakes()
    played = two_mistakes_policy(*torch.cat([torch.zeros_like(policies[:1]), policies]).T)
    worth = torch.stack(
        [
            returns(example.mdp, repeated(example.rewards[..., k], horizon)[:, None], repeated(played, horizon))[-1]
            for k in (0, 1)
        ],
        -1,
    )
    return worth[0] - worth[1:]


def _lane_and_crash(epsilon: float) -> Tensor:
    """pi_1, which changes lanes, and pi_2, which crashes."""
    return epsilon * torch.eye(2, dtype=torch.float64)


def caption(cfg: Config, _: Context) -> list[Case]:
    """Fig. 18.2: what the second policy costs more than the first, if a crash is punished: both pi_1, pi_1 and pi_2."""
    cases = []
    for e, horizon, name in _grid(cfg):
        lane, crash = _lane_and_crash(e)
        printed, truth = (_mistakes(horizon, torch.stack([lane, second]))[:, 1] for second in (lane, crash))
        closed = (horizon - 2) - (1 - e) * (1 - (1 - e) ** (horizon - 2)) / e
        cases.append(Case(name, float(printed[1] - printed[0]), float(truth[1] - truth[0]), closed))
    return cases


def payoff_range(cfg: Config, _: Context) -> list[Case]:
    """After (18.1): the ends of the payoff's range, for a reward of one for an action and the least f for the other.

    With f in [0, 1] the printed range is right.
    """
    cases = []
    for horizon in cfg.horizons:
        for least in (-1.0, 0.0):
            reward = repeated(torch.tensor([[1.0, least]], dtype=torch.float64), horizon)
            first, second = (
                float(returns(self_loops(1, 2), reward, repeated(row[None], horizon))[-1])
                for row in torch.eye(2, dtype=torch.float64)
            )
            for end, truth in ((1, first - second), (-1, second - first)):
                name = f"{'largest' if end > 0 else 'least'}, f in [{least:g}, 1], H = {horizon}"
                cases.append(Case(name, float(end * horizon), truth, end * (1 - least) * horizon))
    return cases


def pareto_claim(_cfg: Config, _: Context) -> list[Case]:
    """Section 18.4.1: what an equilibrium leaves to gain: on one reward at no loss on the other, and on both at once.

    A statement, not a formula: it says that nothing is left to gain.
    """
    example = pareto()
    action_a = torch.eye(3, dtype=torch.float64)[1][None]
    blank = MomentGame(example.mdp, example.rewards, torch.zeros(2, dtype=torch.float64), STEPS)
    game = MomentGame(example.mdp, example.rewards, blank.moments(repeated(action_a.log(), STEPS)), STEPS)
    return [Case("returns (5,5), (5,5), (5,6)", NOTHING, dominated(game, game.expert), NOTHING, equilibrium(game)[0])]


def lemma(cfg: Config, _: Context) -> list[Case]:
    """(18.3): eps H, where eps is the least or the largest payoff over f, against the loss under the worst reward.

    The loss is enumerated over the step k at which the crash is chosen: the H - k steps after it are lost.
    """
    cases = []
    for e, horizon, name in _grid(cfg):
        lost = _mistakes(horizon, _lane_and_crash(e))[1]
        worst = sum(e * (1 - e) ** (k - 2) * (horizon - k) for k in range(2, horizon + 1))
        cases.append(Case(name, float(lost.min()), worst, float(lost.max())))
    return cases


def _step(cost: Tensor) -> MomentGame:
    return MomentGame(self_loops(1, cost.shape[-1]), cost[..., None], cost.new_zeros(1), 1)


FINE = torch.linspace(0, 1, 2_000_001, dtype=torch.float64)  # probabilities of the second of two actions


def _entropy(second: Tensor) -> Tensor:
    return torch.special.entr(second) + torch.special.entr(1 - second)


def inner_sign(_cfg: Config, _: Context) -> list[Case]:
    """(18.4), (18.6): causal entropy of the inner minimum, against the largest with the expert's moments."""
    cost = FINE * TWO[0, 1]
    second = torch.softmax(-TWO[0], 0)[1]  # an expert who plays soft-optimally: its moment is this probability
    printed, corrected = (FINE[(sign * _entropy(FINE) + cost).argmin()] for sign in (1, -1))
    return [Case("m = (0, 1)", *(float(_entropy(one)) for one in (printed, second, corrected)))]


def called_reward(_cfg: Config, _: Context) -> list[Case]:
    """(18.7): the objective of (18.5) if its sum is maximised as a reward, and if it is minimised as a cost."""
    values = FINE * TWO[0, 1] - _entropy(FINE)
    truth = numerical_minimum(_step(TWO), TWO)
    return [Case("m = (0, 1)", float(values.max()), truth, float(values.min()))]


def last_value(cfg: Config, context: Context) -> list[Case]:
    """(18.8): the optimal value over steps 1..H if V_H = 0, and if V_{H+1} = 0."""
    cases = []
    for seed, game, cost in _processes(cfg, context):
        short, full = (float(soft_best_response_to_cost(game.mdp, cost, steps).value) for steps in (2, 3))
        cases.append(Case(f"H = 3, process {seed}", short, numerical_minimum(game, cost), full))
    return cases


def argument(_cfg: Config, _: Context) -> list[Case]:
    """(18.9): the second action's probability: the minimum, as printed, and the minimiser, against one on a grid."""
    least = numerical_minimum(_step(TWO), TWO)
    policy = soft_best_response_to_cost(self_loops(1, 2), TWO, 1).log_policy.exp()
    found = FINE[(FINE * TWO[0, 1] - _entropy(FINE)).argmin()]
    return [Case("m = (0, 1)", least, float(found), float(policy[0, 0, 1]))]


def closed_form(_cfg: Config, _: Context) -> list[Case]:
    """(18.11): the objective (18.10) of exp(+m) and of exp(-m)."""
    game, values = _step(TWO), []
    for sign in (1, -1):
        values.append(float(attained(game, TWO, (sign * TWO).log_softmax(-1)[None])))
    return [Case("m = (0, 1)", values[0], numerical_minimum(game, TWO), values[1])]


def recursion(cfg: Config, context: Context) -> list[Case]:
    """(18.13): the objective (18.5) of the whole recursion."""
    cases = []
    for seed, game, cost in _processes(cfg, context):
        values = [
            float(attained(game, cost, respond(game.mdp, cost, 3).log_policy))
            for respond in (printed_response, soft_best_response_to_cost)
        ]
        cases.append(Case(f"H = 3, process {seed}", values[0], numerical_minimum(game, cost), values[1]))
    return cases


def value_function(_cfg: Config, _: Context) -> list[Case]:
    """(18.14): with two features the printed line has one lambda f; the policy is the optimal one in both."""
    features = torch.tensor([[0.0, 1.0], [0.7, 0.2]], dtype=torch.float64)  # f_k(a), lambda = (1, 1)
    m = features.sum(0, keepdim=True)
    log_policy = (-m).log_softmax(-1)
    printed = float((log_policy.exp() * (log_policy + features[0])).sum())
    return [Case("two features", printed, numerical_minimum(_step(m), m), -float((-m).logsumexp(-1)))]


def footnote(cfg: Config, context: Context) -> list[Case]:
    """Footnote 1: the moment gap that an augmented Lagrangian leaves, and the penalty's against rho |lambda|.

    The augmented Lagrangian (method of multipliers) is the proximal point method on the dual (Rockafellar 1976): its
    penalty is on the distance from the last lambda, as if the moments were mu_E + rho lambda.
    """
    game = random_games(context, cfg.seeds, 5, 3, 2, 4, 1.0).game
    multipliers = newton_maxent(game, PENALTY)
    augmented = torch.zeros_like(multipliers)
    for _ in range(ROUNDS):
        shifted = MomentGame(game.mdp, game.features, game.expert + PENALTY * augmented, game.horizon)
        augmented = newton_maxent(shifted, PENALTY)
    gaps, closed = (_moment_gap(game, one) for one in (multipliers, augmented))
    lengths = PENALTY * multipliers.norm(dim=-1)
    return [
        Case(f"process {seed}", float(left), float(gap), float(length))
        for seed, left, gap, length in zip(cfg.seeds, closed, gaps, lengths, strict=True)
    ]


def _moment_gap(game: MomentGame, multipliers: Tensor) -> Tensor:
    """|mu(pi) - mu_E| of the best response, (P,)."""
    reward = repeated(game.reward(multipliers), game.horizon)
    return (game.moments(value_iteration(game.mdp, reward, 1.0).log_policy) - game.expert).norm(dim=-1)


def _processes(cfg: Config, context: Context) -> list[tuple[int, MomentGame, Tensor]]:
    games = random_games(context, cfg.seeds, 4, 3, 2, 3, 1.0)
    members = [member(games.game, index) for index in range(len(cfg.seeds))]
    costs = [-game.reward(lam) for game, lam in zip(members, games.multipliers, strict=True)]
    return list(zip(cfg.seeds, members, costs, strict=True))


Cases = Callable[[Config, Context], list[Case]]
# Place -> its counterexamples, what is printed, the correction, and the quantity of which printed and true are told.
PLACES: dict[str, tuple[Cases, str, str, str]] = {
    "Fig. 18.1, pi_1": (
        recovering, "eps H", "(H-1)e/(1+e) - e(1-(-e)^(H-1))/(1+e)^2, e = eps", "J(pi_E) - J(pi_1)",
    ),
    "Fig. 18.1, pi_2": (
        staying, "eps H^2", "(H-1) - (1-(1-e)^(H-1))/e, never above H-1", "J(pi_E) - J(pi_2)",
    ),
    "Fig. 18.2, caption": (
        caption, "pi_1 and pi_1", "pi_1 and pi_2, and a reward that tells them apart", "what a crash costs more",
    ),
    "range after (18.1)": (
        payoff_range, "[-H, H]", "[-2H, 2H] for f in [-1, 1]; as printed for f in [0, 1]", "payoff",
    ),
    "Section 18.4.1": (
        pareto_claim, "equilibria lie on the Pareto frontier", "only weakly", "return left to gain",
    ),
    "(18.3)": (lemma, "min over f", "max over f", "loss under the worst reward"),
    "(18.4), (18.6)": (inner_sign, "-log pi", "+log pi, as a cost", "causal entropy (nats)"),
    "(18.7)": (called_reward, "reward", "cost", "optimal value of (18.5)"),
    "(18.8)": (last_value, "V(s_H) = 0", "V(s_{H+1}) = 0 for steps 1..H", "optimal value of (18.5)"),
    "(18.9)": (argument, "min", "argmin", "what the policy is: pi(second action)"),
    "(18.11)": (closed_form, "exp(+m)", "exp(-m)", "objective (18.10) attained"),
    "(18.13)": (recursion, "exp(+m)", "exp(-m)", "objective (18.5) attained"),
    "(18.14)": (
        value_function, "E[log pi] + lambda f + ...", "-logsumexp(-m), with the sum over features", "optimal value",
    ),
    "Footnote 1": (
        footnote, "augmented Lagrangian", "quadratic penalty: gap rho |lambda|", "moment gap left by the penalty",
    ),
}  # fmt: skip
SUB_IDS = dict(
    zip(
        PLACES,
        ("fig-18-1-pi-1", "fig-18-1-pi-2", "fig-18-2", "range", "pareto", "18-3", "18-4", "18-7", "18-8", "18-9",
         "18-11", "18-13", "18-14", "footnote-1"),
        strict=True,
    )
)  # fmt: skip


REMARKS = {
    "(18.8)": " Right as printed for steps 0 to H-1, the range beside (18.9); the sums and Fig. 18.1 count 1 to H.",
}


def counterexample(place: str, frame: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """The case in which the printed form misses most: its row as printed and its row as corrected."""
    rows = frame[frame.place == place]
    printed, corrected = (rows[rows.form == form] for form in ("printed", "corrected"))
    worst = printed.iloc[int(np.argmax(printed.error.fillna(np.inf)))]
    return worst, corrected[corrected.case == worst.case].iloc[0]


def decide_place(place: str, frame: pd.DataFrame) -> Verdict:
    """Corrected if the printed form misses in some case and the corrected form in none."""
    rows = frame[frame.place == place]
    printed, corrected = (rows[rows.form == form] for form in ("printed", "corrected"))
    if printed.empty or corrected.empty:
        return holds(False, float("nan"), "Not in the frame.")
    if bool((printed.error <= TOLERANCE).all()):
        return holds(True, float(printed.value.iloc[0]), "The printed form is right in every case.")
    worst, right = counterexample(place, frame)
    note = (
        f"{PLACES[place][2]}. Counterexample ({worst.case}): printed {worst.value:.6g}, true {worst.truth:.6g}, "
        f"corrected {right.value + 0.0:.6g}"  # no minus zero
        + (f" where {right.truth + 0.0:.6g} is true" if right.truth != worst.truth else "")
        + f".{REMARKS.get(place, '')}"
    )
    exact = bool((corrected.error <= TOLERANCE * corrected.truth.abs().clip(lower=1)).all())
    return holds(exact and worst.error > CLEARLY, float(worst.error)).as_corrected(note)


def decide_all(frame: pd.DataFrame) -> Verdict:
    """Every place of the audit is wrong as printed and right as corrected."""
    verdicts = [decide_place(place, frame) for place in PLACES]
    corrected = sum(one.verdict == "corrected" for one in verdicts)
    note = (
        f"{corrected} of {len(verdicts)} audited places are wrong as printed and right as corrected; two by "
        "convention: (18.8) where steps count from 1, the range where f may be negative."
    )
    return holds(corrected == len(verdicts), float(corrected)).as_corrected(note)


CLAIMS = [
    Claim(
        id="lecture.errata",
        source="Lecture 18",
        location="throughout",
        statement="The formulas that an audit marked hold.",
        measures="places that are wrong as printed and right as corrected",
        decide=decide_all,
    ),
    *(
        Claim(
            id=f"lecture.errata.{SUB_IDS[place]}",
            source="Lecture 18",
            location=place,
            statement=f"{place} as printed: {printed}.",
            printed=printed,
            measures="error of the printed form, largest",
            decide=lambda frame, place=place: decide_place(place, frame),
        )
        for place, (_, printed, *_) in PLACES.items()
    ),
]


def table(frame: pd.DataFrame) -> pd.DataFrame:
    """Every audited place: what is printed, the correction, and the case in which the printed form misses most.

    The last three columns are one quantity of that case: as the printed form gives it, by an independent computation,
    and as the corrected form gives it (with the quantity that it is about, where that is another).
    """
    rows = []
    for place, (_, printed, correction, quantity) in PLACES.items():
        worst, right = counterexample(place, frame)
        corrected = f"{right.value + 0.0:.6g}" + (
            f" (of {right.truth + 0.0:.6g})" if right.truth != worst.truth else ""
        )
        values = f"{worst.value + 0.0:.6g}", f"{worst.truth + 0.0:.6g}", corrected  # no minus zero
        rows.append((place, printed, correction, f"{quantity}; {worst.case}", *values))
    columns = ["place", "printed", "corrected", "counterexample", "as printed", "true", "as corrected"]
    return pd.DataFrame(rows, columns=columns)


def figure(frame: pd.DataFrame) -> Figure:
    """Error of the printed and of the corrected form in every case, by place."""
    drawing, (axis,) = style.panels(1, 1, height=3.4)
    places = list(PLACES)[::-1]
    looks = {"printed": (style.VERMILION, "x", 0.15), "corrected": (style.BLUE, "o", -0.15)}
    for form, (colour, marker, shift) in looks.items():
        rows = frame[frame.form == form]
        heights = rows.place.map(places.index) + shift
        axis.plot(rows.error.clip(lower=1e-17), heights, marker, color=colour, markersize=3.5, label=f"as {form}")
    axis.axvline(TOLERANCE, color=style.GREY, linewidth=0.8, linestyle=":")
    axis.set(xscale="log", xlabel="error against an independent computation (rounding drawn at $10^{-17}$)")
    axis.set_yticks(range(len(places)), [place.replace("pi_", r"$\pi_").replace("_1", "_1$").replace("_2", "_2$")
                                         if "pi_" in place else place for place in places])  # fmt: skip
    drawing.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return drawing
