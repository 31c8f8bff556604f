"""What a person sees while experiments run, and the verdicts at the end."""

import contextlib
import json
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from experiments.harness.ledger import Entry, number, spread
from experiments.harness.record import Plan

COLOURS = {"reproduced": "green", "corrected": "cyan", "refuted": "red", "inconclusive": "yellow", "not run": "dim"}


@contextlib.contextmanager
def watched(plans: Sequence[Plan], console: Console) -> Iterator[None]:
    """Show the runs' progress while the body runs them, wherever they run: only their status files are read.

    On a terminal one bar per run with the time that remains; elsewhere one line when a run ends.
    """
    finished = threading.Event()
    bars = Progress(
        TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn(),
        console=console, disable=not console.is_terminal,
    )  # fmt: skip
    tasks = {plan.folder: bars.add_task(escape(_name(plan)), total=None, start=False, visible=False) for plan in plans}
    since = time.time()

    def watch() -> None:
        """Read the status files until all runs have ended, and once more after the body did."""
        pending = list(plans)
        while pending:
            last_round = finished.is_set()
            for plan in list(pending):
                status = _status(plan, since)
                _advance(bars, tasks[plan.folder], status)
                if status.get("outcome") in ("ran", "failed"):
                    pending.remove(plan)
                    _announce(plan, status, bars.console)
            if last_round:
                return
            finished.wait(0.2)

    thread = threading.Thread(target=watch, daemon=True)
    with bars:
        thread.start()
        try:
            yield
        finally:
            finished.set()
            thread.join()


def _status(plan: Plan, since: float) -> dict[str, Any]:
    """What the run said last; nothing if that was before this call began."""
    path = plan.folder / ".status.json"
    try:
        return json.loads(path.read_text()) if path.stat().st_mtime >= since - 1 else {}
    except (OSError, json.JSONDecodeError):
        return {}


def _advance(bars: Progress, task: TaskID, status: dict[str, Any]) -> None:
    if status and not bars.tasks[task].started:
        bars.start_task(task)
    if status.get("outcome") == "ran":
        bars.update(task, completed=1, total=1, visible=True)
    elif status:
        bars.update(task, completed=status.get("done", 0), total=status.get("total"), visible=True)


def _announce(plan: Plan, status: dict[str, Any], console: Console) -> None:
    if status["outcome"] == "failed":
        text = f"failed: {_name(plan)}: {status['message']}"
        console.print(text, style="red", markup=False, highlight=False, soft_wrap=True)
    elif not console.is_terminal:
        text = f"ran {_name(plan)} in {status['seconds']:.1f} s"
        console.print(text, markup=False, highlight=False, soft_wrap=True)


def _name(plan: Plan) -> str:
    return f"{plan.experiment} ({plan.scale})" + "".join(f" {key}={value}" for key, value in plan.changed.items())


def verdicts(entries: Sequence[Entry], console: Console) -> None:
    """The final table: claim, verdict, printed and measured value with its interval."""
    table = Table("claim", "verdict", "printed", "measured", "interval", "scale", box=None, pad_edge=False)
    table.columns[0].no_wrap = True
    for entry in entries:
        verdict = entry.verdict
        coloured = f"[{COLOURS[verdict.verdict]}]{verdict.verdict}[/]"
        table.add_row(
            entry.id, coloured, escape(number(entry.printed)), number(verdict.measured), spread(verdict), entry.scale
        )
    console.print(table)
