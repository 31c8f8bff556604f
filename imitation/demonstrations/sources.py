"""Demonstrations from wherever they come: a kept expert, a Minari dataset or folder, or an npz file of one's own."""

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from imitation.demonstrations._reading import refusing
from imitation.demonstrations.canonical import Loaded, canonical
from imitation.demonstrations.episodes import DemonstrationError, Demonstrations, Episode
from imitation.demonstrations.minari_folder import read_minari
from imitation.demonstrations.npz_file import read_npz
from imitation.demonstrations.task import Task, constructor_arguments, make, task_of

EXPERT = "expert"


def load_demonstrations(
    source: str | Path,
    environment: str | None = None,
    options: Mapping[str, Any] | None = None,
    episodes: int | None = None,
    seed: int = 0,
) -> Loaded:
    """Read, check and bring into the library's form; nothing is fetched from a network.

    Args:
        source: "expert" for the policy that this library keeps for the environment, rolled out from `seed`; an npz
            file (laid out as `imitation.demonstrations.npz_file` says); a Minari folder; or the id of a Minari dataset
            such as "mujoco/hopper/expert-v0".
        environment: what the demonstrations must be of. An npz file needs it. A Minari dataset names its own, which is
            not built here, but whoever builds it later runs what the file asks for: give it where that is not trusted.
        options: of the environment, passed to `gymnasium.make`; a Minari dataset must have been recorded with the same,
            but for rendering and the time limit, and never behind wrappers.
        episodes: take the first so many; all where it is None, which an expert has no use for.
        seed: of an expert's episodes.

    Raises:
        DemonstrationError: a ValueError with one line per fault that begins with the source.
    """
    if source == EXPERT:
        return Loaded(_of_expert(environment, options, episodes, seed), clipped=0.0, relabelled=0)
    task, found = read_source(source, environment, options, episodes)
    if task is None:
        raise DemonstrationError(f"{source}: an npz file does not name its environment, so it must be given")
    with refusing(source):
        return canonical(task, found)


def _of_expert(
    environment: str | None, options: Mapping[str, Any] | None, episodes: int | None, seed: int
) -> Demonstrations:
    from imitation.control import experts  # which itself needs demonstrations

    if environment is None or episodes is None:
        raise DemonstrationError("source=expert: the environment and the number of episodes must be given")
    try:
        kept = experts.load(environment).card["options"]
        if options is not None and dict(options) != kept:
            raise DemonstrationError(f"source=expert: the expert of {environment} was trained with {kept}")
        return experts.demonstrations(environment, episodes, seed)
    except ValueError as error:
        raise DemonstrationError(str(error)) from None


def read_source(
    source: str | Path,
    environment: str | None = None,
    options: Mapping[str, Any] | None = None,
    episodes: int | None = None,
) -> tuple[Task | None, list[Episode]]:
    """What `load_demonstrations` reads, as it is recorded; the task is None where nobody names an environment."""
    if episodes is not None and episodes < 1:
        raise DemonstrationError(f"episodes={episodes}: must be at least 1")
    task = None if environment is None else _wanted(environment, options)
    if _is_file(source):
        found = read_npz(source)
    else:
        recorded, found = read_minari(source, episodes)
        with refusing(source):
            task = _agreed(recorded, task)
    if episodes is not None and len(found) < episodes:
        raise DemonstrationError(f"{source}: {episodes} episodes asked for, there are {len(found)}")
    return task, found[:episodes]


def _is_file(source: str | Path) -> bool:
    try:
        return Path(source).is_file() or Path(source).suffix == ".npz"
    except OSError as error:
        raise DemonstrationError(f"{source}: {error.strerror}") from error


def _wanted(environment: str, options: Mapping[str, Any] | None) -> Task:
    with closing(make(environment, options)) as env:
        return task_of(env, options)


def _agreed(recorded: Task, wanted: Task | None) -> Task:
    """The task of a dataset, whose recorder's bounds its actions obey, with the time limit of the one asked for.

    Raises:
        DemonstrationError: one line: the two have other sizes or other arguments of their constructor.
    """
    if wanted is None:
        return recorded
    for name in ("environment", "observation_dim"):
        if getattr(recorded, name) != getattr(wanted, name):
            raise DemonstrationError(f"{name} is {getattr(recorded, name)}, must be {getattr(wanted, name)}")
    if len(recorded.low) != len(wanted.low):
        raise DemonstrationError(f"actions have {len(recorded.low)} entries, must have {len(wanted.low)}")
    found, needed = constructor_arguments(recorded), constructor_arguments(wanted)
    for name in sorted(found.keys() | needed.keys()):
        if name not in found or name not in needed or found[name] != needed[name]:
            told = [repr(each[name]) if name in each else "not set" for each in (found, needed)]
            raise DemonstrationError(f"recorded with {name} {told[0]}, wanted is {told[1]}")
    return wanted._replace(low=recorded.low, high=recorded.high)
