"""Demonstrations from npz files: what is read, and what hostile or broken files do."""

import io
import pickle
import struct
import tracemalloc
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as numbers
from untrusted import FUZZ, PENDULUM, flat, refused, taken_or_refused

from imitation.demonstrations import (
    load_demonstrations,
    save_minari,
)
from imitation.demonstrations._reading import MOST_BYTES
from imitation.demonstrations.npz_file import LAYOUT, read_npz


@pytest.fixture
def write(tmp_path):
    def to_file(**arrays):
        np.savez_compressed(tmp_path / "file.npz", **arrays)
        return tmp_path / "file.npz"

    return to_file


# --- npz: what is read ------------------------------------------------------------------------------------------------


@given(
    st.lists(st.integers(1, 7), min_size=1, max_size=5),
    st.sampled_from(["<f4", "<f8", ">f4", ">f8"]),
    st.sampled_from(["i1", "<u2", ">i4", "<i8", "<u8"]),
    st.booleans(),
)
@FUZZ
def test_episodes_are_cut_where_a_plain_loop_cuts_them(write, lengths, floats, integers, rewarded):
    arrays = flat(lengths)
    for name in ("observations", "actions", "rewards"):
        arrays[name] = arrays[name].astype(floats)
    arrays["lengths"] = arrays["lengths"].astype(integers)
    if not rewarded:
        del arrays["rewards"]
    episodes, step = read_npz(write(**arrays)), 0
    for number, (length, episode) in enumerate(zip(lengths, episodes, strict=True)):
        assert np.array_equal(episode.actions, arrays["actions"][step : step + length])
        # One more observation than actions in each episode before.
        assert np.array_equal(episode.observations, arrays["observations"][step + number : step + number + length + 1])
        assert (episode.rewards is None) == (not rewarded)
        if rewarded:
            assert np.array_equal(episode.rewards, arrays["rewards"][step : step + length])
        assert episode.actions.dtype == np.dtype(floats[1:])
        last = np.arange(length) == length - 1
        assert np.array_equal(episode.terminations, last & arrays["terminations"][number])
        assert np.array_equal(episode.truncations, last & ~arrays["terminations"][number])
        step += length


def test_a_file_is_loaded_for_an_environment(write):
    arrays = flat()
    loaded = load_demonstrations(write(**arrays), PENDULUM)
    assert loaded.demonstrations.environment == PENDULUM
    assert loaded.demonstrations.high.tolist() == [1]
    assert (loaded.clipped, loaded.relabelled, loaded.demonstrations.steps) == (0, 0, 11)
    actions = np.concatenate([episode.actions for episode in loaded.demonstrations.episodes])
    assert np.allclose(actions * 3, arrays["actions"], rtol=1e-15)
    expected = [part.sum() for part in np.split(arrays["rewards"], [4, 5])]
    assert np.allclose(loaded.demonstrations.returns, expected, rtol=1e-15)


def test_the_first_episodes_are_those_of_the_file(write):
    path = write(**flat())
    two = load_demonstrations(path, PENDULUM, None, 2).demonstrations
    assert [len(each) for each in two.episodes] == [4, 1]
    assert refused(load_demonstrations, path, PENDULUM, None, 4) == (f"{path}: 4 episodes asked for, there are 3",)
    assert refused(load_demonstrations, path, PENDULUM, None, 0) == ("episodes=0: must be at least 1",)


def test_without_rewards_there_are_no_returns_and_no_minari_dataset(write, tmp_path):
    loaded = load_demonstrations(write(**flat(rewards=None)), PENDULUM).demonstrations
    with pytest.raises(ValueError, match=r"^the episodes have no rewards$"):
        _ = loaded.returns
    with pytest.raises(ValueError, match=r"these episodes have none$"):
        save_minari(loaded, tmp_path / "pendulum-v0")
    mixed = (loaded.episodes[0], replace(loaded.episodes[1], rewards=np.zeros(1)))
    with pytest.raises(ValueError, match=r"^episode 1: rewards must be given in every episode or in none$"):
        replace(loaded, episodes=mixed, expected_observation_dim=None)


