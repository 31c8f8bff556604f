"""Critique, Example 3 and Theorem 1: which way does EDM's state term push the policy?"""

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
        _thresholds(k, 0.0),
        _thresholds(k, example.EXPERT),
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


def _thresholds(k: Tensor, theta: float) -> pd.DataFrame:
    """The d2 at which the total gradient at `theta` vanishes, by root finding on autograd's gradient; NaN if none."""
    at = torch.tensor(theta, dtype=torch.float64)

    def total(d2: float, slope_k: Tensor) -> float:
        return float(example.slope(example.joint, at, slope_k, torch.tensor(d2, dtype=torch.float64)))

    roots = [brentq(total, 0.0, 1.0, args=(one,)) if total(0.0, one) * total(1.0, one) < 0 else np.nan for one in k]
    expert = torch.sigmoid(torch.ones_like(k)), k * torch.sigmoid(k)
    closed = (expert[0] - example.model_moment(at, k)) / (expert[0] - expert[1])
    inside = (closed > 0) & (closed < 1)
    closed = torch.where(inside, closed, torch.nan).numpy()
    columns = {"k": k.numpy(), "theta": theta, "d2": np.nan, "value": roots, "closed_form": closed}
    return pd.DataFrame({"quantity": "threshold d2"} | columns)


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


def decide_energy_sign(frame: pd.DataFrame) -> Verdict:
    """Both conventions at theta = 0, k = 1/2; the claim is that the printed pair of equations contradict each other."""
    used = _value(frame, "state", k=0.5, theta=0)
    defined = _value(frame, "state, signs of (4)-(5)", k=0.5, theta=0)
    exact = abs(used + 0.125) < 1e-12 and abs(defined - 0.125) < 1e-12
    note = (
        f"With (4)-(5) as printed the gradient at 0 is {defined:+.3f}; (13) has {used:+.3f}. "
        "(11)-(13) need E = -log sum exp f, as Jarrett et al. define it."
    )
    return holds(exact and _agrees(at(frame, "state, signs of (4)-(5)")), defined).as_corrected(note)


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
    rows = at(frame, "total", k=0.5, theta=0)
    divided = bool(((rows.value < 0) == (rows.d2 > threshold)).all()) and 0 < threshold < 1
    exact = divided and _agrees(at(frame, "total")) and _agrees(at(frame, "threshold d2"))
    note = (
        f"At k = 1/2 the whole gradient points away from the expert only if d_E(s2) > {threshold:.4f}; "
        "Example 3 looks at log p(s2) alone."
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
    """The overall gradient of (2) at the expert vanishes at one d2: the theorem needs k != 1 and d2 off that value."""
    zero = _value(frame, "threshold d2", k=0.5, theta=example.EXPERT)
    formula = (1 + np.exp(0.5)) / (2 + np.e + np.exp(0.5))
    elsewhere = at(frame, "total", k=0.5, theta=example.EXPERT)
    nonzero = bool((np.abs(elsewhere.value[np.abs(elsewhere.d2 - zero) > 0.01]) > 1e-4).all())
    note = (
        f"Nonzero except at d_E(s2) = {zero:.5f} = (1+e^k)/(2+e+e^k), k = 1/2: there the model's own marginal is right."
    )
    exact = abs(zero - formula) < 1e-10 and nonzero and _agrees(at(frame, "total", theta=example.EXPERT))
    return holds(exact, zero).as_corrected(note)


CLAIMS = [
    Claim(
        id="critique.energy-sign",
        source="Swamy et al. 2021",
        location="eqs. (4)-(5) against (11)-(13)",
        statement="The energy of (4)-(5) gives the gradient (13) of log p(s2) at theta = 0, k = 1/2.",
        printed=-0.125,
        measures="gradient with (4)-(5) as printed",
        decide=decide_energy_sign,
    ),
    Claim(
        id="critique.example-3",
        source="Swamy et al. 2021",
        location="Example 3, eqs. (11)-(13)",
        statement="At theta = 0 the gradient of log p(s2) is (k-1)/4, against cloning's, which points to the expert.",
        printed=-0.125,
        measures="gradient at theta = 0, k = 1/2",
        decide=decide_example_3,
    ),
    Claim(
        id="critique.example-3.objective",
        source="Swamy et al. 2021",
        location="Example 3, after (13)",
        statement="The second term pushes the parameter away from the expert's policy.",
        measures="d_E(s2) beyond which it holds",
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
    """(a) the state term over k and theta; (b) the whole gradient over d2 at k = 1/2; (c) the same over k and d2."""
    drawing, axes = style.panels(1, 3, height=2.5)
    _draw_map(drawing, axes[0], at(frame, "state"), "theta")
    axes[0].plot([0.5, 0.5], [0, 1], "o", color=style.BLACK, markerfacecolor="white")
    axes[0].set(xlabel="slope $k$", ylabel=r"parameter $\theta$", title=r"$\partial_\theta \log p_\theta(s_2)$")
    _draw_total(axes[1], frame)
    _draw_map(drawing, axes[2], at(frame, "total", theta=0), "d2")
    expert = at(frame, "threshold d2", theta=example.EXPERT)
    axes[2].plot(expert.k, expert.value, "--", color=style.VERMILION, label=r"zero at the expert")
    axes[2].set(xlabel="slope $k$", ylabel="$d_E(s_2)$", title=r"whole gradient at $\theta = 0$")
    axes[2].legend(loc="upper center", bbox_to_anchor=(0.5, -0.22))
    return drawing


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
    axis.set(xlabel="$d_E(s_2)$", ylabel="gradient of the objective", title="$k = 1/2$")
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=2, columnspacing=0.8, handlelength=1.5)
