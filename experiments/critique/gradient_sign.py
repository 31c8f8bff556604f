"""Critique, Example 3 and Theorem 1: which way does EDM's state term push the policy?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from scipy.optimize import brentq
from torch import Tensor

from experiments.critique import _two_state as example
from experiments.harness import style
from experiments.harness.claim import Claim, Verdict, equals, holds
from experiments.harness.context import Context
from experiments.harness.schema import bounded


@dataclass
class Config:
    """k: slope of s2's logit; theta: parameters, for the whole objective `objective_theta`; d2: d_E(s2)."""

    k: list[float] = bounded(-10, 10)
    theta: list[float] = bounded(-10, 10)
    objective_theta: list[float] = bounded(-10, 10)
    d2: list[float] = bounded(0, 1)


def run(cfg: Config, context: Context) -> pd.DataFrame:
    """Gradients by automatic differentiation beside their closed forms; one row per quantity and condition."""
    axes = (cfg.k, cfg.theta, cfg.objective_theta, cfg.d2)
    k, theta, few, d2 = (torch.tensor(values, dtype=torch.float64) for values in axes)
    one_state = torch.ones((), dtype=torch.float64)  # d2 = 1: log p(s2) alone, as printed
    frames = [
        _grid("state", k, theta, one_state, _state_slope("f"), _printed_state_slope),
        _grid("state, signs of (4)-(5)", k, theta, one_state, _state_slope("-f"), _opposite_state_slope),
        _grid("cloning", k, few, d2[:, None, None], _slope_of(example.cloning), _cloning_slope),
        _grid("total", k, few, d2[:, None, None], _slope_of(example.joint), example.joint_slope),
        _thresholds("threshold d2", example.joint, example.joint_slope, k, 0.0),
        _thresholds("threshold d2", example.joint, example.joint_slope, k, example.EXPERT),
        _thresholds("threshold d2, second term", example.state_term, _second_term_slope, k, 0.0),
    ]
    context.progress(1, 1)
    return pd.concat(frames, ignore_index=True)


def _slope_of(objective):
    return lambda theta, k, d2: example.slope(objective, theta, k, d2)


def _state_slope(sign):
    return lambda theta, k, d2: example.slope(example.state_term, theta, k, d2, sign)


def _printed_state_slope(theta: Tensor, k: Tensor, d2: Tensor) -> Tensor:
    """Eq. (12)."""
    one, other = torch.exp(theta), torch.exp(k * theta)
    return k * other / (1 + other) - (one + k * other) / (2 + one + other)


def _opposite_state_slope(theta: Tensor, k: Tensor, d2: Tensor) -> Tensor:
    """The gradient of log p(s2) under (4)-(5), where p(s) ~ 1 / (1 + e^{f})."""
    odds = (1 + torch.exp(theta)) / (1 + torch.exp(k * theta))
    share = odds / (1 + odds)
    return (1 - share) * (torch.sigmoid(theta) - k * torch.sigmoid(k * theta))


def _cloning_slope(theta: Tensor, k: Tensor, d2: Tensor) -> Tensor:
    first = torch.sigmoid(torch.ones_like(k)) - torch.sigmoid(theta)
    return (1 - d2) * first + d2 * k * (torch.sigmoid(k) - torch.sigmoid(k * theta))


def _grid(quantity: str, k: Tensor, theta: Tensor, d2: Tensor, measured, closed) -> pd.DataFrame:
    """One quantity on the product of the grids."""
    theta, k, d2 = torch.broadcast_tensors(theta[:, None], k, d2)
    columns = {"k": k, "theta": theta, "d2": d2, "value": measured(theta, k, d2), "closed_form": closed(theta, k, d2)}
    return pd.DataFrame({"quantity": quantity} | {name: tensor.flatten().numpy() for name, tensor in columns.items()})


def _second_term_slope(theta: Tensor, k: Tensor, d2: Tensor) -> Tensor:
    """The gradient of E_expert[log p(s)], the second term of (2)."""
    inside = (1 - d2) * torch.sigmoid(theta) + d2 * k * torch.sigmoid(k * theta)
    return inside - example.model_moment(theta, k)


