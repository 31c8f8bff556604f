"""From a composed configuration to a plan, and from a plan to a record."""

import contextlib
import importlib
import json
import re
import resource
import time
import traceback
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from omegaconf import DictConfig, OmegaConf

from experiments.harness import catalogue, frames, record
from experiments.harness.claim import NOT_IN_FRAME
from experiments.harness.files import CannotWriteError, dumps, remove_leftovers, sha256, write_whole
from experiments.harness.record import Plan
from experiments.harness.schema import BadInputError, checked
from experiments.harness.source import fingerprint

RUN_KEYS = ("scale", "force", "device", "results")
_BEGAN_WITH = fingerprint()  # a worker lives through many runs, with the code that it began with


def plan(settings: DictConfig, experiment: str) -> Plan:
    """Check everything that was asked for.

    Raises:
        BadInputError: a value that the experiment's schema or the runner does not allow.
    """
    values = OmegaConf.masked_copy(settings, [str(key) for key in settings if key not in RUN_KEYS])
    module = catalogue.module(experiment)
    for key in RUN_KEYS:
        if key not in settings or OmegaConf.is_missing(settings, key):
            raise BadInputError(f"{key}: missing; leave it out for its usual value")
    if not isinstance(settings.force, bool):
        raise BadInputError(f"force={settings.force}: must be true or false")
    config = checked(module.Config, values)
    record.inputs(experiment, config)
    return Plan(
        experiment=experiment,
        scale=settings.scale,
        config=config,
        results=_results(settings.results),
        device=_device(str(settings.device), getattr(module, "DEVICES", ("cpu",))),
        force=settings.force,
    )


def _device(name: str, supported: Sequence[str]) -> str:
    """An experiment says in DEVICES what it has been run on; without that it is the cpu alone."""
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name) or name.split(":")[0] not in supported:
        raise BadInputError(f"device={name}: allowed for this experiment: {', '.join(supported)}")
    if name != "cpu" and not importlib.import_module("torch").cuda.is_available():
        raise BadInputError(f"device={name}: this machine has no CUDA device; allowed is cpu")
    return name


def _results(given: Any) -> Path:
    """A folder for results, relative to the project."""
    folder = (catalogue.ROOT / given).resolve() if isinstance(given, str) and given.strip() else None
    code = [catalogue.ROOT / name for name in ("configs", "experiments", "imitation", "tests", ".git", ".venv")]
    if folder is None or catalogue.ROOT.is_relative_to(folder) or any(folder.is_relative_to(one) for one in code):
        raise BadInputError(f"results={given}: must be a folder of its own, such as results or outputs/trial")
    return folder


def execute(planned: Plan) -> None:
    """Run a plan unless its record is current; what came of it stands in the folder's .status.json.

    Raises:
        BadInputError: the folder cannot be written, or another process is writing it.
    """
    try:
        with locked(planned.folder), _explained(planned.folder):
            remove_leftovers(planned.folder)
            if planned.force or not planned.is_current():
                _measure(planned)
    except CannotWriteError as error:
        raise BadInputError(str(error)) from None


