"""The worker's half of a conversation in lines of JSON: it names itself, then times whatever it is asked to.

Only the standard library and numpy are imported, because this file is read by the interpreters of all peers.
"""

import importlib.metadata
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import problem


def open_reply() -> Any:
    """Keep standard output for replies alone: what a library prints from now on goes to standard error.

    To be called before the library is imported.
    """
    reply = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    return reply


def serve(reply: Any, package: str, engine: str, contestants: dict[str, Callable[[], Any]]) -> None:
    """Answer requests until standard input ends.

    Args:
        reply: from `open_reply`.
        package: the distribution whose version is reported; "" for our own tree.
        engine: the distribution that computes, torch or jax, reported with its version.
        contestants: maps "workload/form/label" to a function that samples once and returns the final samples, as an
            array that numpy reads, after they are computed; numbers in a list are reported as they are, too. Samples of
            other workloads than `gaussian` and `network` are not looked at.
    """
    version = importlib.metadata.version(package) if package else "this tree"
    print(json.dumps({"version": version, "engine": f"{engine} {importlib.metadata.version(engine)}"}), file=reply)
    for line in sys.stdin:
        request = json.loads(line)
        seconds, samples = _measure(contestants[request["run"]], request["at_least"])
        answer = {"seconds": seconds, "moments": _moments(request["run"], samples)}
        answer["values"] = samples if isinstance(samples, list) else []
        print(json.dumps(answer), file=reply)


class Steps(Protocol):
    """A training from the start: `step` takes a step and returns its loss; `negatives` only draws what it would."""

    def negatives(self) -> list[float]: ...
    def step(self) -> float: ...


def of_trainings(makes: Mapping[str, Callable[[], Steps]], times: int) -> dict[str, Callable[[], Any]]:
    """To be served for each "form/label": its next step, the losses of a new training, and its first negatives."""
    served: dict[str, Callable[[], Any]] = {}
    for name, make in makes.items():
        served[f"step/{name}"] = make().step
        served[f"losses/{name}"] = lambda make=make: [step() for step in [make().step] * times]
        served[f"network/{name}"] = lambda make=make: make().negatives()
    return served


def _measure(sample: Callable[[], Any], at_least: float) -> tuple[float, Any]:
    """The shortest time of one call, of as many calls as fill `at_least` seconds, and the last call's samples.

    The shortest, because all that another process can do to a call is to make it longer.
    """
    times: list[float] = []
    samples = None
    while sum(times) < at_least:
        start = time.perf_counter()
        samples = sample()
        times.append(time.perf_counter() - start)
    return min(times), samples


def _moments(name: str, samples: Any) -> list[problem.Moments]:
    workload = name.split("/")[0]
    if workload == "gaussian":
        return problem.gaussian_moments(samples)
    return problem.network_moments(sys.argv[1], samples) if workload == "network" else []
