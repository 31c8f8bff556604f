"""Minari datasets as a source: what is found, and what hostile or broken ones do."""

import json
import shutil
import tracemalloc
from dataclasses import replace

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from untrusted import FUZZ, PENDULUM, flat, refused, taken_or_refused

from imitation.demonstrations import (
    load_demonstrations,
    load_minari,
    save_minari,
)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    root = tmp_path_factory.mktemp("minari")
    np.savez(root / "file.npz", **flat())
    made = load_demonstrations(root / "file.npz", PENDULUM).demonstrations
    save_minari(replace(made, low=-3 * made.high, high=3 * made.high, expected_observation_dim=None), root / "made-v0")
    return root / "made-v0"


@pytest.fixture
def copy(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "test" / saved.name)


def test_a_dataset_is_found_by_folder_and_by_id(copy, tmp_path, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    stored = load_minari(copy)
    for source in (copy, str(copy), "test/made-v0"):
        for environment in (None, PENDULUM):
            loaded = load_demonstrations(source, environment).demonstrations
            assert (loaded.environment, len(loaded), loaded.high.tolist()) == (PENDULUM, 3, [1])
            for one, other in zip(loaded.episodes, stored.episodes, strict=True):
                assert np.allclose(one.actions * 3, other.actions, rtol=1e-15)
                assert np.array_equal(one.observations, other.observations)
    assert [len(each) for each in load_demonstrations(copy, None, None, 2).demonstrations.episodes] == [4, 1]
    assert refused(load_demonstrations, copy, None, None, 9) == (f"{copy}: 9 episodes asked for, there are 3",)


def test_what_is_not_there_names_the_command_that_fetches_it(tmp_path, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    (fault,) = refused(load_demonstrations, "mujoco/hopper/expert-v0", "Hopper-v5")
    assert fault.endswith(
        f"no such dataset in {tmp_path}; a public one is fetched by: minari download mujoco/hopper/expert-v0"
    )


def test_a_dataset_of_another_environment_is_refused(copy):
    assert refused(load_demonstrations, copy, "Hopper-v5") == (f"{copy}: environment is {PENDULUM}, must be Hopper-v5",)


@pytest.mark.parametrize(
    ("recorded", "options", "told"),
    [
        ({"reset_noise_scale": 0.5}, None, "recorded with reset_noise_scale 0.5, wanted is 0.01"),
        ({}, {"reset_noise_scale": 0.5}, "recorded with reset_noise_scale 0.01, wanted is 0.5"),
        ({"unheard_of": 1}, None, "recorded with unheard_of 1, wanted is not set"),
    ],
)
def test_a_dataset_recorded_with_other_options_is_refused(copy, recorded, options, told):
    recorded_with(copy, recorded)
    assert refused(load_demonstrations, copy, PENDULUM, options) == (f"{copy}: {told}",)


def test_a_dataset_recorded_behind_wrappers_is_refused(copy):
    spec = json.loads(json.loads((copy / "data" / "metadata.json").read_text())["env_spec"])
    wrapper = {"name": "TransformReward", "entry_point": "gymnasium.wrappers:TransformReward", "kwargs": {}}
    rewrite(copy, env_spec=json.dumps(spec | {"additional_wrappers": [wrapper]}))
    assert "recorded behind wrappers" in refused(load_demonstrations, copy, PENDULUM)[0]
    assert "TransformReward" in refused(load_demonstrations, copy)[0]


def test_a_dataset_serves_with_another_time_limit(copy, tmp_path):
    loaded = load_demonstrations(copy, PENDULUM, {"max_episode_steps": 500}).demonstrations
    assert loaded.environment_arguments == {"max_episode_steps": 500}
    save_minari(loaded, tmp_path / "again-v0")
    for options in (None, {"max_episode_steps": 300}):
        assert len(load_demonstrations(tmp_path / "again-v0", PENDULUM, options).demonstrations) == 3


def test_options_that_are_the_defaults_or_for_pictures_alone_are_no_other_options(copy):
    recorded_with(copy, {"reset_noise_scale": 0.01, "render_mode": "rgb_array", "width": 64})
    assert len(load_demonstrations(copy, PENDULUM, {"frame_skip": 2}).demonstrations) == 3


def recorded_with(folder, options):
    spec = json.loads(json.loads((folder / "data" / "metadata.json").read_text())["env_spec"])
    rewrite(folder, env_spec=json.dumps(spec | {"kwargs": options}))


def test_actions_outside_of_a_datasets_box_are_counted_on_loading_and_refused_on_reading(copy):
    with h5py.File(copy / "data" / "main_data.hdf5", "a") as file:
        file["episode_2"]["actions"][1, 0] = 3.5
    assert load_demonstrations(copy).clipped == 1 / 11
    assert "outside [-3.0, 3.0]" in refused(load_minari, copy)[0]


def rewrite(folder, **entries):
    path = folder / "data" / "metadata.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


def test_a_file_may_not_name_a_module_to_import(copy):
    metadata = json.loads((copy / "data" / "metadata.json").read_text())
    spec = json.loads(metadata["env_spec"]) | {"id": "pytest:Hopper-v5"}
    rewrite(copy, env_spec=json.dumps(spec))
    assert "names a module to be imported, which no file may do" in refused(load_demonstrations, copy)[0]


@pytest.mark.parametrize("count", [-1, 10**15, 1.5, "3", True, None])
@pytest.mark.parametrize("key", ["total_episodes", "total_steps"])
def test_counts_that_cannot_be_are_refused(copy, key, count):
    rewrite(copy, **{key: count})
    assert f"metadata.json {'has no' if count is None else 'announces'}" in refused(load_demonstrations, copy)[0]


def test_metadata_without_end_is_refused(copy):
    path = copy / "data" / "metadata.json"
    path.write_text(path.read_text() + " " * 2**24)
    assert "metadata.json has more than 16777216 bytes" in refused(load_demonstrations, copy)[0]
    path.write_text("[" * 100000)
    refused(load_demonstrations, copy)


def huge(file):
    file.create_dataset("episode_1/rewards", (2**40,), "f8", chunks=(1024,))


def huge_chunk(file):
    file.create_dataset("episode_1/rewards", (1,), "f8", chunks=(2**28 + 1,), maxshape=(None,), compression="gzip")


def unwritten(file):
    file.create_dataset("episode_1/rewards", (1,), "f8", chunks=(1,))


def unwritten_chunk(file):
    file.create_dataset("episode_1/rewards", (9,), "f8", chunks=(2,), fillvalue=1)[:7] = 2


def unwritten_block(file):
    file.create_dataset("episode_1/rewards", (1,), "f8")


def elsewhere(file):
    file["episode_1/rewards"] = h5py.ExternalLink("other.hdf5", "/rewards")


def soft(file):
    file["episode_1/rewards"] = h5py.SoftLink("/episode_1/terminations")


def raw(file):
    file.create_dataset("episode_1/rewards", (1,), "f8", external=[("/etc/hostname", 0, 8)])


def virtual(file):
    layout = h5py.VirtualLayout((1,), "f8")
    layout[:] = h5py.VirtualSource("other.hdf5", "rewards", (1,))
    file.create_virtual_dataset("episode_1/rewards", layout)


def objects(file):
    file.create_dataset("episode_1/rewards", (1,), h5py.string_dtype())


def group(file):
    file.create_group("episode_1/rewards")


def empty(file):
    file["episode_1/rewards"] = h5py.Empty("f8")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (huge, "its arrays take 8.19e+03 GiB, at most 2 GiB are read"),
        (huge_chunk, "its arrays take 2 GiB, at most 2 GiB are read"),
        (unwritten, "/episode_1/rewards was not written to its end"),
        (unwritten_chunk, "/episode_1/rewards was not written to its end"),
        (unwritten_block, "/episode_1/rewards was not written to its end"),
        (elsewhere, "/episode_1 has rewards only as a link, which is not followed"),
        (soft, "/episode_1 has rewards only as a link, which is not followed"),
        (raw, "/episode_1/rewards lies in another file, which is not read"),
        (virtual, "/episode_1/rewards lies in another file, which is not read"),
        (objects, "/episode_1/rewards holds objects, not numbers"),
        (group, "/episode_1/rewards is no array"),
        (empty, "/episode_1/rewards is no array"),
    ],
)
def test_arrays_that_are_not_what_they_seem_are_refused(copy, change, message):
    with h5py.File(copy / "data" / "main_data.hdf5", "a") as file:
        del file["episode_1/rewards"]
        change(file)
    tracemalloc.start()
    (fault,) = refused(load_demonstrations, copy)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert message in fault
    assert peak < 2**24


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["", "inf", "float64", "object", "a:B-v0"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["type", "id"]), inner, max_size=2),
    max_leaves=4,
)


