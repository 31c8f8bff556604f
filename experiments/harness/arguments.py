"""The command line is checked whole before anything runs: every job of a sweep, every key, every value."""

import shutil
from collections.abc import Sequence

from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from experiments.harness import catalogue, runner
from experiments.harness.record import Plan
from experiments.harness.schema import BadInputError

LAUNCHERS = ("local", "slurm", "submitit_local", "submitit_slurm", "joblib", "basic")


def plans(overrides: Sequence[str], multirun: bool) -> list[Plan]:
    """One checked plan per job that these Hydra overrides ask for.

    Raises:
        BadInputError: anything that cannot be run, in one line.
    """
    parsed = [_parsed(override) for override in overrides]
    if not multirun and any(override.is_sweep_override() for override in parsed):
        raise BadInputError("several values for one key: add -m to run them all, or write a list as key=[1,2]")
    try:
        jobs = BasicSweeper.split_arguments(parsed, max_batch_size=None)[0] if multirun else [list(overrides)]
    except HydraException:
        raise BadInputError(f"{' '.join(overrides)}: cannot be swept; allowed: key=a,b and key=range(1,4)") from None
    with initialize_config_dir(str(catalogue.CONFIGS), version_base="1.3"):
        found = [_plan(job) for job in jobs]
    for plan in found:
        if [other.folder for other in found].count(plan.folder) > 1:
            raise BadInputError(f"{runner.shown(plan.folder)}: several jobs of this sweep are the same run")
    return found


def require_launcher(overrides: Sequence[str]) -> None:
    """Refuse a cluster that is not there.

    Raises:
        BadInputError: in one line.
    """
    chosen = [str(one.value()) for one in map(_parsed, overrides) if one.key_or_group == "hydra/launcher"]
    if chosen and "slurm" in chosen[-1] and shutil.which("srun") is None:
        raise BadInputError(f"hydra/launcher={chosen[-1]}: this machine has no Slurm (srun is not found)")


def _parsed(override: str) -> Override:
    try:
        return OverridesParser.create().parse_override(override)
    except (HydraException, ValueError):
        raise BadInputError(f"{override}: cannot be read; allowed: key=value, lists as key=[1,2]") from None


def _plan(job: list[str]) -> Plan:
    parsed = [_parsed(override) for override in job]
    experiment = _choice(parsed, "experiment", catalogue.experiments(), default=None)
    _choice(parsed, "scale", catalogue.scales(experiment), default="laptop", place=f" for {experiment}")
    _choice(parsed, "hydra/launcher", LAUNCHERS, default="local")
    known = [*map(str, catalogue.paper_values(experiment)), *runner.RUN_KEYS, "experiment"]
    if recipes := catalogue.recipes(experiment):
        known.append("recipe")
        _choice(parsed, "recipe", recipes, default=recipes[0])
    for override in parsed:
        name = override.key_or_group
        if name.split(".")[0] not in known and not name.startswith(("hydra.", "hydra/")):
            raise BadInputError(f"{override.input_line}: unknown key; allowed: {', '.join(known)}")
    try:
        return runner.plan(compose("config", overrides=job), experiment)
    except (HydraException, OmegaConfBaseException, ValueError):
        ours = " ".join(str(override.input_line) for override in parsed if override.key_or_group != "experiment")
        raise BadInputError(f"{ours}: cannot be used; allowed: key=value with {', '.join(known)}") from None


def _choice(parsed: list[Override], key: str, allowed: Sequence[str], default: str | None, place: str = "") -> str:
    given = [str(override.value()) for override in parsed if override.key_or_group == key]
    value = given[-1] if given else default
    if value is None:
        raise BadInputError(f"{key}: missing; allowed: {', '.join(allowed)}")
    if value not in allowed:
        raise BadInputError(f"{key}={value}: unknown{place}; allowed: {', '.join(allowed)}")
    return value
