"""How long the lecture's games take to match moments: primal and dual on the same processes, against seconds.

    python benchmarks/moment_game.py --repetitions 5

The processes and the primal's step sizes are those of `lecture/primal` at its own configuration; the dual takes the
full step 1/L, where the experiment gives it half, as it gives the primal with entropy. All seeds are solved side by
side on one thread. Results by iterations are in the experiment, where they are exact; seconds are the machine's, so
they are measured here. Every method is run anew for each number of iterations, and the shortest repetition counts.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import torch
from langevin import repeated, write
from torch import Tensor

from experiments.harness import catalogue, style
from experiments.harness.context import Context
from experiments.lecture import primal
from experiments.lecture._random_games import random_games
from imitation.mdp.games import dual_maxent, primal_game, smoothness_step
from imitation.mdp.maxent import MomentGame

PRIMAL, REGULARISED, DUAL = "primal, average iterate", "primal with entropy", "dual, online gradient"
ITERATIONS = {PRIMAL: (1, 8, 64, 512, 4096), REGULARISED: (1, 4, 16, 64, 256), DUAL: (1, 4, 16, 64, 256)}
ROUNDING = 1e-16  # smaller gaps are drawn there
COLOURS = {PRIMAL: style.VERMILION, REGULARISED: style.ORANGE, DUAL: style.BLUE}


def the_game() -> MomentGame:
    """The processes of `lecture/primal`."""
    cfg = catalogue.canonical("lecture/primal", "paper")
    return random_games(Context(), cfg.seeds, cfg.states, cfg.actions, 2, cfg.horizon, cfg.expert_scale).game


def solvers(game: MomentGame) -> dict[str, Callable[[int], Tensor]]:
    """Number of iterations -> moments (P, K)."""
    step = smoothness_step(game)

    def plain(count: int) -> Tensor:
        chosen = primal.steps(game, count)
        path = primal_game(game, chosen.policy[:, None, None], chosen.reward[:, None], primal.RADIUS, count)
        return path.moments.mean(0)

    def regularised(count: int) -> Tensor:
        path = primal_game(game, primal.POLICY_STEP, step / 2, float("inf"), count, temperature=1.0)
        return path.moments[-1]

    return {PRIMAL: plain, REGULARISED: regularised, DUAL: lambda count: dual_maxent(game, step, count).moments[-1]}


def measure(repetitions: int) -> pd.DataFrame:
    """One line per method and number of iterations; a repetition times every one once before the next begins."""
    game = the_game()
    every = [(name, solve, count) for name, solve in solvers(game).items() for count in ITERATIONS[name]]
    seconds: dict[tuple[str, int], list[float]] = {(name, count): [] for name, _, count in every}
    gaps = {}
    for repetition in range(repetitions + 1):
        for name, solve, count in every:
            print(f"repetition {repetition} (0: warm-up): {name}, {count} iterations", file=sys.stderr)
            started = time.perf_counter()
            moments = solve(count)
            if repetition:
                seconds[name, count].append(time.perf_counter() - started)
            gaps[name, count] = (moments - game.expert).norm(dim=-1)
    return pd.DataFrame(
        {"method": name, "iterations": count, "seconds": min(times), "slowest_seconds": max(times),
         "median_gap": float(gaps[name, count].median()), "largest_gap": float(gaps[name, count].max()),
         "processes": len(gaps[name, count]), "repetitions": repetitions}
        for (name, count), times in seconds.items()
    )  # fmt: skip


def draw(table: pd.DataFrame, path: Path) -> None:
    """The median moment gap over processes against seconds; up to the largest one shaded."""
    figure, (axis,) = style.panels(1, 1, height=2.4, width=3.4)
    for name, colour in COLOURS.items():
        rows = table[table.method == name]
        middle, largest = (rows[column].clip(lower=ROUNDING) for column in ("median_gap", "largest_gap"))
        axis.plot(rows.seconds, middle, "o-", color=colour, label=name, markersize=3)
        axis.fill_between(rows.seconds, middle, largest, color=colour, alpha=0.2, linewidth=0)
    axis.set(xscale="log", yscale="log", ylabel=r"moment gap $|\mu(\pi)-\mu_E|$")
    axis.set_xlabel(f"seconds, {table.processes.iloc[0]} processes side by side")
    axis.legend()
    path.write_bytes(style.rendered(figure)["figure.png"])


def main() -> None:
    """Measure, write and draw."""
    chosen = repeated("Time the lecture's games, primal and dual.", "moment_game", 5)
    torch.set_num_threads(1)
    table = measure(chosen.repetitions)
    write(table, chosen.output)
    draw(table, chosen.output.with_suffix(".png"))
    print(table.to_string(index=False))


if __name__ == "__main__":
    main()
