"""Episodes in Minari's HDF5 layout, groups episode_0, episode_1, ..., read from a file that may be hostile."""

from math import prod
from pathlib import Path
from typing import Any

import h5py
import h5py.h5l

from imitation.demonstrations._reading import check_size
from imitation.demonstrations.episodes import ARRAYS, Episode


def read_episodes(path: Path, count: int) -> list[Episode]:
    """The first `count` episodes; only their five arrays are touched, and nothing outside of the file.

    Raises:
        ValueError: an array is missing, not numbers, elsewhere or incomplete, or all together are too large.
        OSError: it is no such file. Other errors are h5py's, on a file that is damaged.
    """
    with h5py.File(path, "r") as file:
        found = [_arrays(file, f"episode_{number}") for number in range(count)]
        check_size(sum(_size(array) for arrays in found for array in arrays))
        return [Episode(*(_whole(array)[()] for array in arrays)) for arrays in found]


def _arrays(file: h5py.File, episode: str) -> list[h5py.Dataset]:
    """The arrays of an episode, none of them read yet."""
    group = _inside(file, episode)
    return [_own(_inside(group, name)) for name in ARRAYS]


def _inside(group: Any, name: str) -> Any:
    links = group.id.links
    if not links.exists(name.encode()):
        raise ValueError(f"{group.name} has no {name}")
    # Asked of the link itself: to look through it would already open what it points to.
    if links.get_info(name.encode()).type != h5py.h5l.TYPE_HARD:
        raise ValueError(f"{group.name} has {name} only as a link, which is not followed")
    return group[name]


def _own(array: Any) -> h5py.Dataset:
    if not isinstance(array, h5py.Dataset) or array.shape is None:
        raise ValueError(f"{array.name} is no array")
    if array.is_virtual or array.external:
        raise ValueError(f"{array.name} lies in another file, which is not read")
    if array.dtype.hasobject:
        raise ValueError(f"{array.name} holds objects, not numbers")
    return array


def _whole(array: h5py.Dataset) -> h5py.Dataset:
    """The same array, if the file has all of it: HDF5 makes up zeros for what was never written."""
    if array.chunks:
        wanted = prod(-(-size // chunk) for size, chunk in zip(array.shape, array.chunks, strict=True))
        whole = array.id.get_num_chunks() == wanted
    else:
        whole = array.id.get_storage_size() >= array.nbytes
    if not whole:
        raise ValueError(f"{array.name} was not written to its end")
    return array


def _size(array: h5py.Dataset) -> int:
    """Bytes that reading takes; a chunk is unpacked whole, however little of it belongs to the array."""
    return max(prod(array.shape), prod(array.chunks or ())) * array.dtype.itemsize
