"""
A run of the benchmark: all rounds, one after another.

I/O: starts what a round needs, and tells on standard error what is going on.
"""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from attrs import asdict, frozen

from bench.candidates import CANDIDATES, SPARE_DESCRIPTORS, Candidate, most_connections
from bench.measures import MEASURES, Measure, hooks_config
from bench.process import BenchError
from bench.real_engine import CANDIDATES as ENGINE_PROXIES
from bench.real_engine import ROUNDS as ENGINE_ROUNDS
from bench.real_engine import RealEngine
from bench.report import number
from bench.results import Figures, Results
from bench.stage import FULL, QUICK, Cpus, Programs, Running, Stage
from demo.engine import why_not
from powerstrip.net.config_file import RACY_SECONDS

ENGINE_DIRECTORY = Path("/var/lib/powerstrip-bench")

DESCRIPTORS = 2 * FULL.idle_streams + SPARE_DESCRIPTORS


@frozen
class Settings:
    """
    What is run.
    """

    rounds: int
    quick: bool
    only: tuple[str, ...]
    """Patterns of the names of measures."""

    candidates: tuple[str, ...]
    engine: bool
    """Whether a real engine is measured as well."""


class Run:
    """
    Takes all figures.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._sizes = QUICK if settings.quick else FULL
        self._cpus = Cpus.share()
        self._results = Results()
        self._candidates = _installed(settings.candidates)

    def run(self) -> dict[str, Any]:
        """
        Run all rounds.

        Returns:
            What ``--json`` keeps.
        """
        _raise_descriptor_limit()
        started = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="psb-", dir="/tmp") as directory:
            programs = Programs.compile(Path(directory))
            measures = self._wanted(MEASURES)
            if measures:
                for count in range(1, self._settings.rounds + 1):
                    _say(f"round {count} of {self._settings.rounds}")
                    self._run_round(programs, measures)
            if self._settings.engine:
                self._run_engine(programs)
        return {
            "machine": _machine(),
            "versions": {it.name: it.version() for it in self._candidates},
            "settings": {
                "rounds": self._settings.rounds,
                "cpus": asdict(self._cpus),
                "sizes": asdict(self._sizes),
                "idle_streams": min(self._sizes.idle_streams, most_connections()),
                "seconds": round(time.monotonic() - started),
            },
            "samples": self._results.samples,
        }

    def _wanted(self, measures: Sequence[Measure]) -> list[Measure]:
        patterns = self._settings.only
        return [it for it in measures if any(fnmatchcase(it.name, p) for p in patterns)]

    def _run_round(self, programs: Programs, measures: Sequence[Measure]) -> None:
        with Stage(programs, self._cpus, self._sizes) as stage:
            stage.start_stub()
            proxies = [stage.start(candidate) for candidate in self._candidates]
            _settle()
            for measure in measures:
                if not measure.hooked:
                    self._run_measure(stage, measure, proxies)
            self._run_hooked(stage, [measure for measure in measures if measure.hooked])

    def _run_hooked(self, stage: Stage, measures: Sequence[Measure]) -> None:
        if not measures:
            return
        stage.start_adapters()
        config = hooks_config(list(stage.adapters.values()))
        proxies = [
            stage.start(candidate, config)
            for candidate in self._candidates
            if candidate.name in measures[0].candidates
        ]
        _settle()
        for measure in measures:
            self._run_measure(stage, measure, proxies)

    def _run_engine(self, programs: Programs) -> None:
        reason = why_not()
        if reason is not None:
            raise BenchError(reason)
        with RealEngine.started(ENGINE_DIRECTORY) as real:
            measures = self._wanted(real.measures())
            rounds = self._settings.rounds * ENGINE_ROUNDS
            with Stage(programs, self._cpus, self._sizes, real.engine.socket) as stage:
                proxies = [stage.start(it) for it in self._candidates if it.name in ENGINE_PROXIES]
                _settle()
                for count in range(1, rounds + 1):
                    _say(f"real engine, round {count} of {rounds}")
                    for measure in measures:
                        self._run_measure(stage, measure, proxies)
        with suppress(OSError):
            ENGINE_DIRECTORY.rmdir()

    def _run_measure(self, stage: Stage, measure: Measure, proxies: Iterable[Running]) -> None:
        for running in proxies:
            if running.candidate.name not in measure.candidates:
                continue
            if measure.fresh:
                running = stage.start(running.candidate)
            figures = self._take(stage, measure, running)
            self._results.add(measure.name, running.candidate.name, figures)

    def _take(self, stage: Stage, measure: Measure, running: Running) -> Figures | None:
        name = f"  {measure.name:16} {running.candidate.title:22}"
        try:
            figures = measure.take(stage, running)
        except (BenchError, subprocess.TimeoutExpired) as error:
            _say(f"{name} failed: {error}")
            return None
        _say(name + "  ".join(f"{key} {number(value)}" for key, value in figures.items()))
        return figures


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def _installed(names: Sequence[str]) -> list[Candidate]:
    """
    The candidates that can be run, of those that are asked for.
    """
    found = []
    for candidate in CANDIDATES:
        if candidate.name not in names:
            continue
        reason = candidate.why_not()
        if reason is None:
            found.append(candidate)
        else:
            _say(f"bench: goes on without, since {reason}")
    return found


def _settle() -> None:
    """
    Wait until Powerstrip trusts the age of its configuration file, which was just written.
    """
    time.sleep(RACY_SECONDS)


def _raise_descriptor_limit() -> None:
    """
    Let proxies hold as many streams as are measured, or as many as this machine allows.
    """
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard == resource.RLIM_INFINITY or hard >= DESCRIPTORS:
        resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, hard))
        return
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with suppress(ValueError, PermissionError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))


def _machine() -> dict[str, str | int]:
    models = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return {
        "cpu": models[0] if models else platform.machine(),
        "cpus": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }
