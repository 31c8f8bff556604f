"""Hydra entry: `python -m experiments experiment=critique/gradient_sign scale=smoke k=[0.5]`, sweeps with -m."""

import os
import sys

# One thread per process, before anything loads a numerical library: parallelism is over processes.
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from rich.console import Console

from experiments.harness import arguments, catalogue, runner
from experiments.harness.record import Plan, read_frame
from experiments.harness.schema import BadInputError


def job(settings: DictConfig) -> None:
    """One Hydra job: run the plan that this configuration is."""
    runner.execute(runner.plan(settings, HydraConfig.get().runtime.choices["experiment"]))


def launch() -> None:
    """Hand the command line to Hydra, which runs the job here or launches the sweep."""
    hydra.main(version_base="1.3", config_path=str(catalogue.CONFIGS), config_name="config")(job)()


def run(plans: list[Plan], multirun: bool, console: Console) -> int:
    """Run what is not current, then report; the exit status is the number of plans without a record, at most 1."""
    from experiments.harness.display import watched

    for plan in plans:
        if plan.is_current() and not plan.force:
            console.print(f"current, skipped: {runner.shown(plan.folder)} (force=true repeats it)", highlight=False)
    due = [plan for plan in plans if plan.force or not plan.is_current()]
    if due:
        with watched(due, console):
            try:
                launch() if multirun else runner.execute(due[0])
            except BadInputError:
                raise
            except (Exception, SystemExit) as error:
                # The run has left its error in its folder; the others' results still deserve their report.
                console.print(f"[red]stopped[/red]: {error}", highlight=False, soft_wrap=True)
    return report(plans, console)


def report(plans: list[Plan], console: Console) -> int:
    """Verdicts of the planned experiments, and where everything lies."""
    from experiments.harness import ledger
    from experiments.harness.display import verdicts
    from experiments.harness.report import write

    unfinished = [plan for plan in plans if not plan.is_current()]
    for plan in unfinished:
        log = plan.folder / "error.log"
        reason = f"see {runner.shown(log)}" if log.exists() else "interrupted, or another process is writing it"
        console.print(f"[red]no result[/red] {runner.shown(plan.folder)}: {reason}", highlight=False, soft_wrap=True)
    for results in {plan.results for plan in plans if plan.is_canonical}:
        rows = write(results)
        wanted = {plan.experiment for plan in plans if plan.is_canonical and plan.results == results}
        verdicts([entry for entry in rows if entry.experiment in wanted], console)
        console.print(f"ledger, scoreboard and page: {runner.shown(results / 'index.html')}", highlight=False)
    for plan in plans:
        if not plan.is_canonical and plan not in unfinished:
            frame = read_frame(plan.folder / "metrics.csv")
            verdicts(ledger.of_run(plan.experiment, plan.scale, frame), console)
            console.print(f"not the canonical configuration, kept apart: {runner.shown(plan.folder)}", highlight=False)
    return 1 if unfinished else 0


def console() -> Console:
    """The terminal, or lines wide enough for the table of verdicts where there is none."""
    terminal = Console()
    return terminal if terminal.is_terminal else Console(width=140)


def main() -> int:
    """Check the command line, then run it; bad input ends in one line and status 2."""
    options = get_args_parser().parse_args()
    if options.help or options.hydra_help or options.cfg or options.info:
        launch()
        return 0
    try:
        plans = arguments.plans(options.overrides, options.multirun)
        return run(plans, options.multirun, console())
    except BadInputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