# --- npz: what is refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"actions": None}, "actions is missing, it must be float32 or float64 of two axes"),
        ({"reward": np.zeros(3)}, "'reward' does not belong there"),
        ({"actions": np.zeros(11)}, "actions must be float32 or float64 of two axes, is float64 of shape (11,)"),
        ({"actions": np.zeros((11, 1), int)}, "actions must be float32 or float64 of two axes, is int64"),
        ({"rewards": np.zeros(11, np.float16)}, "rewards must be float32 or float64 of one axis, is float16"),
        ({"observations": np.zeros((14, 4), complex)}, "observations must be float32 or float64 of two axes, is compl"),
        ({"terminations": np.zeros(3)}, "terminations must be booleans of one axis, is float64 of shape (3,)"),
        ({"lengths": np.array([4.0, 1, 6])}, "lengths must be integers of one axis, is float64 of shape (3,)"),
        (
            {"observations": np.zeros((11, 4))},
            "observations has 11 rows, with 3 lengths that sum to 11 it must have 14",
        ),
        ({"lengths": np.array([4, 1, 5])}, "observations has 14 rows, with 3 lengths that sum to 10 it must have 13"),
        ({"lengths": np.array([4, -1, 8])}, "episode 1: its length is -1, must be in [1, 11], the number of actions"),
        ({"lengths": np.array([11, 0, 0])}, "episode 1: its length is 0, must be in [1, 11]"),
        ({"lengths": np.array([4, 1, 2**62])}, f"episode 2: its length is {2**62}, must be in [1, 11]"),
        ({"lengths": np.array([2**64 - 1], np.uint64)}, f"episode 0: its length is {2**64 - 1}, must be in [1, 11]"),
        ({"lengths": np.zeros(0, int)}, "lengths has 0 entries, with 11 actions must be 1 to 11"),
        ({"lengths": np.ones(12, int)}, "lengths has 12 entries, with 11 actions must be 1 to 11"),
        ({"rewards": np.zeros(14)}, "rewards has 14 rows, with 3 lengths that sum to 11 it must have 11"),
        (
            {"terminations": np.zeros(11, bool)},
            "terminations has 11 rows, with 3 lengths that sum to 11 it must have 3",
        ),
        ({"actions": np.zeros((0, 1))}, "actions has no rows"),
        ({"actions": np.zeros((11, 0))}, "actions has rows of no entry"),
    ],
)
def test_a_wrong_layout_is_named(write, changes, message):
    path = write(**flat(**changes))
    assert refused(read_npz, path)[0].startswith(f"{path}: {message}")


def test_every_fault_of_a_layout_has_its_line(write):
    path = write(observations=np.zeros(3), lengths=np.zeros(3, object), extra=np.zeros(2))
    assert [fault.removeprefix(f"{path}: ") for fault in refused(read_npz, path)] == [
        "actions is missing, it must be float32 or float64 of two axes",
        "terminations is missing, it must be booleans of one axis",
        "'extra' does not belong there",
        "observations must be float32 or float64 of two axes, is float64 of shape (3,)",
        "lengths must be integers of one axis, is object of shape (3,)",
    ]


def test_every_faulty_episode_has_its_line(write):
    arrays = flat()
    arrays["actions"][2, 0], arrays["observations"][-1, 3] = np.inf, np.nan
    path = write(**arrays)
    assert refused(load_demonstrations, path, PENDULUM) == (
        f"{path}: episode 0: step 2: action 0 is inf, must be finite",
        f"{path}: episode 2: step 6: observation 3 is nan, must be finite",
    )