def _thresholds(quantity: str, objective, closed_slope, k: Tensor, theta: float) -> pd.DataFrame:
    """The d2 at which an objective's gradient at `theta` vanishes, by root finding on autograd's gradient; NaN if none.

    In closed form the gradient is a line in d2, and its zero follows from its ends.
    """
    at = torch.tensor(theta, dtype=torch.float64)

    def measured(d2: float, one: Tensor) -> float:
        return float(example.slope(objective, at, one, torch.tensor(d2, dtype=torch.float64)))

    ends = [(measured(0.0, one), measured(1.0, one)) for one in k]
    roots = [
        brentq(measured, 0.0, 1.0, args=(one,)) if left * right < 0 and min(abs(left), abs(right)) > 1e-12 else np.nan
        for one, (left, right) in zip(k, ends, strict=True)
    ]
    left, right = (closed_slope(at, k, torch.full_like(k, end)) for end in (0.0, 1.0))
    crosses = (left * right < 0) & (torch.minimum(left.abs(), right.abs()) > 1e-12)
    closed = torch.where(crosses, left / (left - right), torch.nan).numpy()
    columns = {"k": k.numpy(), "theta": theta, "d2": np.nan, "value": roots, "closed_form": closed}
    return pd.DataFrame({"quantity": quantity} | columns)


def at(frame: pd.DataFrame, quantity: str, **where: float) -> pd.DataFrame:
    """Rows of one quantity under these conditions (matched to 1e-12)."""
    rows = frame[frame.quantity == quantity]
    for column, value in where.items():
        rows = rows[np.isclose(rows[column], value, rtol=0, atol=1e-12)]
    return rows


def _value(frame: pd.DataFrame, quantity: str, **where: float) -> float:
    return float(at(frame, quantity, **where).value.iloc[0])


def _agrees(rows: pd.DataFrame) -> bool:
    """Whether autograd and the closed form agree to rounding on every row, missing roots included."""
    return bool(np.allclose(rows.value, rows.closed_form, rtol=0, atol=1e-10, equal_nan=True)) and len(rows) > 0


def _printed(gradients: Sequence[float]) -> bool:
    """Whether these are the printed numbers at theta = 0 and at the expert."""
    return abs(gradients[0] + 0.125) < 1e-12 and abs(gradients[1] + 0.245) < 5e-4


def decide_energy_sign(frame: pd.DataFrame) -> Verdict:
    """Both printed numbers, -1/8 at theta = 0 and -0.245 at the expert, come from (11) and not from (4)-(5)."""
    opposite = "state, signs of (4)-(5)"
    used = [_value(frame, "state", k=0.5, theta=theta) for theta in (0, example.EXPERT)]
    defined = [_value(frame, opposite, k=0.5, theta=theta) for theta in (0, example.EXPERT)]
    if _printed(defined):
        return holds(_agrees(at(frame, opposite)), defined[0], "As printed.")
    prints = _printed(used)
    contradicts = abs(defined[0] - 0.125) < 1e-12 and defined[1] > 0
    note = (
        f"With (4)-(5) as printed the gradient is {defined[0]:+.3f} at theta = 0 and {defined[1]:+.3f} at the expert; "
        f"(13) and Theorem 1 have {used[0]:+.3f} and {used[1]:+.3f}, which need E = -log sum exp f, as Jarrett et al. "
        "define it."
    )
    exact = prints and contradicts and _agrees(at(frame, opposite)) and _agrees(at(frame, "state"))
    return holds(exact, defined[0]).as_corrected(note)


def decide_example_3(frame: pd.DataFrame) -> Verdict:
    """(k - 1)/4 at theta = 0 for every k, negative below k = 1, while cloning's gradient is never negative."""
    rows = at(frame, "state", theta=0)
    cloning = at(frame, "cloning", theta=0)
    error = float(np.abs(rows.value - (rows.k - 1) / 4).max())
    towards = bool((cloning.value >= 0).all()) and _agrees(at(frame, "cloning"))
    pushes_away = bool((rows.value[rows.k < 1] < 0).all()) and bool((rows.k < 1).any())
    note = f"Largest difference from (k-1)/4 over {len(rows)} values of k: {error:.1g}."
    exact = error < 1e-12 and towards and pushes_away and _agrees(at(frame, "state"))
    return holds(exact, _value(frame, "state", k=0.5, theta=0), note)


