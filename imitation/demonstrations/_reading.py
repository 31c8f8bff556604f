"""What the readers of files share: how much they take in, and refusals of one line."""

from collections.abc import Iterator
from contextlib import contextmanager

from imitation.demonstrations.episodes import DemonstrationError

# A file of a few megabytes can declare terabytes. What it declares is added up before any of it is read.
MOST_BYTES = 2**31
MOST_EPISODES = 100_000


@contextmanager
def refusing(source: object, kind: str = "") -> Iterator[None]:
    """Turns whatever goes wrong inside into a `DemonstrationError` whose lines begin with the source.

    Args:
        source: what is being read.
        kind: of file, such as "an npz file". With it every error counts: libraries have many names for a file that is
            not as it should be. Without it only a ValueError does.
    """
    try:
        yield
    except DemonstrationError as error:
        raise DemonstrationError(*(f"{source}: {fault}" for fault in error.faults)) from None
    except Exception as error:
        if not kind and not isinstance(error, ValueError):
            raise
        reading = f"cannot be read as {kind}: " if kind else ""
        raise DemonstrationError(f"{source}: {reading}{error or type(error).__name__}") from error


def check_size(size: int) -> None:
    """Refuse what would take more than 2 GiB of memory.

    Raises:
        DemonstrationError: `size`, in bytes, is above that.
    """
    if size > MOST_BYTES:
        allowed = f"at most {MOST_BYTES / 2**30:g} GiB are read"
        raise DemonstrationError(f"its arrays take {size / 2**30:.3g} GiB, {allowed}: take fewer episodes")
