"""Minari folders: what is written is read back, and nothing that is missing, broken or hostile is taken."""

import json
import pickle
import shutil
import socket
from dataclasses import replace

import gymnasium as gym
import h5py
import minari
import numpy as np
import pytest
from episodes import demonstrations, episode, line, same
from hypothesis import given, settings
from hypothesis import strategies as st

from imitation.demonstrations import load_minari, particle, save_minari


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("datasets") / "particle-oracle-v0"
    save_minari(particle(2, range(4)), folder)
    return folder


@pytest.fixture
def copy(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / saved.name)


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*_):
        raise AssertionError("the network was asked for")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def rewrite(folder, **entries):
    """Change entries of the metadata; None takes one out."""
    path = folder / "data" / "metadata.json"
    metadata = json.loads(path.read_text()) | entries
    path.write_text(json.dumps({key: value for key, value in metadata.items() if value is not None}))


def test_a_dataset_is_read_back_bit_for_bit(saved):
    written, read = particle(2, range(4)), load_minari(saved)
    assert all(same(*pair) for pair in zip(written.episodes, read.episodes, strict=True))
    assert (read.environment, read.environment_arguments) == ("Particle-v0", {"dimensions": 2})
    assert read.low.tolist() == [0, 0]
    assert read.high.tolist() == [1, 1]
    assert sorted(path.name for path in saved.parent.iterdir()) == [saved.name]


@given(st.lists(st.integers(1, 9), min_size=1, max_size=4), st.sampled_from([np.float32, np.float64]))
@settings(max_examples=15)
def test_ragged_episodes_and_their_precision_survive(tmp_path_factory, lengths, dtype):
    folder = tmp_path_factory.mktemp("ragged") / "test-v3"
    bound = np.array([0.1, 1.7], dtype) + 1
    made = [episode(steps, seed=seed, dtype=dtype) for seed, steps in enumerate(lengths)]
    save_minari(demonstrations(*made, low=-bound, high=bound), folder)
    read = load_minari(folder)
    assert all(same(*pair) for pair in zip(made, read.episodes, strict=True))
    assert read.high.dtype == dtype
    assert np.array_equal(read.high, bound)


def test_minari_itself_reads_the_dataset_and_makes_the_environment(saved, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(saved.parent))
    dataset = minari.load_dataset(saved.name)
    assert dataset.total_episodes == 4
    assert np.array_equal(dataset[3].actions, particle(2, [3]).episodes[0].actions)
    assert list(minari.list_local_datasets()) == [saved.name]
    env = dataset.recover_environment()
    assert env.reset(seed=0)[0].shape == (8,)


def test_an_id_is_looked_up_under_minaris_root(saved, tmp_path, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    shutil.copytree(saved, tmp_path / "made" / "here" / "oracle-v0")
    assert len(load_minari("made/here/oracle-v0")) == 4
    with pytest.raises(ValueError, match=r"^made/here/oracle-v1: no such folder, and no such dataset in ") as raised:
        load_minari("made/here/oracle-v1")
    assert str(tmp_path) in line(raised)


def test_looking_for_a_dataset_leaves_no_trace(tmp_path, monkeypatch):
    monkeypatch.delenv("MINARI_DATASETS_PATH", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ValueError, match="no such dataset in"):
        load_minari("mujoco/hopper/expert-v0")
    assert not list(tmp_path.iterdir())


def test_a_folder_without_a_dataset_is_refused(tmp_path):
    for folder in (tmp_path, str(tmp_path), tmp_path / "not there"):
        with pytest.raises(ValueError, match=r"no Minari dataset, there is no data/metadata.json in it$") as raised:
            load_minari(folder)
        line(raised)


@pytest.mark.parametrize("keep", [0.0, 0.1, 0.5, 0.99])
def test_truncated_data_is_refused(copy, keep):
    path = copy / "data" / "main_data.hdf5"
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])
    with pytest.raises(ValueError, match=f"^{copy}: cannot be read as a Minari dataset: ") as raised:
        load_minari(copy)
    line(raised)


@pytest.mark.parametrize("content", [b"no HDF5 at all", pickle.dumps([1, 2]), b"\x89HDF\r\n\x1a\n" + bytes(500)])
@pytest.mark.parametrize("name", ["main_data.hdf5", "metadata.json"])
def test_other_files_are_refused(copy, name, content):
    (copy / "data" / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"^{copy}: cannot be read as a Minari dataset: ") as raised:
        load_minari(copy)
    line(raised)


def test_missing_data_is_refused(copy):
    (copy / "data" / "main_data.hdf5").unlink()
    with pytest.raises(ValueError, match="cannot be read as a Minari dataset: No data found"):
        load_minari(copy)