@pytest.mark.parametrize(
    ("environment", "options", "message"),
    [
        ("Hopper-v5", None, "episode 0: actions must be a numpy array (4, 3) of floating-point numbers, is float64 of"),
        ("InvertedDoublePendulum-v5", None, "episode 0: observations must be a numpy array (5, 9) of"),
    ],
)
def test_another_environment_is_noticed(write, environment, options, message):
    path = write(**flat())
    assert refused(load_demonstrations, path, environment, options)[0].startswith(f"{path}: {message}")


@pytest.mark.parametrize(
    ("environment", "options", "message"),
    [
        ("Nowhere-v5", None, "environment='Nowhere-v5': cannot be built: "),
        ("not an id", None, "environment='not an id': cannot be built: "),
        (PENDULUM, {"gravity": 3}, f"environment='{PENDULUM}' with {{'gravity': 3}}: cannot be built: "),
        ("CartPole-v1", None, "environment='CartPole-v1': action_space is Discrete(2), only vectors are read"),
    ],
)
def test_an_environment_that_cannot_be_used_is_refused(write, environment, options, message):
    assert refused(load_demonstrations, write(**flat()), environment, options)[0].startswith(message)


def test_an_environment_is_needed(write):
    path = write(**flat())
    assert refused(load_demonstrations, path) == (
        f"{path}: an npz file does not name its environment, so it must be given",
    )


# --- npz: hostile and broken files ------------------------------------------------------------------------------------


class Bomb:
    """Whoever unpickles it fails the test."""

    def __reduce__(self):
        return pytest.fail, ("code of the file was run",)


def npy(header, content=b"", version=(1, 0)):
    header = header.encode("latin1")
    return (
        b"\x93NUMPY" + bytes(version) + struct.pack("<H" if version == (1, 0) else "<I", len(header)) + header + content
    )


def with_member(path, name, content, method=zipfile.ZIP_DEFLATED):
    """A good file, with other bytes for one of its arrays."""
    with zipfile.ZipFile(path, "w", method) as archive:
        for key, array in flat().items():
            buffer = io.BytesIO()
            np.save(buffer, array)
            archive.writestr(f"{key}.npy", content if key == name else buffer.getvalue())
    return path


@pytest.mark.parametrize("name", LAYOUT)
def test_pickled_objects_are_refused_unopened(write, tmp_path, name):
    objects = np.array([Bomb()] * 3, dtype=object)
    path = write(**flat(**{name: objects}))
    assert f"{name} must be" in refused(read_npz, path)[0]
    # A header that lies about what follows.
    header = "{'descr': '<f8', 'fortran_order': False, 'shape': (11, 1), }\n"
    refused(read_npz, with_member(tmp_path / "file.npz", name, npy(header, pickle.dumps(Bomb()))))


