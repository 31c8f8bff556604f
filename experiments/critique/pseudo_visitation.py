"""Critique, Section 2: has EDM's p(s) anything to do with the states that the policy visits?"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor

from experiments.harness import style
from experiments.harness.claim import Claim, Verdict, equals, holds
from experiments.harness.context import Context
from experiments.harness.schema import bounded
from imitation.ebm.joint import Sign, log_state_density, shift_for
from imitation.mdp import (
    discounted_occupancy,
    horizon_occupancy,
    random_processes,
    self_loops,
    softmax_policy,
    total_variation,
)

EXACT = 1e-12


@dataclass
class Config:
    """Sizes |S| of the self-loop process; sizes, number and seed of the random ones; the laws' horizon and discount."""

    self_loop_states: list[int] = bounded(1, 1000)
    random_states: list[int] = bounded(2, 100)
    processes_per_size: int = bounded(1, 10_000)
    actions: int = bounded(2, 100)
    discount: float = bounded(0, 0.999)
    horizon: int = bounded(1, 1000)
    seed: int = bounded(0)


def run(cfg: Config, context: Context) -> pd.DataFrame:
    """One row per self-loop size, per random process, shift and sign, and per state of the first random process."""
    frames = [_self_loop(states, cfg) for states in cfg.self_loop_states]
    for index, states in enumerate(cfg.random_states):
        context.progress(index, len(cfg.random_states))
        frames += _random(states, cfg, context.rng(cfg.seed, states))
    return pd.concat(frames, ignore_index=True)


def _self_loop(states: int, cfg: Config) -> pd.DataFrame:
    """Example 1: all of d_pi on the first state, p(s, a) = 1/(|S||A|) from equal logits."""
    mdp = self_loops(states, cfg.actions)
    logits = torch.zeros(states, cfg.actions, dtype=torch.float64)
    visits = discounted_occupancy(mdp, softmax_policy(logits), cfg.discount)
    model = log_state_density(logits).exp()
    row = {"kind": "self-loop", "states": states, "distance": float(total_variation(model, visits))}
    return pd.DataFrame([row | {"smallest_gap": float((model - visits).abs().min())}])


def _random(states: int, cfg: Config, rng: np.random.Generator) -> list[pd.DataFrame]:
    mdp = random_processes(cfg.processes_per_size, states, cfg.actions, rng)
    logits = torch.from_numpy(rng.normal(size=(cfg.processes_per_size, states, cfg.actions)) * 2)
    target = torch.from_numpy(rng.dirichlet(np.ones(states), size=cfg.processes_per_size))

    def visited(logits: Tensor) -> Tensor:
        """Both laws of the visited states: discounted, and the mean over a finite horizon."""
        policy = softmax_policy(logits)
        mean = horizon_occupancy(mdp, policy, cfg.horizon).mean(0)
        return torch.stack([discounted_occupancy(mdp, policy, cfg.discount), mean])

    before, uniform = visited(logits), torch.full_like(target, 1 / states)
    frames = []
    for sign in ("f", "-f"):
        shifts = {
            "none": torch.zeros_like(target),
            "uniform": _uniform_shift(logits),
            "target": shift_for(logits, target.log(), sign),
        }
        for name, shift in shifts.items():
            model = log_state_density(logits + shift[..., None], sign).exp()
            wanted = {"none": model, "uniform": uniform, "target": target}[name]
            columns = _changes(logits, shift, visited, before) | {
                "error": (model - wanted).abs().amax(-1),
                "distance": total_variation(model, before[0]),
                "smallest_gap": total_variation(uniform, before).amin(0),
            }
            frames.append(_rows(columns, states, sign, name))
            if states == cfg.random_states[0]:
                frames.append(_example(model[0], before[0, 0], sign, name))
    return frames


def _uniform_shift(logits: Tensor) -> Tensor:
    """g(s) = -log sum_a exp f(s)[a], as printed in Example 2."""
    return -torch.logsumexp(logits, -1)


def _changes(logits: Tensor, shift: Tensor, visited, before: Tensor) -> dict[str, Tensor]:
    """What the shift does to the policy and to the states it visits, largest over states and actions."""
    shifted = logits + shift[..., None]
    return {
        "policy_change": (softmax_policy(shifted) - softmax_policy(logits)).abs().amax((-1, -2)),
        "visits_change": (visited(shifted) - before).abs().amax((0, -1)),
    }


def _rows(columns: dict[str, Tensor], states: int, sign: Sign, shift: str) -> pd.DataFrame:
    values = {name: tensor.numpy() for name, tensor in columns.items()}
    count = len(values["error"])
    return pd.DataFrame(
        {"kind": "random", "states": states, "sign": sign, "shift": shift, "process": np.arange(count)} | values
    )


def _example(model: Tensor, visits: Tensor, sign: Sign, shift: str) -> pd.DataFrame:
    """p(s) and d_pi(s) of one process, state by state, for the figure."""
    columns = {"state": np.arange(len(model)), "model": model.numpy(), "visits": visits.numpy()}
    return pd.DataFrame({"kind": "state", "states": len(model), "sign": sign, "shift": shift} | columns)


