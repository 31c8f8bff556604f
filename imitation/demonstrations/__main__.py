"""Tells what a file of demonstrations holds, or what is wrong with it."""

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from imitation.demonstrations import npz_file
from imitation.demonstrations._reading import refusing
from imitation.demonstrations.canonical import Loaded, canonical
from imitation.demonstrations.episodes import DemonstrationError, Demonstrations, Episode
from imitation.demonstrations.sources import read_source
from imitation.demonstrations.task import Task

MOST_LINES = 20


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0 with a summary on standard output, or 1 with one line per fault on standard error."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    asked = _parser().parse_args(arguments)
    try:
        for line in _summary(asked):
            print(line)
    except DemonstrationError as error:
        for fault in error.faults[:MOST_LINES]:
            print(fault, file=sys.stderr)
        if len(error.faults) > MOST_LINES:
            print(f"... and {len(error.faults) - MOST_LINES} more faults", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m imitation.demonstrations",
        description=__doc__,
        epilog=npz_file.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=["check"])
    parser.add_argument("file", metavar="FILE", help="an npz file, a Minari folder, or the id of a Minari dataset")
    parser.add_argument("--env", metavar="ID", help="what it must be of, such as HalfCheetah-v5")
    parser.add_argument(
        "--options", type=_options, metavar="JSON", help="of the environment: '{\"healthy_reward\": 0.5}'"
    )
    parser.add_argument("--episodes", type=int, metavar="N", help="look at the first N only")
    return parser


def _options(text: str) -> dict[str, Any]:
    options = json.loads(text)
    if not isinstance(options, dict):
        raise ValueError
    return options


def _summary(asked: argparse.Namespace) -> list[str]:
    task, episodes = read_source(asked.file, asked.env, asked.options, asked.episodes)
    with refusing(asked.file):
        loaded = Loaded(_as_recorded(episodes), 0, 0) if task is None else canonical(task, episodes)
    demonstrations = loaded.demonstrations
    ends = [bool(episode.terminations[-1]) for episode in demonstrations.episodes]
    low, high = (most([most(episode.actions) for episode in episodes]) for most in (np.min, np.max))
    limit = f"; {loaded.relabelled} of these were marked as terminated at the time limit" if loaded.relabelled else ""
    return [
        f"{asked.file}: {len(ends)} episodes, {demonstrations.steps} steps",
        f"  environment   {task.environment if task else 'not compared with any, name one with --env'}",
        f"  observations  {demonstrations.observation_dim} numbers",
        f"  actions       {demonstrations.action_dim} numbers, from {low:.6g} to {high:.6g}{_bounds(task, loaded)}",
        f"  ends          {sum(ends)} terminated, {len(ends) - sum(ends)} truncated{limit}",
        f"  returns       {_returns(demonstrations)}",
    ]


def _as_recorded(episodes: Sequence[Episode]) -> Demonstrations:
    """Checked in every way that needs no environment."""
    most = np.full(episodes[0].actions.shape[1], np.finfo(np.float64).max)
    return Demonstrations("Unnamed-v0", -most, most, episodes)


def _bounds(task: Task | None, loaded: Loaded) -> str:
    if task is None:
        return ""
    allowed = f"allowed are {task.low.min():.6g} to {task.high.max():.6g}"
    return f"; {allowed}, {100 * loaded.clipped:.3g} % lie outside and are moved to the bound"


def _returns(demonstrations: Demonstrations) -> str:
    if demonstrations.episodes[0].rewards is None:
        return "no rewards recorded"
    returns = demonstrations.returns
    return f"mean {returns.mean():.6g}, min {returns.min():.6g}, max {returns.max():.6g}"


if __name__ == "__main__":
    raise SystemExit(main())
