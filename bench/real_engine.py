"""
What a proxy adds to requests of a real Docker Engine, and to a whole ``docker run``.

I/O: an engine of the benchmark's own, which goes with it (root, and Docker's packages).
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from attrs import frozen

from bench.measures import Measure, Take
from bench.process import BenchError
from bench.results import Figures, Row, at_most
from bench.stage import Running, Stage
from demo.engine import PrivateEngine

CANDIDATES = ("powerstrip", "haproxy", "direct")
ROUNDS = 3
"""So many for each round over the stub: samples are short here, and an engine varies."""

LISTED = 10
CREATED = 5
KEPT, MADE = "powerstrip-bench-kept", "powerstrip-bench-made"

ROWS = {
    "engine-ping": Row("p50", "real engine, _ping, p50", "µs"),
    "engine-list": Row(
        "p50", "real engine, containers/json, p50", "µs", (at_most(1.10, "direct"),)
    ),
    "engine-create": Row("p50", "real engine, containers/create, p50", "µs"),
    "engine-run": Row("p50", "real engine, docker run", "ms", (at_most(1.02, "direct"),)),
}
"""By the names of their measures."""


@frozen
class RealEngine:
    """
    A running engine, with ten containers to list.
    """

    engine: PrivateEngine

    @classmethod
    @contextmanager
    def started(cls, directory: Path) -> Iterator[RealEngine]:
        """
        An engine that is stopped and removed at the end of the context.
        """
        with PrivateEngine(directory, f"bench-{os.getpid()}") as engine:
            engine.import_busybox()
            real = cls(engine)
            for _ in range(LISTED):
                real.ask("POST", "/containers/create", container(KEPT))
            yield real

    def ask(self, method: str, target: str, body: str = "") -> bytes:
        """
        One exchange with the engine, past any proxy.

        Raises:
            BenchError: with its answer, where that is an error.
        """
        status, answer = self.engine.request(method, target, body.encode())
        if status >= 400:
            raise BenchError(f"{method} {target}: {status} {answer.decode(errors='replace')}")
        return answer

    def remove_made(self) -> None:
        """
        Remove what was created in a measure.
        """
        filters = quote(json.dumps({"label": [MADE]}))
        for made in json.loads(self.ask("GET", f"/containers/json?all=1&filters={filters}")):
            self.ask("DELETE", f"/containers/{made['Id']}?force=1")

    def measures(self) -> tuple[Measure, ...]:
        """
        What is measured with it.
        """
        takes = {
            "engine-ping": _requests("/_ping"),
            "engine-list": _requests("/v1.41/containers/json?all=1"),
            "engine-create": self._create,
            "engine-run": self._run,
        }
        return tuple(Measure(name, CANDIDATES, take, (ROWS[name],)) for name, take in takes.items())

    def _create(self, stage: Stage, running: Running) -> Figures:
        words = ("POST", "/v1.41/containers/create", container(MADE))
        try:
            seen = stage.load("requests", running.address, 1, 0, CREATED, *words)
        finally:
            self.remove_made()
        return {"p50": seen["p50_us"]}

    def _run(self, stage: Stage, running: Running) -> Figures:
        host = f"tcp://127.0.0.1:{running.address}" if running.process else self.engine.docker_host
        others = {name: value for name, value in os.environ.items() if "DOCKER_" not in name}
        environment = {**others, "DOCKER_HOST": host, "DOCKER_CONFIG": str(self.engine.directory)}
        started = time.monotonic()
        done = subprocess.run(
            ["docker", "run", "--rm", "busybox", "true"],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        if done.returncode:
            raise BenchError(f"docker run: {done.stderr}")
        return {"p50": (time.monotonic() - started) * 1000}


def container(label: str) -> str:
    """
    A request for a container with a label.
    """
    return json.dumps({"Image": "busybox", "Cmd": ["true"], "Labels": {label: ""}})


def _requests(target: str) -> Take:
    def take(stage: Stage, running: Running) -> Figures:
        window = stage.sizes.milliseconds // ROUNDS
        seen = stage.load("requests", running.address, 1, window, 0, "GET", target)
        return {"p50": seen["p50_us"]}

    return take
