"""`python -m imitation.demonstrations check`: what it tells about good files and about bad ones, and how it exits."""

import subprocess
import sys

import numpy as np
import pytest

from imitation.demonstrations import load_demonstrations, npz_file, save_minari
from imitation.demonstrations.__main__ import main

PENDULUM = "InvertedPendulum-v5"


@pytest.fixture
def file(tmp_path):
    """Four episodes, as a function of the arrays that shall be others (None: left out)."""

    def write(**changes):
        lengths = np.array([3, 1000, 2, 5])
        actions = np.zeros((1010, 1))
        actions[:3, 0] = [-3, 4.5, 2]
        arrays = {
            "observations": np.zeros((1014, 4)),
            "actions": actions,
            "lengths": lengths,
            "terminations": np.array([True, True, False, False]),
            "rewards": np.ones(1010),
        } | changes
        np.savez(tmp_path / "mine.npz", **{name: array for name, array in arrays.items() if array is not None})
        return str(tmp_path / "mine.npz")

    return write


def run(capsys, *arguments):
    status = main(["check", *arguments])
    out, err = capsys.readouterr()
    return status, out.splitlines(), err.splitlines()


def test_a_good_file_is_summarised(capsys, file):
    path = file()
    assert run(capsys, path, "--env", PENDULUM) == (
        0,
        [
            f"{path}: 4 episodes, 1010 steps",
            f"  environment   {PENDULUM}",
            "  observations  4 numbers",
            "  actions       1 numbers, from -3 to 4.5; allowed are -3 to 3, 0.099 % lie outside and are moved to the "
            "bound",
            "  ends          1 terminated, 3 truncated; 1 of these were marked as terminated at the time limit",
            "  returns       mean 252.5, min 2, max 1000",
        ],
        [],
    )


def test_without_an_environment_the_rest_is_checked_still(capsys, file):
    path = file(rewards=None)
    status, out, err = run(capsys, path)
    assert (status, err) == (0, [])
    assert out[1:] == [
        "  environment   not compared with any, name one with --env",
        "  observations  4 numbers",
        "  actions       1 numbers, from -3 to 4.5",
        "  ends          2 terminated, 2 truncated",
        "  returns       no rewards recorded",
    ]
    path = file(observations=np.full((1014, 4), np.nan))
    status, out, err = run(capsys, path)
    assert (status, out, len(err)) == (1, [], 4)
    assert err[0] == f"{path}: episode 0: step 0: observation 0 is nan, must be finite"


def test_a_minari_folder_names_its_environment(capsys, file, tmp_path):
    save_minari(load_demonstrations(file(), PENDULUM).demonstrations, tmp_path / "mine-v0")
    status, out, err = run(capsys, str(tmp_path / "mine-v0"))
    assert (status, err) == (0, [])
    assert out[1] == f"  environment   {PENDULUM}"
    assert out[4] == "  ends          1 terminated, 3 truncated"
    assert out[5] == "  returns       mean 252.5, min 2, max 1000"


def test_only_the_first_episodes_are_looked_at_where_asked(capsys, file):
    status, out, _ = run(capsys, file(), "--env", PENDULUM, "--episodes", "1")
    assert (status, out[4]) == (0, "  ends          1 terminated, 0 truncated")


def test_each_fault_has_a_line_and_the_status_is_one(capsys, file):
    path = file(rewards=np.zeros(1), actions=None)
    (status, out, err) = run(capsys, path, "--env", PENDULUM)
    assert (status, out) == (1, [])
    assert err == [f"{path}: actions is missing, it must be float32 or float64 of two axes"]
    path = file(rewards=np.zeros(1), terminations=np.zeros(2, bool))
    assert run(capsys, path, "--env", PENDULUM)[2] == [
        f"{path}: rewards has 1 rows, with 4 lengths that sum to 1010 it must have 1010",
        f"{path}: terminations has 2 rows, with 4 lengths that sum to 1010 it must have 4",
    ]


def test_many_faults_are_cut_short(capsys, file):
    lengths = np.ones(1000, int)
    path = file(
        lengths=lengths, actions=np.full((1000, 1), np.nan), observations=np.zeros((2000, 4)), rewards=None,
        terminations=np.zeros(1000, bool),
    )  # fmt: skip
    status, _, err = run(capsys, path, "--env", PENDULUM)
    assert (status, len(err), err[-1]) == (1, 21, "... and 980 more faults")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--env", "Hopper-v5"], "episode 0: actions must be a numpy array (3, 3) of floating-point numbers"),
        (["--env", "Nowhere-v1"], "environment='Nowhere-v1': cannot be built: "),
        (["--env", PENDULUM, "--options", '{"reset_noise_scale": "much", "x": 1}'], "cannot be built: "),
        (["--episodes", "9"], "9 episodes asked for, there are 4"),
        (["--episodes", "0"], "episodes=0: must be at least 1"),
    ],
)
def test_what_does_not_fit_is_one_line(capsys, file, arguments, message):
    status, out, err = run(capsys, file(), *arguments)
    assert (status, out) == (1, [])
    assert message in err[0]


def test_options_reach_the_environment(capsys, file):
    arrays = {"observations": np.zeros((1014, 12)), "actions": np.zeros((1010, 3))}
    with_position = ["--options", '{"exclude_current_positions_from_observation": false}']
    assert run(capsys, file(**arrays), "--env", "Hopper-v5", *with_position)[0] == 0
    assert run(capsys, file(**arrays), "--env", "Hopper-v5")[0] == 1


def test_a_file_with_an_unprintable_name_is_named_still(capsys, tmp_path):
    path = tmp_path / "\udcff\n.npz"
    path.write_bytes(b"nothing")
    status, out, err = run(capsys, str(path))
    assert (status, out, len(err)) == (1, [], 1)
    assert "cannot be read as an npz file" in err[0]


@pytest.mark.parametrize("arguments", [[], ["learn", "x"], ["check"], ["check", "x", "--options", "[1"]])
def test_wrong_usage_is_said_without_a_traceback(capsys, arguments):
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert "usage: python -m imitation.demonstrations" in capsys.readouterr().err


def test_help_says_what_an_npz_file_must_hold():
    command = [sys.executable, "-m", "imitation.demonstrations", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert npz_file.__doc__ is not None
    assert npz_file.__doc__.strip() in done.stdout