def decide_example_1(frame: pd.DataFrame) -> Verdict:
    """TV(p, d_pi) = 1 - 1/|S| and a difference at every state for |S| >= 2; none at |S| = 1."""
    rows = frame[frame.kind == "self-loop"]
    error = float((rows.distance - (1 - 1 / rows.states)).abs().max(skipna=False))
    several, single = rows[rows.states >= 2], rows[rows.states == 1]
    differs = bool((several.smallest_gap > 0).all()) and len(several) > 0
    note = (
        f"Total variation is 1 - 1/|S| to {EXACT:g} for |S| = {several.states.min()} to {several.states.max()}; "
        "the wording needs |S| >= 2: with one state both laws are equal."
    )
    decision = equals(error, 0.0, EXACT, note) if differs else holds(False, error, "Some state does not differ.")
    has_counterexample = len(single) > 0 and bool((single.smallest_gap == 0).all())
    return decision.as_corrected(note) if has_counterexample else decision


def decide_shift_invariance(frame: pd.DataFrame) -> Verdict:
    """The policy and its visits stay while p(s) becomes any given law, on at least 200 random processes."""
    rows = frame[(frame.kind == "random") & (frame["shift"] == "target")]
    count = len(rows[rows.sign == "f"])
    worst = float(rows[["policy_change", "visits_change", "error"]].to_numpy().max()) if count else np.nan
    note = f"Largest change of policy and visits and largest error of p(s) over {count} random processes, both signs."
    if count < 200:
        return Verdict("inconclusive", worst, note=f"Only {count} processes; 200 are asked for.")
    return equals(worst, 0.0, EXACT, note)


def decide_example_2(frame: pd.DataFrame) -> Verdict:
    """p(s) is uniform with the printed shift under either sign, and d_pi is not, by far more than rounding."""
    rows = frame[(frame.kind == "random") & (frame["shift"] == "uniform")]
    error = float(rows.error.max(skipna=False))
    nearest, typical = float(rows.smallest_gap.min(skipna=False)), float(rows.smallest_gap.median())
    note = (
        "Uniform under either sign of the energy, for finitely many states; the visited law's distance from uniform "
        f"(TV) is {typical:.2f} in the median and {nearest:.1g} at least."
    )
    return equals(error, 0.0, EXACT, note) if nearest > 1e3 * EXACT else holds(False, nearest, "A law is uniform.")


CLAIMS = [
    Claim(
        id="critique.example-1",
        source="Swamy et al. 2021",
        location="Example 1",
        statement="With self-loops only, the model's state marginal 1/|S| differs at every state from d_pi.",
        measures="largest error of TV = 1 - 1/|S|",
        decide=decide_example_1,
    ),
    Claim(
        id="critique.shift-invariance",
        source="Swamy et al. 2021",
        location="Section 2, eqs. (6)-(7)",
        statement="A shift g(s) of the logits leaves the policy and d_pi as they are and can make p(s) anything.",
        measures="largest change or error",
        decide=decide_shift_invariance,
    ),
    Claim(
        id="critique.example-2",
        source="Swamy et al. 2021",
        location="Example 2, eqs. (8)-(9)",
        statement="g = -log sum_a exp f(s)[a] makes p(s) uniform, regardless of the policy; d_pi easily is not.",
        measures="largest error of p(s) = 1/|S|",
        decide=decide_example_2,
    ),
]

_SHIFTS = {
    "none": ("$g = 0$", style.SKY),
    "uniform": ("Example 2", style.ORANGE),
    "target": ("random target", style.PURPLE),
}


def figure(frame: pd.DataFrame) -> Figure:
    """(a) Example 1; (b) one process, state by state; (c) distance of p(s) from the visited law over all processes."""
    drawing, axes = style.panels(1, 3)
    loops = frame[frame.kind == "self-loop"]
    axes[0].plot(loops.states, 1 - 1 / loops.states, color=style.GREY, label=r"$1 - 1/|\mathcal{S}|$")
    axes[0].plot(loops.states, loops.distance, "o", color=style.BLUE, label="measured", markersize=3)
    axes[0].set(xlabel=r"number of states $|\mathcal{S}|$", ylabel=r"total variation of $p_\theta(s)$ and $d_\pi(s)$")
    axes[0].legend()
    _draw_states(axes[1], frame[(frame.kind == "state") & (frame.sign == "f")])
    _draw_distances(axes[2], frame[(frame.kind == "random") & (frame.sign == "f")])
    return drawing


def _draw_states(axis, rows: pd.DataFrame) -> None:
    visits = rows[rows["shift"] == "none"]
    axis.bar(visits.state, visits.visits, color="#DDDDDD", width=0.9, label=r"visited, $d_\pi(s)$")
    for (name, (label, colour)), marker in zip(_SHIFTS.items(), "o^s", strict=True):
        part = rows[rows["shift"] == name]
        edge = {"markeredgecolor": style.BLACK, "markeredgewidth": 0.4}
        axis.plot(part.state, part.model, marker, color=colour, label=label, **edge)
    axis.set(xlabel="state $s$", ylabel="probability", title="one policy, three shifts")
    axis.set_ylim(0, axis.get_ylim()[1] * 1.45)
    axis.legend(ncols=2, loc="upper right", columnspacing=0.8, handletextpad=0.2)


def _draw_distances(axis, rows: pd.DataFrame) -> None:
    for name, (label, colour) in _SHIFTS.items():
        values = np.sort(rows[rows["shift"] == name].distance)
        axis.step(values, np.arange(1, len(values) + 1) / len(values), color=colour, label=label, where="post")
    axis.axvline(0, color=style.BLACK, linewidth=0.8, linestyle="--", label="same law")
    axis.set(xlabel=r"total variation of $p_\theta(s)$ and $d_\pi(s)$", ylabel="share of processes")
    axis.legend(loc="lower right", handlelength=1.2, borderaxespad=0)
