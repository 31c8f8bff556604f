"""Hydra entry: `python -m experiments experiment=critique/gradient_sign scale=smoke k=[0.5]`, sweeps with -m."""

import contextlib
import ctypes
import os
import signal
import sys
import time
from typing import NoReturn

# One thread per process, before anything loads a numerical library: parallelism is over processes.
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig
from rich.console import Console

from experiments.harness import arguments, catalogue, runner
from experiments.harness.files import CannotWriteError
from experiments.harness.frames import read_frame
from experiments.harness.record import Plan
from experiments.harness.schema import BadInputError

LAUNCHED_BY = "IMITATION_LAUNCHED_BY"  # the process whose end ends the workers
PR_SET_PDEATHSIG = 1  # from Linux's prctl.h


def job(settings: DictConfig) -> None:
    """One Hydra job: run the plan that this configuration is. What came of it stands in its folder, for `report`."""
    _end_with_the_launcher()
    with contextlib.suppress(Exception):
        runner.execute(runner.plan(settings, HydraConfig.get().runtime.choices["experiment"]))


def _end_with_the_launcher() -> None:
    """On Linux a worker process ends when the process that launched it is killed, and so leaves its folder free."""
    if os.environ.get(LAUNCHED_BY) == str(os.getppid()) and sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def launch() -> None:
    """Hand the command line to Hydra, which runs the job here or launches the sweep."""
    os.environ[LAUNCHED_BY] = str(os.getpid())
    hydra.main(version_base="1.3", config_path=str(catalogue.CONFIGS), config_name="config")(job)()


def run(plans: list[Plan], multirun: bool, console: Console) -> int:
    """Run what is not current, then report; the exit status is 1 if any plan was not measured, else 0."""
    from experiments.harness.display import watched

    started = time.time()
    due = [plan for plan in plans if plan.force or not plan.is_current()]
    for plan in plans:
        if plan not in due:
            say(console, f"current, skipped: {runner.shown(plan.folder)} (force=true repeats it)")
    if due:
        with watched(due, console):
            try:
                launch() if multirun else runner.execute(due[0])
            except (BadInputError, KeyboardInterrupt):
                raise
            except (Exception, SystemExit) as error:
                # The run has left its error in its folder; the others' results still deserve their report.
                say(console, f"stopped: {type(error).__name__}: {error}", style="red")
    unfinished = [plan for plan in due if not runner.was_measured(plan, started)]
    for plan in unfinished:
        say(console, f"no result: {runner.obstacle(plan.folder)}", style="red")
    report([plan for plan in plans if plan not in unfinished], console)
    return 1 if unfinished else 0


def report(plans: list[Plan], console: Console) -> None:
    """Verdicts of the experiments that have a record, and where everything lies.

    Raises:
        BadInputError: the report cannot be written.
    """
    from experiments.harness import ledger
    from experiments.harness.display import verdicts
    from experiments.harness.report import write

    for results in {plan.results for plan in plans if plan.is_canonical}:
        try:
            rows = write(results)
        except (CannotWriteError, OSError) as error:
            raise BadInputError(str(error)) from None
        wanted = {plan.experiment for plan in plans if plan.is_canonical and plan.results == results}
        verdicts([entry for entry in rows if entry.experiment in wanted], console)
        say(console, f"ledger, scoreboard and page: {runner.shown(results / 'index.html')}")
    for plan in plans:
        if plan.is_shard:
            _tell_shard(plan, console)
        if not plan.is_canonical:
            frame = read_frame(plan.folder / "metrics.csv")
            verdicts(ledger.of_run(plan.experiment, plan.scale, frame), console)
            say(console, f"not the canonical configuration, kept apart: {runner.shown(plan.folder)}")


def _tell_shard(plan: Plan, console: Console) -> None:
    """What is missing where a shard makes no result yet, or whether one was there without it."""
    from experiments.harness import result

    found = result.read(plan.results, plan.experiment, plan.scale)
    if found is None or found.is_stale:
        say(console, result.shortfall(plan.results, plan.experiment, plan.scale))
    elif plan.folder not in found.shards:
        say(console, f"{runner.shown(plan.folder)}: kept, but what others measured makes up the result without it")


def say(console: Console, text: str, style: str = "") -> None:
    """One line as it is: a path or an error may hold what rich would take for markup."""
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


def console() -> Console:
    """The terminal, or lines wide enough for the table of verdicts where there is none."""
    terminal = Console()
    return terminal if terminal.is_terminal else Console(width=140)


def refuse(message: str) -> NoReturn:
    """What argparse finds wrong, in one line instead of its usage."""
    raise BadInputError(f"{message}; allowed: key=value, -m for a sweep, --cfg job, --help")


def main() -> int:
    """Check the command line, then run it; bad input ends in one line and status 2."""
    parser = get_args_parser()
    parser.error = refuse  # type: ignore[method-assign]
    try:
        options = parser.parse_args()
        if options.config_name or options.config_path or options.config_dir:
            raise BadInputError(
                "--config-name, --config-path, --config-dir: not allowed; values are given as key=value"
            )
        if options.help or options.hydra_help:
            launch()
            return 0
        plans = arguments.plans(options.overrides, options.multirun)
        if options.cfg or options.info:
            launch()
            return 0
        arguments.require_launcher(options.overrides)
        return run(plans, options.multirun, console())
    except BadInputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command completes it", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