@pytest.mark.parametrize("name", ["episode_2", "episode_2/actions", "episode_2/truncations"])
def test_missing_arrays_are_refused(copy, name):
    with h5py.File(copy / "data" / "main_data.hdf5", "a") as file:
        del file[name]
    with pytest.raises(ValueError, match=f"cannot be read as a Minari dataset: .*{name.split('/')[-1]}"):
        load_minari(copy)


@pytest.mark.parametrize(
    ("name", "place", "value", "message"),
    [
        ("actions", (7, 1), 1.5, "episode 2: step 7: action 1 is 1.5, outside [0.0, 1.0]"),
        ("observations", (50, 3), np.nan, "episode 2: step 50: observation 3 is nan, must be finite"),
        ("terminations", 4, True, "episode 2: step 4: the episode ends there, but has 50 steps"),
    ],
)
def test_bad_numbers_in_a_file_are_named(copy, name, place, value, message):
    with h5py.File(copy / "data" / "main_data.hdf5", "a") as file:
        file["episode_2"][name][place] = value
    with pytest.raises(ValueError, match="^" + f"{copy}: {message}".replace("[", r"\[") + "$"):
        load_minari(copy)


def test_arrays_that_do_not_fit_their_space_are_refused(copy):
    with h5py.File(copy / "data" / "main_data.hdf5", "a") as file:
        del file["episode_0/observations"]
        file["episode_0/observations"] = np.zeros((51, 7))
    with pytest.raises(ValueError, match=r"episode 0: observations must be a numpy array \(51, 8\)"):
        load_minari(copy)


def test_python_objects_in_a_file_are_never_loaded(copy):
    with h5py.File(copy / "data" / "main_data.hdf5", "a") as file:
        del file["episode_0/rewards"]
        file["episode_0/rewards"] = np.frombuffer(pickle.dumps("x"), np.void(1).dtype)
    with pytest.raises(ValueError, match=r"episode 0: rewards must be a numpy array \(50,\) of floating-point numbers"):
        load_minari(copy)


@pytest.mark.parametrize("key", ["data_format", "env_spec", "action_space", "observation_space", "total_steps"])
def test_missing_metadata_is_refused_before_anything_is_built(copy, monkeypatch, key):
    monkeypatch.setattr(gym, "make", lambda *_: pytest.fail("an environment was built"))
    rewrite(copy, **{key: None})
    with pytest.raises(ValueError, match=f"cannot be read as a Minari dataset: metadata.json has no {key}$"):
        load_minari(copy)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"data_format": "arrow"}, "its format is 'arrow', only 'hdf5' is read"),
        ({"total_steps": 199}, "metadata.json announces 199 steps, there are 200"),
        ({"total_episodes": 3}, "metadata.json announces 200 steps, there are 150"),
        ({"total_episodes": 5}, "episode_4"),
        ({"minari_version": "9.0.0"}, "9.0.0"),
        ({"env_spec": "{}"}, "."),
        ({"action_space": '{"type": "Discrete", "dtype": "int64", "start": 0, "n": 3}'}, "only vectors are read"),
        ({"observation_space": '{"type": "unheard of"}'}, "."),
    ],
)
def test_other_metadata_is_refused(copy, entries, message):
    rewrite(copy, **entries)
    with pytest.raises(ValueError, match=f"^{copy}: cannot be read as a Minari dataset: .*{message}") as raised:
        load_minari(copy)
    line(raised)


def test_nothing_is_written_over(saved):
    before = (saved / "data" / "main_data.hdf5").read_bytes()
    with pytest.raises(ValueError, match=r"exists already, a dataset is never written over$"):
        save_minari(particle(2, [0]), saved)
    assert (saved / "data" / "main_data.hdf5").read_bytes() == before


@pytest.mark.parametrize("name", ["oracle", "v0", "two words-v0"])
def test_a_folders_name_must_be_an_id(tmp_path, name):
    with pytest.raises(ValueError, match=f"^{name}: a folder's name is the dataset's id, such as "):
        save_minari(particle(1, [0]), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_failed_write_leaves_nothing(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("minari.dataset._storages.hdf5_storage.HDF5Storage.update_episodes", fail)
    with pytest.raises(OSError, match="disk full"):
        save_minari(particle(1, [0]), tmp_path / "oracle-v0")
    assert not list(tmp_path.iterdir())


def test_arguments_that_are_no_json_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"cannot be written as JSON$"):
        save_minari(replace(particle(1, [0]), environment_arguments={"a": object()}), tmp_path / "oracle-v0")


def test_an_environment_that_is_not_installed_can_be_named(tmp_path):
    save_minari(demonstrations(episode(3), environment="Elsewhere-v7"), tmp_path / "elsewhere-v0")
    assert load_minari(tmp_path / "elsewhere-v0").environment == "Elsewhere-v7"
