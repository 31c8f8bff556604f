"""The command line is checked whole before anything runs: every job of a sweep, every key, every value."""

from collections.abc import Sequence

from hydra import compose, initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from experiments.harness import catalogue, runner
from experiments.harness.claim import SCALES
from experiments.harness.record import Plan
from experiments.harness.schema import BadInputError


def plans(overrides: Sequence[str], multirun: bool) -> list[Plan]:
    """One checked plan per job that these Hydra overrides ask for.

    Raises:
        BadInputError: anything that cannot be run, in one line.
    """
    parsed = [_parsed(override) for override in overrides]
    if not multirun and any(override.is_sweep_override() for override in parsed):
        raise BadInputError("several values for one key: add -m to run them all, or write a list as key=[1,2]")
    jobs = BasicSweeper.split_arguments(parsed, max_batch_size=None)[0] if multirun else [list(overrides)]
    with initialize_config_dir(str(catalogue.CONFIGS), version_base="1.3"):
        return [_plan(job) for job in jobs]


def _parsed(override: str) -> Override:
    try:
        return OverridesParser.create().parse_override(override)
    except HydraException:
        raise BadInputError(f"{override}: cannot be read; allowed: key=value, lists as key=[1,2]") from None


def _plan(job: list[str]) -> Plan:
    parsed = [_parsed(override) for override in job]
    experiment = _choice(parsed, "experiment", catalogue.experiments(), default=None)
    _choice(parsed, "scale", SCALES, default="laptop")
    try:
        settings = compose("config", overrides=job)
    except (HydraException, OmegaConfBaseException) as error:
        raise BadInputError(_explain(parsed, experiment, error)) from None
    return runner.plan(settings, experiment)


def _choice(parsed: list[Override], key: str, allowed: Sequence[str], default: str | None) -> str:
    given = [str(override.value()) for override in parsed if override.key_or_group == key]
    value = given[-1] if given else default
    if value is None:
        raise BadInputError(f"{key}: missing; allowed: {', '.join(allowed)}")
    if value not in allowed:
        raise BadInputError(f"{key}={value}: unknown; allowed: {', '.join(allowed)}")
    return value


def _explain(parsed: list[Override], experiment: str, error: Exception) -> str:
    """Hydra's several lines as one that names the key and what is allowed."""
    known = [*map(str, catalogue.paper_values(experiment)), *runner.RUN_KEYS, "experiment"]
    for override in parsed:
        name = override.key_or_group
        if name.split(".")[0] not in known and not name.startswith("hydra"):
            return f"{override.input_line}: unknown key; allowed: {', '.join(known)}"
    return " ".join(str(error).split())
