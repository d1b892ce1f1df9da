"""
What one round stands on: the engine stub, adapters, the proxies, and the load program.

I/O: all of it on one machine, the proxies on one CPU and the rest on the others. Everything goes
with the stage.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from attrs import frozen

from bench.candidates import Candidate, Place, powerstrip
from bench.process import BenchError, Process, free_port, listens
from bench.results import Figures

HERE = Path(__file__).parent
LOAD_SECONDS = 130
"""More than the load program gives itself."""


@frozen
class Sizes:
    """
    How much of everything is done.
    """

    milliseconds: int
    """How long requests and pings are sent."""

    bulk_bytes: int
    idle_streams: int
    stall_seconds: float


FULL = Sizes(milliseconds=1200, bulk_bytes=1 << 30, idle_streams=10_000, stall_seconds=1.0)
QUICK = Sizes(milliseconds=100, bulk_bytes=32 << 20, idle_streams=200, stall_seconds=0.1)


@frozen
class Cpus:
    """
    Which of the machine's CPUs are whose.
    """

    proxies: tuple[int, ...]
    others: tuple[int, ...]

    @classmethod
    def share(cls) -> Self:
        """
        The first is the proxies', the rest is everything else's.
        """
        first, *rest = sorted(os.sched_getaffinity(0))
        return cls((first,), tuple(rest) or (first,))


@frozen
class Programs:
    """
    The two that are written in C.
    """

    stub: Path
    load: Path

    @classmethod
    def compile(cls, directory: Path) -> Self:
        """
        Make them.
        """
        built = []
        for name in ("stub", "load"):
            program, source = directory / name, HERE / f"{name}.c"
            options = ["-O2", "-Wall", "-Wextra", "-Werror", "-o", str(program), str(source)]
            done = subprocess.run(["gcc", *options], capture_output=True, text=True)
            if done.returncode:
                raise BenchError(f"gcc {source}:\n{done.stderr}")
            built.append(program)
        return cls(*built)


@frozen
class Running:
    """
    A candidate that takes connections.
    """

    candidate: Candidate
    address: str
    """The path of a UNIX socket, or a port of 127.0.0.1."""

    process: Process | None
    """None for the engine itself."""


@frozen
class Adapter:
    """
    An adapter whose pre-hooks change nothing.
    """

    name: str
    port: str
    path: str

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{self.path}"


class Stage:
    """
    A directory, and the processes that were started in it.

    Args:
        engine: The socket of a real engine, in place of the stub.
    """

    def __init__(
        self, programs: Programs, cpus: Cpus, sizes: Sizes, engine: Path | None = None
    ) -> None:
        self.sizes = sizes
        self.engine_port: str | None = None
        self.adapters: dict[str, Adapter] = {}
        self._programs = programs
        self._cpus = cpus
        self._stack = ExitStack()
        # Not below TMPDIR, which may be long: a socket's path has 107 characters.
        self._directory = Path(
            self._stack.enter_context(tempfile.TemporaryDirectory(prefix="psb-", dir="/tmp"))
        )
        self.engine = engine or self._directory / "engine.sock"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    def start_stub(self) -> None:
        """
        Start the engine stub.
        """
        self.engine_port = free_port()
        self._start_helper("engine", [str(self._programs.stub), str(self.engine), self.engine_port])

    def start_adapters(self) -> None:
        """
        Start an adapter that costs next to nothing, and one as people write them.
        """
        fast, klein = free_port(), free_port()
        label = HERE.parent / "examples" / "label.py"
        self._start_helper("fast", [str(self._programs.stub), fast])
        self._start_helper("klein", [sys.executable, str(label), klein])
        self.adapters = {
            "fast": Adapter("fast", fast, "/pre-hook"),
            "klein": Adapter("klein", klein, "/label"),
        }

    def start(self, candidate: Candidate, config: str | None = None) -> Running:
        """
        Start a proxy, and wait until it takes connections.

        Args:
            config: Powerstrip's, if not the one without hooks.
        """
        if candidate.command is None:
            return Running(candidate, str(self.engine), None)
        directory = Path(tempfile.mkdtemp(prefix=candidate.name, dir=self._directory))
        place = Place(directory, free_port(), self.engine, self.engine_port)
        command = candidate.command(place)
        if config is not None:
            command = [*powerstrip(place, config), f"--workers={candidate.workers}"]
        cpus = self._cpus.proxies
        if candidate.workers > 1:
            cpus = tuple({*cpus, *self._cpus.others})
        process = Process(command, cpus, directory / f"{candidate.name}.log")
        self._stack.callback(process.stop)
        process.wait_for(lambda: listens(place.port) and _serves(candidate, process))
        return Running(candidate, place.port, process)

    def load(self, *words: str | int) -> Figures:
        """
        Run the load program.

        Raises:
            BenchError: with what it said.
        """
        return _run(self._load_command(*words))

    def post_by_treq(self, adapter: Adapter, payload: str) -> Figures:
        """
        Send bare POSTs to an adapter by treq, from where proxies run.

        Raises:
            BenchError: with what it said.
        """
        words = [adapter.url, str(self.sizes.milliseconds), payload]
        command = [sys.executable, "-m", "bench.bare_post", *words]
        return _run(_on(self._cpus.proxies, command))

    @contextmanager
    def holding(self, *words: str | int) -> Iterator[Figures]:
        """
        Run a load that holds what it has opened, until the end of the context.
        """
        with subprocess.Popen(
            self._load_command(*words),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            line = process.stdout.readline()
            if not line:
                raise BenchError(process.stderr.read().strip() or "load ended early")
            yield _figures(line)
            process.communicate()

    def _load_command(self, *words: str | int) -> list[str]:
        return _on(self._cpus.others, [str(self._programs.load), *map(str, words)])

    def _start_helper(self, name: str, command: list[str]) -> None:
        process = Process(command, self._cpus.others, self._directory / f"{name}.log")
        self._stack.callback(process.stop)
        process.wait_for(lambda: listens(command[-1]))


def _serves(candidate: Candidate, process: Process) -> bool:
    # A parent listens before its workers do.
    if candidate.workers == 1:
        return True
    return process.log.read_text().count("powerstrip#info] serves\n") == candidate.workers


def _on(cpus: tuple[int, ...], command: list[str]) -> list[str]:
    return ["taskset", "--cpu-list", ",".join(map(str, cpus)), *command]


def _run(command: list[str]) -> Figures:
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LOAD_SECONDS
    )
    if done.returncode:
        raise BenchError(done.stderr.strip() or f"{command[3]} ended with {done.returncode}")
    return _figures(done.stdout)


def _figures(line: str) -> Figures:
    figures: Figures = json.loads(line)
    return figures