@given(st.data())
@settings(FUZZ, max_examples=80)
def test_any_metadata_is_read_or_refused(saved, tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("metadata") / saved.name
    shutil.copytree(saved, folder)
    metadata = json.loads((folder / "data" / "metadata.json").read_text())
    key = data.draw(st.sampled_from(sorted(metadata)))
    if key in ("env_spec", "action_space", "observation_space"):
        inner = json.loads(metadata[key])
        inner[data.draw(st.sampled_from(sorted(inner)))] = data.draw(JSON)
        metadata[key] = json.dumps(inner)
    else:
        metadata[key] = data.draw(JSON)
    rewrite(folder, **metadata)
    for environment in (None, PENDULUM):
        taken_or_refused(load_demonstrations, folder, environment)


@pytest.mark.parametrize(("low", "high"), [([-np.inf], [np.inf]), ([1.0], [1.0]), ([np.nan], [1.0]), ([0.0], [np.inf])])
def test_bounds_that_bound_nothing_are_refused(copy, low, high):
    space = {"type": "Box", "dtype": "float64", "shape": [1], "low": low, "high": high}
    rewrite(copy, action_space=json.dumps(space))
    refused(load_demonstrations, copy)


def test_names_that_no_file_can_have_are_refused():
    for name in ("x" * 5000, "a\0b", "", "."):
        refused(load_demonstrations, name, PENDULUM)


@given(st.data())
@settings(FUZZ, max_examples=60)
def test_changed_datasets_never_crash(saved, tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("fuzzed") / saved.name
    shutil.copytree(saved, folder)
    path = folder / "data" / data.draw(st.sampled_from(["main_data.hdf5", "metadata.json"]))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.sampled_from([None, len(content) // 2, len(content) - 1]))])
    taken_or_refused(load_demonstrations, folder)
