"""Demonstrations as Minari datasets: HDF5 and JSON in a folder, read without network and without building environments.

A dataset `<id>` is a folder `<id>/data` with `metadata.json` and `main_data.hdf5`. Public ones, such as
"mujoco/hopper/expert-v0", lie under Minari's root: $MINARI_DATASETS_PATH, or ~/.minari/datasets.
"""

import os
import tempfile
from copy import deepcopy
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec
from minari import MinariDataset
from minari import __version__ as minari_version
from minari.data_collector.episode_buffer import EpisodeBuffer
from minari.dataset.minari_dataset import parse_dataset_id
from minari.dataset.minari_storage import METADATA_FILE_NAME, MinariStorage

from imitation.demonstrations._hdf5 import read_episodes
from imitation.demonstrations._reading import MOST_BYTES, MOST_EPISODES, refusing
from imitation.demonstrations.episodes import ARRAYS, DemonstrationError, Demonstrations, Episode
from imitation.demonstrations.task import Task, check_box

SPACES = ("observation_space", "action_space")
COUNTS = ("total_episodes", "total_steps")
MOST_METADATA_BYTES = 2**24


def save_minari(demonstrations: Demonstrations, folder: str | Path) -> None:
    """Write a Minari dataset, whole or not at all.

    Args:
        demonstrations: all arrays keep their type, bit for bit.
        folder: does not exist yet; its name is the dataset's id and ends in a version, as in "particle-oracle-v0".

    Raises:
        ValueError: the folder exists or has no such name, an argument of the environment cannot be written as JSON, or
            there are no rewards.
    """
    folder = Path(folder)
    if folder.exists():
        raise ValueError(f"{folder}: exists already, a dataset is never written over")
    _check_id(folder.name)
    if demonstrations.episodes[0].rewards is None:
        raise ValueError("Minari datasets have rewards, these episodes have none")
    spec = _environment(demonstrations)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".") as aside:
        whole = Path(aside) / folder.name
        whole.mkdir()
        storage = MinariStorage.new(whole / "data", *_spaces(demonstrations), env_spec=spec, data_format="hdf5")
        storage.update_metadata({"dataset_id": folder.name, "minari_version": minari_version})
        storage.update_episodes(
            EpisodeBuffer(**{name: getattr(episode, name) for name in ARRAYS}) for episode in demonstrations.episodes
        )
        whole.rename(folder)


def load_minari(dataset: str | Path) -> Demonstrations:
    """Read a Minari dataset of vectors, as it is: a folder, or the id of one under Minari's root.

    Raises:
        ValueError: one line: there is no such dataset, it cannot be read, or it does not pass the checks.
    """
    task, episodes = read_minari(dataset)
    with refusing(dataset_folder(dataset)):
        return Demonstrations(task.environment, task.low, task.high, episodes, task.arguments, task.observation_dim)


def read_minari(dataset: str | Path, count: int | None = None) -> tuple[Task, list[Episode]]:
    """What a Minari dataset holds, not yet checked: its task, and its episodes or the first `count` of them.

    The folder cannot make this function run code, build an environment, follow links from the HDF5 file to others, or
    read more than 2 GiB or 100000 episodes.

    Raises:
        DemonstrationError: a ValueError of one line: there is no such dataset, or it cannot be read.
    """
    folder = dataset_folder(dataset)
    with refusing(folder, "a Minari dataset"):
        task, announced = _read_metadata(folder / "data")
        wanted = announced["total_episodes"] if count is None else min(count, announced["total_episodes"])
        episodes = read_episodes(folder / "data" / "main_data.hdf5", wanted)
        steps = sum(len(episode) for episode in episodes)
        if wanted == announced["total_episodes"] and steps != announced["total_steps"]:
            raise ValueError(f"{METADATA_FILE_NAME} announces {announced['total_steps']} steps, there are {steps}")
        return task, episodes


