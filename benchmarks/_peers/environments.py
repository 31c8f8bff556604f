"""Virtual environments for peers, made on the first call and reused as long as their pins stay the same."""

import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def make(name: str, folder: Path) -> Path:
    """The interpreter of the environment of one peer, `folder`/`name`.

    Packages come from `name`.txt beside this file: every package in its exact version, installed without looking at
    what it asks for, because the peers' own requirements contradict each other (DI-engine asks for a setuptools that
    no recent torch accepts) or would bring the CUDA build of torch.

    Raises:
        RuntimeError: the environment cannot be made; one line.
    """
    pins = HERE / f"{name}.txt"
    home = folder / name
    python, stamp = home / "bin" / "python", home / "pins.txt"
    wanted = f"# {sys.version.split()[0]}\n{pins.read_text()}"
    if stamp.is_file() and stamp.read_text() == wanted:
        return python
    shutil.rmtree(home, ignore_errors=True)
    _command(sys.executable, "-m", "venv", str(home))
    _command(str(python), "-m", "pip", "install", "--quiet", "--no-deps", "-r", str(pins))
    stamp.write_text(wanted)  # last, so that an interrupted installation is never taken for a whole one
    return python


def _command(*words: str) -> None:
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=1800)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RuntimeError(f"environment not made: {error}".splitlines()[0]) from error
    if done.returncode:
        raise RuntimeError(f"environment not made: {last_line(done.stderr)}")


def last_line(text: str) -> str:
    """The last line that says something, which is where Python and pip put the reason."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no reason given"