def decide_objective(frame: pd.DataFrame) -> Verdict:
    """The whole objective's gradient at theta = 0 turns negative only above a threshold of d2."""
    threshold = _value(frame, "threshold d2", k=0.5, theta=0)
    second = _value(frame, "threshold d2, second term", k=0.5, theta=0)
    rows = at(frame, "total", k=0.5, theta=0)
    if np.isnan(threshold) and bool((rows.value < 0).all()) and not rows.empty:
        return holds(_agrees(at(frame, "total")), 0.0, "As printed: at every d_E(s2).")
    divided = bool(((rows.value < 0) == (rows.d2 > threshold)).all()) and bool((rows.value < 0).any())
    agreeing = ("total", "threshold d2", "threshold d2, second term")
    exact = divided and 0 < threshold < 1 and all(_agrees(at(frame, quantity)) for quantity in agreeing)
    note = (
        f"At k = 1/2 it does so only if d_E(s2) > {threshold:.4f}; the second term of (2) by itself, E[log p(s)], "
        f"only if d_E(s2) > {second:.4g}. Example 3 looks at log p(s2) alone."
    )
    return holds(exact, threshold).as_corrected(note)


def decide_theorem_1(frame: pd.DataFrame) -> Verdict:
    """log p(s2) has gradient about -0.245 at the expert, and cloning has none there for any d2."""
    cloning = at(frame, "cloning", theta=example.EXPERT)
    if np.abs(cloning.value).max() > 1e-12:
        return holds(False, float(np.abs(cloning.value).max()), "Cloning's gradient at the expert is not zero.")
    note = "Cloning's gradient there is 0 for every k and d_E(s2)."
    return equals(_value(frame, "state", k=0.5, theta=example.EXPERT), -0.245, 5e-4, note)


def decide_theorem_1_total(frame: pd.DataFrame) -> Verdict:
    """The overall gradient of (2) at the expert vanishes for k = 1, and for other k at one d2."""
    zero = _value(frame, "threshold d2", k=0.5, theta=example.EXPERT)
    formula = (1 + np.exp(0.5)) / (2 + np.e + np.exp(0.5))
    expert = at(frame, "total", theta=example.EXPERT)
    elsewhere = at(expert, "total", k=0.5)
    nonzero = bool((np.abs(elsewhere.value[np.abs(elsewhere.d2 - zero) > 0.01]) > 1e-4).all())
    equal_slopes = at(expert, "total", k=1)
    if equal_slopes.empty:
        raise LookupError("k = 1 at the expert is not in the frame")
    vanishes = bool((np.abs(equal_slopes.value) < 1e-12).all())
    if np.isnan(zero) and bool((expert.value > 1e-4).all() or (expert.value < -1e-4).all()):
        return holds(_agrees(expert), float(np.abs(expert.value).min()), "As printed: at every k and d_E(s2).")
    note = (
        f"As Theorem 1 says, there is such a case; but at d_E(s2) = {zero:.5f} = (1+e^k)/(2+e+e^k), k = 1/2, the "
        "model's own marginal is right and the gradient is zero, as it is for k = 1 at every d_E(s2)."
    )
    exact = abs(zero - formula) < 1e-10 and nonzero and vanishes and _agrees(expert)
    return holds(exact, zero).as_corrected(note)


CLAIMS = [
    Claim(
        id="critique.energy-sign",
        source="Swamy et al. 2021",
        location="eqs. (4)-(5) against (11)-(13)",
        statement="The energy of (4)-(5) gives the gradients of log p(s2) in (13) and Theorem 1.",
        printed="(k-1)/4; -0.245",
        measures="gradient at theta = 0, k = 1/2 with (4)-(5) as printed",
        decide=decide_energy_sign,
    ),
    Claim(
        id="critique.example-3",
        source="Swamy et al. 2021",
        location="Example 3, eqs. (11)-(13)",
        statement="At theta = 0 the gradient of log p(s2) is (k-1)/4, against cloning's, which points to the expert.",
        printed="(k-1)/4",
        measures="gradient at theta = 0, k = 1/2",
        decide=decide_example_3,
    ),
    Claim(
        id="critique.example-3.objective",
        source="Swamy et al. 2021",
        location="Example 3, after (13)",
        statement="(Asked here) As log p(s2)'s, EDM's whole gradient at theta = 0 points away from the expert.",
        measures="d_E(s2) beyond which the whole gradient does so, k = 1/2",
        decide=decide_objective,
    ),
    Claim(
        id="critique.theorem-1",
        source="Swamy et al. 2021",
        location="Theorem 1, proof",
        statement="At the expert (theta = 1, k = 1/2) the gradient of log p(s2) is about -0.245, and cloning's is 0.",
        printed=-0.245,
        measures="gradient at the expert",
        decide=decide_theorem_1,
    ),
    Claim(
        id="critique.theorem-1.objective",
        source="Swamy et al. 2021",
        location="Theorem 1, last sentence of the proof",
        statement="Thus the overall gradient of (2) at the expert is nonzero.",
        measures="d_E(s2) at which it vanishes",
        decide=decide_theorem_1_total,
    ),
]


