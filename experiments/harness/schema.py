"""From Hydra's configuration to an experiment's `Config`: types and bounds are checked before anything runs."""

import math
from dataclasses import Field, field, fields, is_dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException


class BadInputError(Exception):
    """A value that a person gave and that cannot be used; the message is one line that says what is allowed."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


def bounded(
    low: float = -math.inf, high: float = math.inf, min_items: int = 1, choices: tuple = (), unique: bool = False
) -> Any:
    """A dataclass field whose number, or every number of whose list, lies in [low, high] or among `choices`."""
    bounds = {"low": low, "high": high, "min_items": min_items, "choices": choices, "unique": unique}
    return field(metadata=bounds)


def seed_list() -> Any:
    """A dataclass field for seeds: each once, since a seed that counted twice would shrink every interval."""
    return bounded(0, 2**63 - 1, unique=True)


def checked(schema: type, values: DictConfig | dict[str, Any]) -> Any:
    """An instance of the dataclass `schema` with these values.

    A text where a list of texts is wanted counts as a list of one: `env=Hopper-v5`.

    Raises:
        BadInputError: an unknown or missing key, a wrong type, or a value out of bounds.
    """
    names = [one.name for one in fields(schema)]
    for key in values:
        if key not in names:
            raise BadInputError(f"{key}: unknown key; allowed: {', '.join(names)}")
    try:
        texts = {one.name: [values[one.name]] for one in fields(schema) if _is_lone_text(values, one)}
        config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), dict(values) | texts))
    except OmegaConfBaseException as error:
        raise BadInputError(_one_line(schema, values, error)) from None
    except TypeError as error:
        raise BadInputError(str(error)) from None
    _check_fields(config)
    return config


def _is_lone_text(values: DictConfig | dict[str, Any], one: Field) -> bool:
    if one.type != list[str] or one.name not in values:
        return False
    missing = isinstance(values, DictConfig) and OmegaConf.is_missing(values, one.name)
    return not missing and isinstance(values[one.name], str)


def _check_fields(config: Any, prefix: str = "") -> None:
    for one in fields(config):
        value = getattr(config, one.name)
        if is_dataclass(value):
            _check_fields(value, f"{prefix}{one.name}.")
        else:
            _check_bounds(prefix + one.name, value, one.metadata, _kind(one.type))


def _one_line(schema: type, values: DictConfig | dict[str, Any], error: OmegaConfBaseException) -> str:
    parts = str(error.full_key or error.key).split("[")[0].split(".")
    name, *below = parts
    inner = {one.name: one.type for one in fields(schema)}.get(name)
    if below and isinstance(inner, type) and is_dataclass(inner):
        schema, values, name = inner, values[name], below[0]
    kinds = {one.name: one.type if isinstance(one.type, str) else _kind(one.type) for one in fields(schema)}
    key = ".".join(parts[: 2 if name in below else 1])
    if name in values and not OmegaConf.is_missing(values, name):
        return f"{key}={shown(values, name)}: must be {kinds.get(name, 'known')}"
    return f"{key}: missing; must be {kinds.get(name, 'known')}"


def shown(values: Any, name: str) -> str:
    """A value as it was given, unresolved, cut where it is very long."""
    text = str(dict(OmegaConf.to_container(OmegaConf.create(values)))[name])  # type: ignore[arg-type]
    return text if len(text) <= 80 else f"{text[:60]} ... {text[-15:]}"


def _kind(kind: Any) -> str:
    if isinstance(kind, type) and is_dataclass(kind):
        return f"given by its keys: {', '.join(one.name for one in fields(kind))}"
    return kind.__name__ if isinstance(kind, type) and not hasattr(kind, "__args__") else str(kind)


def _check_bounds(key: str, value: Any, bounds: Any, kind: str) -> None:
    if not bounds:
        return
    items, text = value if isinstance(value, list) else [value], str(value)
    given = f"{key}={text if len(text) <= 80 else text[:60] + ' ...'}"
    if len(items) < bounds["min_items"]:
        raise BadInputError(f"{given}: needs at least {bounds['min_items']} items")
    if any(isinstance(item, list | dict) for item in items):
        raise BadInputError(f"{given}: must be {kind}")
    if bounds["unique"] and len(set(items)) < len(items):
        raise BadInputError(f"{given}: each item may stand there once")
    for item in items:
        if bounds["choices"] and item not in bounds["choices"]:
            raise BadInputError(f"{given}: allowed are {', '.join(map(str, bounds['choices']))}")
        if isinstance(item, int | float) and not bounds["low"] <= item <= bounds["high"]:
            raise BadInputError(f"{given}: must be between {bounds['low']:g} and {bounds['high']:g}")
