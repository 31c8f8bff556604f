"""An npz file of one's own holds N episodes of T_1 ... T_N steps as flat arrays (numpy.savez or savez_compressed):

  observations  (sum of all T_i + 1, Dx)  float32 or float64; T_i + 1 rows per episode, the last one is where its last
                                          action led
  actions       (sum of all T_i, Dy)      float32 or float64, in the units of the environment
  lengths       (N,)                      integers, T_1 ... T_N, each at least 1
  terminations  (N,)                      booleans: True where the task itself ended the episode (a fall, a goal),
                                          False where time was up or recording stopped
  rewards       (sum of all T_i,)         float32 or float64; may be left out

Episodes lie one after the other, and every number is finite. Nothing else may be in the file. No pickled objects are
read, and no more than 2 GiB or 100000 episodes.
"""

import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.lib import format as npy

from imitation.demonstrations._reading import MOST_EPISODES, check_size, refusing
from imitation.demonstrations.episodes import DemonstrationError, Episode


class _Wanted(NamedTuple):
    dtypes: str
    axes: int
    words: str


FLOATS = "f4 f8"
LAYOUT = {
    "observations": _Wanted(FLOATS, 2, "float32 or float64 of two axes"),
    "actions": _Wanted(FLOATS, 2, "float32 or float64 of two axes"),
    "lengths": _Wanted("i1 i2 i4 i8 u1 u2 u4 u8", 1, "integers of one axis"),
    "terminations": _Wanted("b1", 1, "booleans of one axis"),
    "rewards": _Wanted(FLOATS, 1, "float32 or float64 of one axis"),
}
OPTIONAL = {"rewards"}
HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
# What numpy writes. Other methods let a small file ask for much memory before the first byte is unpacked.
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def read_npz(path: str | Path) -> list[Episode]:
    """Episodes of an npz file, laid out as this module says, not yet held against an environment.

    Raises:
        DemonstrationError: a ValueError, with a line for every fault found in the layout.
    """
    with refusing(path, "an npz file"), zipfile.ZipFile(path) as archive:
        return _episodes(_arrays(archive))


def _arrays(archive: zipfile.ZipFile) -> dict[str, np.ndarray]:
    members = {member.filename.removesuffix(".npy"): member for member in archive.infolist()}
    faults = [f"{name} is missing, it must be {LAYOUT[name].words}" for name in LAYOUT.keys() - OPTIONAL - set(members)]
    faults = sorted(faults) + [f"{name[:40]!r} does not belong there" for name in sorted(members.keys() - set(LAYOUT))]
    if len(members) < len(archive.infolist()):
        faults.append("two arrays have the same name")
    size = 0
    for name, member in members.items():
        if name in LAYOUT:
            shape, dtype = _declared(archive, member)
            size += math.prod(shape) * dtype.itemsize
            if dtype.str[1:] not in LAYOUT[name].dtypes.split() or len(shape) != LAYOUT[name].axes:
                faults.append(f"{name} must be {LAYOUT[name].words}, is {dtype} of shape {shape}")
    if faults:
        raise DemonstrationError(*faults)
    check_size(size)
    return {name: _read(archive, member) for name, member in members.items()}


def _declared(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> tuple[tuple[int, ...], np.dtype]:
    if member.compress_type not in METHODS:
        raise DemonstrationError(f"{member.filename} is compressed in another way than numpy does")
    with archive.open(member) as file:
        version = npy.read_magic(file)
        if version not in HEADERS:
            raise DemonstrationError(f"{member.filename} has version {version} of the npy format")
        shape, _, dtype = HEADERS[version](file)
        size = file.tell() + math.prod(shape) * dtype.itemsize
    if not dtype.hasobject and (min(shape, default=0) < 0 or size != member.file_size):
        raise DemonstrationError(f"{member.filename} has {member.file_size} bytes, its header declares {size}")
    return shape, dtype


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(member) as file:
        array = npy.read_array(file, allow_pickle=False)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _episodes(arrays: Mapping[str, np.ndarray]) -> list[Episode]:
    _check_rows(arrays)
    lengths = arrays["lengths"].astype(np.int64)
    ends = np.cumsum(lengths)
    cut = {name: np.split(arrays[name], ends[:-1]) for name in ("actions", "rewards") if name in arrays}
    observations = np.split(arrays["observations"], (ends + np.arange(1, len(ends) + 1))[:-1])
    rewards = cut.get("rewards", [None] * len(lengths))
    last = [np.arange(steps) == steps - 1 for steps in lengths]
    terminations = [end & done for end, done in zip(last, arrays["terminations"], strict=True)]
    truncations = [end & ~done for end, done in zip(last, arrays["terminations"], strict=True)]
    return [
        Episode(*each) for each in zip(observations, cut["actions"], rewards, terminations, truncations, strict=True)
    ]


def _check_rows(arrays: Mapping[str, np.ndarray]) -> None:
    rows, lengths = {name: len(array) for name, array in arrays.items()}, arrays["lengths"]
    most = min(MOST_EPISODES, rows["actions"])
    if most == 0:
        raise DemonstrationError("actions has no rows")
    if not 1 <= len(lengths) <= most:
        raise DemonstrationError(
            f"lengths has {len(lengths)} entries, with {rows['actions']} actions must be 1 to {most}"
        )
    if (wrong := (lengths < 1) | (lengths > rows["actions"])).any():
        episode = int(np.argmax(wrong))
        allowed = f"[1, {rows['actions']}], the number of actions"
        raise DemonstrationError(f"episode {episode}: its length is {lengths[episode]}, must be in {allowed}")
    steps, count = int(lengths.sum(dtype=np.int64)), len(lengths)
    wanted = {"observations": steps + count, "actions": steps, "rewards": steps, "terminations": count}
    lays = f"{count} lengths that sum to {steps}"
    faults = [
        f"{name} has {rows[name]} rows, with {lays} it must have {want}"
        for name, want in wanted.items()
        if name in rows and rows[name] != want
    ]
    faults += [f"{name} has rows of no entry" for name in ("observations", "actions") if arrays[name].shape[1] == 0]
    if faults:
        raise DemonstrationError(*faults)
