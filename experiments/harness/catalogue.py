"""What there is: sources, experiments, their configurations and their claims, found in the folders themselves."""

import importlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from omegaconf import DictConfig, OmegaConf

from experiments.harness.claim import SCALES, Claim
from experiments.harness.schema import BadInputError, checked

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "configs"
SOURCES = ("critique", "gap", "lecture", "csil")


@dataclass(frozen=True)
class Source:
    """A document under test.

    Args:
        planned: its claims that no experiment decides yet, id -> (location, statement).
        reading_order: names of its experiments as a reader of the document meets them; others follow by name.
    """

    title: str
    authors: str
    year: int | None
    planned: dict[str, tuple[str, str]]
    reading_order: tuple[str, ...] = ()

    @property
    def citation(self) -> str:
        """As the ledger cites it: authors and, where the document has one, the year."""
        return f"{self.authors} {self.year}" if self.year else self.authors


def source(name: str) -> Source:
    """The document behind a source folder."""
    return importlib.import_module(f"experiments.{name}").SOURCE


@cache
def experiments() -> list[str]:
    """Names of all experiments, `<source>/<name>`, in the order in which the documents bring them up."""
    found = [
        path.relative_to(CONFIGS / "experiment").with_suffix("").as_posix()
        for path in (CONFIGS / "experiment").glob("*/*.yaml")
    ]
    return sorted(found, key=_place)


def _place(experiment: str) -> tuple[int, int, str]:
    folder, name = experiment.split("/")
    order = source(folder).reading_order
    return SOURCES.index(folder), order.index(name) if name in order else len(order), name


def module(experiment: str) -> ModuleType:
    """The experiment's module: CLAIMS, Config, run, figure.

    Raises:
        BadInputError: there is no such experiment.
    """
    if experiment not in experiments():
        raise BadInputError(f"experiment={experiment}: unknown; allowed: {', '.join(experiments())}")
    return importlib.import_module("experiments." + experiment.replace("/", "."))


def claims(experiment: str) -> list[Claim]:
    """The claims that an experiment decides."""
    return module(experiment).CLAIMS


def paper_values(experiment: str) -> DictConfig:
    """What the paper used: the experiment's own configuration file, over the recipe that its defaults list names."""
    values: Any = OmegaConf.load(CONFIGS / "experiment" / f"{experiment}.yaml")
    defaults = values.pop("defaults", [])
    recipe = [OmegaConf.load(CONFIGS / "recipe" / f"{one['/recipe']}.yaml") for one in defaults if one != "_self_"]
    return OmegaConf.merge(*recipe, values)  # type: ignore[return-value]


def recipes(experiment: str) -> list[str]:
    """The sets of hyperparameters that `recipe=` may name, none if the experiment does not build on one."""
    values: Any = OmegaConf.load(CONFIGS / "experiment" / f"{experiment}.yaml")
    return sorted(path.stem for path in (CONFIGS / "recipe").glob("*.yaml")) if "defaults" in values else []


def scales(experiment: str) -> list[str]:
    """The scales of an experiment, smallest first; overnight is one where a file says what it is."""
    return [scale for scale in SCALES if scale != "overnight" or _overlay(experiment, scale).exists()]


def _overlay(experiment: str, scale: str) -> Path:
    return CONFIGS / "overlay" / scale / f"{experiment}.yaml"


def overlay(experiment: str, scale: str) -> DictConfig:
    """What a scale shrinks, empty where it shrinks nothing.

    Raises:
        BadInputError: the experiment has no such scale.
    """
    if scale not in scales(experiment):
        raise BadInputError(f"scale={scale}: {experiment} has none such; allowed: {', '.join(scales(experiment))}")
    path = _overlay(experiment, scale)
    return OmegaConf.load(path) if path.exists() else OmegaConf.create()  # type: ignore[return-value]


@cache
def canonical(experiment: str, scale: str) -> Any:
    """The checked configuration of an experiment at a scale, nothing overridden; not to be changed."""
    values = OmegaConf.merge(paper_values(experiment), overlay(experiment, scale))
    return checked(module(experiment).Config, values)  # type: ignore[arg-type]


def departures(experiment: str, scale: str) -> dict[str, dict[str, Any]]:
    """Where a scale departs from the paper: key -> {"paper": value, scale: value}; keys within a key have dots."""
    paper, changed = _flat(paper_values(experiment)), _flat(overlay(experiment, scale))
    return {
        key: {"paper": _plain(paper[key]), scale: _plain(value)}
        for key, value in changed.items()
        if paper[key] != value
    }


def _flat(values: DictConfig, prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        whole = f"{prefix}{key}"
        found |= _flat(value, f"{whole}.") if isinstance(value, DictConfig) else {whole: value}
    return found


def _plain(value: Any) -> Any:
    return OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
