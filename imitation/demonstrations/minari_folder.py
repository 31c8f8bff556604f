"""Demonstrations as Minari datasets: HDF5 and JSON in a folder, read without network and without building environments.

A dataset `<id>` is a folder `<id>/data` with `metadata.json` and `main_data.hdf5`. Public ones, such as
"mujoco/hopper/expert-v0", lie under Minari's root: $MINARI_DATASETS_PATH, or ~/.minari/datasets.
"""

import os
import tempfile
from copy import deepcopy
from pathlib import Path

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec
from minari import MinariDataset
from minari import __version__ as minari_version
from minari.data_collector.episode_buffer import EpisodeBuffer
from minari.dataset.minari_dataset import parse_dataset_id
from minari.dataset.minari_storage import METADATA_FILE_NAME, MinariStorage

from imitation.demonstrations.episodes import Demonstrations, Episode

ARRAYS = ("observations", "actions", "rewards", "terminations", "truncations")
SPACES = ("observation_space", "action_space")


def save_minari(demonstrations: Demonstrations, folder: str | Path) -> None:
    """Write a Minari dataset, whole or not at all.

    Args:
        demonstrations: all arrays keep their type, bit for bit.
        folder: does not exist yet; its name is the dataset's id and ends in a version, as in "particle-oracle-v0".

    Raises:
        ValueError: the folder exists or has no such name, or an argument of the environment cannot be written as JSON.
    """
    folder = Path(folder)
    if folder.exists():
        raise ValueError(f"{folder}: exists already, a dataset is never written over")
    _check_id(folder.name)
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
    """Read a Minari dataset of vectors: a folder, or the id of one under Minari's root.

    Raises:
        ValueError: one line: there is no such dataset, it cannot be read, or it does not pass the checks.
    """
    folder = _find(dataset)
    try:
        spec, observations, actions, episodes = _read(folder / "data")
    except Exception as error:  # h5py, JSON and Minari have many names for a file that is not as it should be
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{folder}: cannot be read as a Minari dataset: {reason}") from error
    try:
        return Demonstrations(spec.id, actions.low, actions.high, episodes, spec.kwargs, observations.shape[0])
    except ValueError as error:
        raise ValueError(f"{folder}: {error}") from None


def _find(dataset: str | Path) -> Path:
    folder = Path(dataset)
    if not folder.is_dir() and isinstance(dataset, str):
        root = Path(os.environ.get("MINARI_DATASETS_PATH", Path.home() / ".minari" / "datasets"))
        folder = root / dataset
        if not folder.is_dir():
            raise ValueError(f"{dataset}: no such folder, and no such dataset in {root}")
    if not (folder / "data" / METADATA_FILE_NAME).is_file():
        raise ValueError(f"{folder}: no Minari dataset, there is no data/{METADATA_FILE_NAME} in it")
    return folder


def _read(data: Path) -> tuple[EnvSpec, gym.spaces.Box, gym.spaces.Box, list[Episode]]:
    metadata = MinariStorage.read_raw_metadata(data)
    # Where a space is missing, Minari would build the environment that the file names.
    for key in ("dataset_id", "data_format", "minari_version", "total_steps", "env_spec", *SPACES):
        if metadata.get(key) is None:
            raise ValueError(f"{METADATA_FILE_NAME} has no {key}")
    if metadata["data_format"] != "hdf5":
        raise ValueError(f"its format is {metadata['data_format']!r}, only 'hdf5' is read")
    stored = MinariDataset(data)
    observations, actions = (_vectors(name, getattr(stored, name)) for name in SPACES)
    episodes = [Episode(*(getattr(one, name) for name in ARRAYS)) for one in stored]
    steps = sum(len(episode) for episode in episodes)
    if steps != stored.total_steps:
        raise ValueError(f"{METADATA_FILE_NAME} announces {stored.total_steps} steps, there are {steps}")
    assert isinstance(stored.env_spec, EnvSpec)
    return stored.env_spec, observations, actions, episodes


def _vectors(name: str, space: gym.Space) -> gym.spaces.Box:
    if not isinstance(space, gym.spaces.Box) or len(space.shape) != 1:
        raise ValueError(f"{name} is {space}, only vectors are read")
    return space


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
