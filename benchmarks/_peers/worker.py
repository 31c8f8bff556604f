"""The benchmark's half of the conversation: one process per peer, kept alive, on one core and one thread."""

import contextlib
import json
import os
import select
import subprocess
from pathlib import Path
from typing import Any

from _peers.environments import HERE, last_line

ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
    "JAX_PLATFORMS": "cpu",
}


class Worker:
    """A running `run_<name>.py`.

    Attributes:
        version, engine: what the worker says of itself.

    Args:
        name: which worker.
        python: the interpreter to run it with.
        data: the file of the common network, handed to the worker.
        core: the one core it may use; every worker gets the same, and while times are taken only one computes.
        log: where its standard error goes.
        search: a folder to import from, for our own tree.

    Raises:
        RuntimeError: it does not start; one line.
    """

    def __init__(self, name: str, python: Path | str, data: Path, core: int, log: Path, search: Path | None) -> None:
        self.log = log
        surroundings = os.environ | ONE_THREAD | {"PYTHONPATH": str(search) if search else ""}
        with log.open("w") as errors:
            self.process = subprocess.Popen(
                [str(python), str(HERE / f"run_{name}.py"), str(data)],
                env=surroundings,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                bufsize=0,
            )
        # Before the library starts its threads, which inherit the core.
        os.sched_setaffinity(self.process.pid, {core})
        hello = self._answer()
        self.version, self.engine = hello["version"], hello["engine"]

    def run(self, contestant: str, at_least: float, patience: float = 300.0) -> dict[str, Any]:
        """Time one contestant for `at_least` seconds, and wait for its answer for `patience` seconds.

        Raises:
            RuntimeError: the worker died or is silent; one line.
        """
        assert self.process.stdin is not None
        # A broken pipe needs no words of its own: the reason is in the log, and `_answer` gives it.
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps({"run": contestant, "at_least": at_least}).encode() + b"\n")
        return self._answer(patience)

    def close(self) -> None:
        """End the process, whatever it is doing."""
        self.process.kill()
        self.process.wait()

    def _answer(self, patience: float = 300.0) -> dict[str, Any]:
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], patience)
        line = self.process.stdout.readline() if ready else b""
        if not line:
            self.close()
            raise RuntimeError(last_line(self.log.read_text()) if ready else f"silent for {patience:.0f} s")
        return json.loads(line)
