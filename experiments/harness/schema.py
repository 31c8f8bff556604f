"""From Hydra's configuration to an experiment's `Config`: types and bounds are checked before anything runs."""

import math
from dataclasses import field, fields
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException


class BadInputError(Exception):
    """A value that a person gave and that cannot be used; the message is one line that says what is allowed."""


def bounded(low: float = -math.inf, high: float = math.inf, min_items: int = 1, choices: tuple = ()) -> Any:
    """A dataclass field whose number, or every number of whose list, lies in [low, high] or among `choices`."""
    return field(metadata={"low": low, "high": high, "min_items": min_items, "choices": choices})


def checked(schema: type, values: DictConfig | dict[str, Any]) -> Any:
    """An instance of the dataclass `schema` with these values.

    Raises:
        BadInputError: an unknown or missing key, a wrong type, or a value out of bounds.
    """
    names = [one.name for one in fields(schema)]
    for key in values:
        if key not in names:
            raise BadInputError(f"{key}: unknown key; allowed: {', '.join(names)}")
    try:
        config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), values))
    except OmegaConfBaseException as error:
        raise BadInputError(_one_line(schema, values, error)) from None
    for one in fields(schema):
        _check_bounds(one.name, getattr(config, one.name), one.metadata)
    return config


def _one_line(schema: type, values: DictConfig | dict[str, Any], error: OmegaConfBaseException) -> str:
    key = str(error.full_key or error.key)
    kinds = {one.name: one.type if isinstance(one.type, str) else _kind(one.type) for one in fields(schema)}
    name = key.split("[")[0].split(".")[0]
    if name in values:
        return f"{name}={_shown(values[name])}: must be {kinds.get(name, 'known')}"
    return f"{name}: missing; must be {kinds.get(name, 'known')}"


def _shown(value: Any) -> str:
    return str(OmegaConf.to_container(value) if OmegaConf.is_config(value) else value)


def _kind(kind: Any) -> str:
    return kind.__name__ if isinstance(kind, type) and not hasattr(kind, "__args__") else str(kind)


def _check_bounds(key: str, value: Any, bounds: Any) -> None:
    if not bounds:
        return
    items = value if isinstance(value, list) else [value]
    if len(items) < bounds["min_items"]:
        raise BadInputError(f"{key}={value}: needs at least {bounds['min_items']} items")
    for item in items:
        if bounds["choices"] and item not in bounds["choices"]:
            raise BadInputError(f"{key}={value}: allowed are {', '.join(map(str, bounds['choices']))}")
        if isinstance(item, int | float) and not bounds["low"] <= item <= bounds["high"]:
            raise BadInputError(f"{key}={value}: must be between {bounds['low']:g} and {bounds['high']:g}")