@pytest.mark.parametrize("content", [pickle.dumps(Bomb()), b"", b"text", b"PK\x05\x06" + bytes(18), b"PK\x03\x04" * 9])
def test_other_files_are_refused(tmp_path, content):
    for name in ("file.npz", "file.pkl"):
        path = tmp_path / name
        path.write_bytes(content)
        refused(load_demonstrations, path, PENDULUM)
    assert "No such file" in refused(read_npz, tmp_path / "none.npz")[0]
    np.save(tmp_path / "single.npy", np.zeros(3))
    assert refused(read_npz, tmp_path / "single.npy")[0].endswith(
        "cannot be read as an npz file: File is not a zip file"
    )


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000, 1000), }",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (0, 1000000000000000000000), }",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (-11, -1), }",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (True, 1), }",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (11L, 1), }",
        "{'descr': ('<f8', (1000000000,)), 'fortran_order': False, 'shape': (11, 1), }",
        "{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (11, 1), }",
        "{'descr': '|O', 'fortran_order': False, 'shape': (11, 1), }",
        "{'descr': 'nothing', 'fortran_order': False, 'shape': (11, 1), }",
        "{'descr': __import__('pytest').fail('run'), 'fortran_order': False, 'shape': (11, 1), }",
        "(" * 5000,
        "{'a': " * 1000,
        " " * 60000,
        "",
    ],
)
@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0), (9, 9)])
def test_headers_that_lie_are_refused_in_little_memory(tmp_path, header, version):
    path = with_member(tmp_path / "file.npz", "actions", npy(header + "\n", bytes(88), version))
    tracemalloc.start()
    refused(read_npz, path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**24


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    assert MOST_BYTES == 2**31  # as the documentation says
    # Smaller here, to be fast: 64 MiB and a little of zeros, with a header that tells the truth.
    monkeypatch.setattr("imitation.demonstrations._reading.MOST_BYTES", 2**26)
    path, rows = tmp_path / "file.npz", 2**26 // 8 + 1
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, array in flat().items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                if name != "actions":
                    np.save(file, array)
                    continue
                file.write(npy(f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({rows}, 1), }}\n"))
                for _ in range(2**6):
                    file.write(bytes(2**20))
                file.write(bytes(8))
    assert path.stat().st_size < 2**19
    tracemalloc.start()
    (fault,) = refused(read_npz, path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert fault == f"{path}: its arrays take 0.0625 GiB, at most 0.0625 GiB are read: take fewer episodes"
    assert peak < 2**24


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compression_is_refused(tmp_path, method):
    path = with_member(tmp_path / "file.npz", "", b"", method)
    assert refused(read_npz, path)[0].endswith("observations.npy is compressed in another way than numpy does")


def test_names_that_occur_twice_are_refused(tmp_path):
    path = with_member(tmp_path / "file.npz", "", b"")
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("actions.npy", npy(""))
    refused(read_npz, path)


@given(st.data())
@FUZZ
def test_cut_or_changed_bytes_never_crash(tmp_path, data):
    """Either the change is refused, or it hit bytes that mean nothing: then the arrays are the same."""
    path = tmp_path / "file.npz"
    np.savez_compressed(path, **flat())
    content = bytearray(path.read_bytes())
    expected = read_npz(path)
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    else:
        for _ in range(data.draw(st.integers(1, 3))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    if (found := taken_or_refused(read_npz, path)) is None:
        return
    named = {"observations", "actions"}
    assert all(
        np.array_equal(getattr(a, n), getattr(b, n)) for a, b in zip(expected, found, strict=True) for n in named
    )


SHAPES = numbers.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=9)
KINDS = st.sampled_from(["f4", "f8", "f2", "i8", "u1", "b1", "c16", "U3", "M8[s]", "O", "V4"])


@given(
    st.dictionaries(
        st.sampled_from([*LAYOUT, "extra", "../observations", "a\nb"]),
        st.tuples(KINDS, SHAPES).map(lambda pair: np.zeros(pair[1], pair[0])),
    )
)
@example({name: np.full((), None) for name in LAYOUT})
@FUZZ
def test_any_arrays_are_read_or_refused(write, arrays):
    path = write(**arrays)
    taken_or_refused(load_demonstrations, path, PENDULUM)


ANY = st.floats(width=64) | st.floats(-4, 4)


@given(
    numbers.arrays("f8", (11, 1), elements=ANY, fill=st.floats(-4, 4)),
    numbers.arrays("f8", (14, 4), elements=ANY, fill=st.just(0.0)),
    st.permutations([4, 1, 6]) | st.lists(st.integers(-1, 9), min_size=3, max_size=3),
)
@FUZZ
def test_any_numbers_are_read_or_refused(write, actions, observations, lengths):
    path = write(**flat(actions=actions, observations=observations, lengths=np.array(lengths)))
    finite = np.isfinite(actions).all() and np.isfinite(observations).all()
    if finite and sum(lengths) == 11 and min(lengths) > 0:
        loaded = load_demonstrations(path, PENDULUM)
        assert np.isclose(loaded.clipped, (np.abs(actions / 3) > 1 + 1e-6).mean())
    else:
        refused(load_demonstrations, path, PENDULUM)