def dataset_folder(dataset: str | Path) -> Path:
    """The folder of a Minari dataset: itself, or the id of one under Minari's root.

    Raises:
        DemonstrationError: a ValueError of one line: there is none.
    """
    folder = Path(dataset)
    if not folder.is_dir() and isinstance(dataset, str):
        root = Path(os.environ.get("MINARI_DATASETS_PATH", Path.home() / ".minari" / "datasets"))
        folder = root / dataset
        if not folder.is_dir():
            fetch = f"a public one is fetched by: minari download {dataset}"
            raise DemonstrationError(f"{dataset}: no such folder, and no such dataset in {root}; {fetch}")
    if not (folder / "data" / METADATA_FILE_NAME).is_file():
        raise DemonstrationError(f"{folder}: no Minari dataset, there is no data/{METADATA_FILE_NAME} in it")
    return folder


def _read_metadata(data: Path) -> tuple[Task, dict[str, Any]]:
    if (data / METADATA_FILE_NAME).stat().st_size > MOST_METADATA_BYTES:
        raise ValueError(f"{METADATA_FILE_NAME} has more than {MOST_METADATA_BYTES} bytes")
    metadata = MinariStorage.read_raw_metadata(data)
    # Where a space is missing, Minari would build the environment that the file names.
    for key in ("dataset_id", "data_format", "minari_version", *COUNTS, "env_spec", *SPACES):
        if metadata.get(key) is None:
            raise ValueError(f"{METADATA_FILE_NAME} has no {key}")
    if metadata["data_format"] != "hdf5":
        raise ValueError(f"its format is {metadata['data_format']!r}, only 'hdf5' is read")
    for key, most in zip(COUNTS, (MOST_EPISODES, MOST_BYTES), strict=True):
        if type(metadata[key]) is not int or not 0 <= metadata[key] <= most:
            raise ValueError(f"{METADATA_FILE_NAME} announces {metadata[key]} {key}, allowed are 0 to {most}")
    stored = MinariDataset(data)
    spec, observations, actions = stored.env_spec, *(check_box(name, getattr(stored, name)) for name in SPACES)
    assert isinstance(spec, EnvSpec)
    if ":" in spec.id:
        raise ValueError(f"environment={spec.id!r}: names a module to be imported, which no file may do")
    if spec.additional_wrappers:
        names = ", ".join(str(one.name) for one in spec.additional_wrappers)
        raise ValueError(f"recorded behind wrappers, which may change what is observed, done and rewarded: {names}")
    limit = spec.max_episode_steps
    if not isinstance(spec.kwargs, dict) or not (limit is None or (type(limit) is int and limit > 0)):
        raise ValueError(f"its environment has kwargs={spec.kwargs!r}, max_episode_steps={limit!r}")
    task = Task(spec.id, spec.kwargs, actions.low, actions.high, observations.shape[0], limit)
    return task, metadata


def _check_id(name: str) -> None:
    try:
        parse_dataset_id(name)
    except (ValueError, TypeError):
        raise ValueError(f"{name}: a folder's name is the dataset's id, such as 'particle-oracle-v0'") from None


def _environment(demonstrations: Demonstrations) -> EnvSpec:
    name = demonstrations.environment
    spec = deepcopy(gym.registry[name]) if name in gym.registry else EnvSpec(name)
    spec.kwargs = {**spec.kwargs, **demonstrations.environment_arguments}
    try:
        spec.to_json()
    except (TypeError, ValueError):
        raise ValueError(f"environment_arguments={spec.kwargs}: cannot be written as JSON") from None
    return spec


def _spaces(demonstrations: Demonstrations) -> tuple[gym.spaces.Box, gym.spaces.Box]:
    low, high = demonstrations.low, demonstrations.high
    numbers = demonstrations.episodes[0].observations.dtype
    observations = gym.spaces.Box(-np.inf, np.inf, (demonstrations.observation_dim,), dtype=numbers.type)
    return observations, gym.spaces.Box(low, high, dtype=np.result_type(low, high).type)
