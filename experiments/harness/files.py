"""Files that appear whole or not at all, and their hashes."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any


class CannotWriteError(Exception):
    """A result cannot be written: a full disk, an unwritable folder. The message is one line."""


def write_whole(path: Path, content: bytes | str) -> None:
    """Write aside, flush to the disk, then rename over `path`: a reader sees the old file or the new one.

    Raises:
        CannotWriteError: the system refused.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with aside.open("wb") as stream:
                stream.write(content.encode() if isinstance(content, str) else content)
                stream.flush()
                os.fsync(stream.fileno())
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)
    except OSError as error:
        raise CannotWriteError(f"{path}: cannot be written: {error.strerror or error}") from None


def remove_leftovers(folder: Path) -> None:
    """Delete what killed processes left half-written in `folder`; the caller holds the folder's lock."""
    for path in folder.glob(".*.tmp"):
        path.unlink(missing_ok=True)


def sha256(content: bytes | str) -> str:
    """Hexadecimal SHA-256 of bytes or of text in UTF-8."""
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()


def dumps(value: Any) -> str:
    """JSON with sorted keys, the same text for the same value."""
    return json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False) + "\n"