def figure(frame: pd.DataFrame) -> Figure:
    """(a) log p(s2) over k and theta; (b) both signs of the energy; (c), (d) the whole gradient over d2, and over k."""
    drawing, axes = style.panels(2, 2, height=2.5)
    _draw_map(drawing, axes[0], at(frame, "state"), "theta")
    axes[0].plot([0.5, 0.5], [0, 1], "o", color=style.BLACK, markerfacecolor="white", label="Example 3, Theorem 1")
    axes[0].set(xlabel="slope $k$", ylabel=r"parameter $\theta$", title=r"gradient of $\log p_\theta(s_2)$")
    axes[0].legend(loc="upper center", bbox_to_anchor=(0.5, -0.22))
    _draw_signs(axes[1], frame)
    _draw_total(axes[2], frame)
    _draw_map(drawing, axes[3], at(frame, "total", theta=0), "d2")
    expert = at(frame, "threshold d2", theta=example.EXPERT).dropna(subset="value")
    axes[3].plot(expert.k, expert.value, "--", color=style.VERMILION, label="its zero at the expert (black: here)")
    axes[3].set(xlabel="slope $k$", ylabel="$d_E(s_2)$", title=r"EDM's whole gradient at $\theta = 0$")
    axes[3].legend(loc="upper center", bbox_to_anchor=(0.5, -0.22))
    return drawing


def _draw_signs(axis, frame: pd.DataFrame) -> None:
    looks = [("state", style.BLUE, "-", "E = -LSE: (11)-(13), as printed there"),
             ("state, signs of (4)-(5)", style.ORANGE, "--", "E = +LSE: (4)-(5), as printed there")]  # fmt: skip
    for quantity, colour, line, label in looks:
        rows = at(frame, quantity, k=0.5)
        axis.plot(rows.theta, rows.value, line, color=colour, label=label)
        marked = rows[np.isclose(rows.theta, 0) | np.isclose(rows.theta, example.EXPERT)]
        axis.plot(marked.theta, marked.value, "o", color=colour, markerfacecolor="white")
        for theta, value in zip(marked.theta, marked.value, strict=True):
            offset = (4, -10 if value > 0 else 5)
            axis.annotate(f"{value:+.3f}", (theta, value), offset, textcoords="offset points", fontsize=7)
    axis.axhline(0, color=style.GREY, linewidth=0.7)
    axis.set(xlabel=r"parameter $\theta$", ylabel=r"nats per unit of $\theta$")
    axis.set_title(r"gradient of $\log p_\theta(s_2)$, $k = 1/2$")
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22))


def _draw_map(drawing: Figure, axis, rows: pd.DataFrame, vertical: str) -> None:
    table = rows.pivot_table(index=vertical, columns="k", values="value")
    reach = float(np.abs(table.to_numpy()).max())
    style.diverging_map(drawing, axis, table, 0, reach, "nats per unit of $\\theta$", lines=[0])


def _draw_total(axis, frame: pd.DataFrame) -> None:
    for quantity, line, method in (("total", "-", "EDM"), ("cloning", "--", "BC")):
        for theta, colour, place in ((0.0, style.BLUE, r"$\theta=0$"), (1.0, style.VERMILION, "expert")):
            rows = at(frame, quantity, k=0.5, theta=theta)
            axis.plot(rows.d2, rows.value, line, color=colour, label=f"{method}, {place}")
            root = at(frame, "threshold d2", k=0.5, theta=theta).value
            if quantity == "total":
                axis.plot(root, 0 * root, "o", color=colour, markerfacecolor="white")
    axis.axhline(0, color=style.GREY, linewidth=0.7)
    axis.set(
        xlabel="$d_E(s_2)$", ylabel=r"nats per unit of $\theta$", title="gradient of the log-likelihood, $k = 1/2$"
    )
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=2, columnspacing=0.8, handlelength=1.5)