@contextlib.contextmanager
def _explained(folder: Path) -> Iterator[None]:
    """What stops a run stays in its folder, for a sweep to tell: one line of what is refused, else the traceback."""
    try:
        yield
    except CannotWriteError:
        raise
    except Exception as error:
        refused = isinstance(error, BadInputError)
        write_whole(folder / "error.log", f"{error}\n" if refused else traceback.format_exc())
        message = str(error) if refused else f"{type(error).__name__}: {error}".splitlines()[0]
        _status(folder, outcome="failed", message=message)
        raise


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """A folder for this process alone.

    Raises:
        BadInputError: another process writes there, or nothing can be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock", timeout=0)
        lock.acquire()
    except Timeout:
        raise BadInputError(f"{shown(folder)}: another process writes here; wait for it or end it") from None
    except OSError as error:
        raise BadInputError(f"{shown(folder)}: cannot be written: {error.strerror or error}") from None
    try:
        yield
    finally:
        lock.release()


def was_measured(planned: Plan, since: float) -> bool:
    """Whether the plan has its record and nothing failed; where it was to be repeated, one younger than `since`."""
    written, failed = planned.folder / "run.json", (planned.folder / "error.log").exists()
    return planned.is_current() and not failed and (not planned.force or written.stat().st_mtime >= since)


def obstacle(folder: Path) -> str:
    """Why a run left no result in its folder, as far as can be seen afterwards."""
    try:
        with locked(folder):
            log = folder / "error.log"
            if not log.exists() and _status_of(folder).get("outcome") == "ran":
                return f"{shown(folder)}: measured, but its code or what it reads changed meanwhile"
            if not log.exists():
                return f"{shown(folder)}: interrupted, or nothing more could be written"
            last = log.read_text().strip().splitlines()[-1:]
            return f"{shown(folder)}: failed, see {log.name} there: {' '.join(last)}"
    except BadInputError as error:
        return str(error)


def _measure(planned: Plan) -> None:
    import torch

    from experiments.harness.context import Context

    if fingerprint() != _BEGAN_WITH:
        raise BadInputError("the code changed since this process began; the same command goes on with what it is now")
    torch.set_num_threads(1)
    module = catalogue.module(planned.experiment)
    hashes = planned.hashes()
    made_by = hashes | record.environment(planned.device)  # as it begins: what changes meanwhile is none of it
    # A checkpoint goes on with what it began with, or one result would be of two versions or processors.
    kept_by = hashes | {key: made_by[key] for key in ("versions", "device", "threads")}
    context = Context(planned.folder, sha256(dumps(kept_by)), planned.device)
    before = _seconds_before(planned.folder)
    _status(planned.folder, outcome="running")
    _reset_peak_memory()
    started = time.perf_counter()
    frame = module.run(planned.config, context)
    measured = made_by | {
        "wall_seconds": round(before + time.perf_counter() - started, 2),
        "peak_memory_mb": round(_peak_memory_mb()),
        "seeds": getattr(planned.config, "seeds", []),
        "command": record.command(planned),
    }
    content = frames.frame_bytes(frame)
    record.write(planned, content, measured)
    context.finish()
    _draw(planned, content)
    (planned.folder / "error.log").unlink(missing_ok=True)
    _status(planned.folder, outcome="ran", seconds=measured["wall_seconds"])


def _seconds_before(folder: Path) -> float:
    """What interrupted processes took for the pieces that this run goes on from, as far as they told; noted there."""
    if not any(folder.glob(".pieces/*/*")):
        return 0.0
    noted = folder / ".pieces" / "seconds"
    seconds = (float(noted.read_text()) if noted.exists() else 0.0) + _status_of(folder).get("seconds", 0.0)
    write_whole(noted, str(seconds))
    return seconds


def _draw(planned: Plan, content: bytes) -> None:
    """Draw from the bytes that were written, as every later redrawing does; a shard is no whole picture.

    A run of other values may lack conditions that the figure shows: it stays without one, its numbers are kept.
    """
    from experiments.harness.style import rendered

    if planned.is_shard:
        return
    try:
        pictures = rendered(catalogue.module(planned.experiment).figure(frames.read_frame(BytesIO(content))))
    except NOT_IN_FRAME:
        if planned.is_canonical:
            raise
        return
    for name, picture in pictures.items():
        write_whole(planned.folder / name, picture)


def _status(folder: Path, **status: Any) -> None:
    write_whole(folder / ".status.json", json.dumps(status))


def _status_of(folder: Path) -> dict[str, Any]:
    path = folder / ".status.json"
    return json.loads(path.read_text()) if path.exists() else {}


def shown(path: Path) -> str:
    """A path as people read it: relative to where they are, if it lies below."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _reset_peak_memory() -> None:
    """A worker runs several experiments: on Linux the peak can be set back to what is in use now."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def _peak_memory_mb() -> float:
    try:
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) / 1024
    except (OSError, IndexError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
