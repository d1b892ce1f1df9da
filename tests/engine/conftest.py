"""
A real Docker Engine for the tests, and powerstrips in front of it.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import pytest

from demo.engine import PrivateEngine, why_not
from tests.engine.noop_adapter import NoopAdapter
from tests.engine.proxy import Proxy

HERE = Path(__file__).parent
ENGINES = Path("/tmp/powerstrip-tests")
"""Not below pytest's own directory: a socket's path has 107 characters at most."""

NO_HOOKS = "version: 1\nendpoints: {}\nadapters: {}\n"


class StartPowerstrip(Protocol):
    """
    Starts a powerstrip in front of the engine; it is stopped with the test session.
    """

    def __call__(self, config: str = NO_HOOKS, *options: str) -> Proxy: ...


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """
    Everything in this directory needs the engine and is marked so.
    """
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.engine)


@pytest.fixture(scope="session")
def engine() -> Iterator[PrivateEngine]:
    """
    A Docker Engine of this test session, with the image busybox.

    ``POWERSTRIP_TEST_DOCKERD`` is the command of another dockerd to run.
    """
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    _remove_engines_of_dead_sessions()
    dockerd = shlex.split(os.environ.get("POWERSTRIP_TEST_DOCKERD", "dockerd"))
    with PrivateEngine(ENGINES, f"tests-{os.getpid()}", dockerd=dockerd) as engine:
        engine.import_busybox()
        yield engine


@pytest.fixture(scope="session")
def powerstrip(engine: PrivateEngine) -> Iterator[StartPowerstrip]:
    """
    A function that starts a powerstrip, given its configuration and options.
    """
    with ExitStack() as stack:

        def start(config: str = NO_HOOKS, *options: str) -> Proxy:
            directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="ps-", dir="/tmp"))
            proxy = Proxy(Path(directory), engine.docker_host, config, *options)
            stack.callback(proxy.stop)
            return proxy

        yield start


@pytest.fixture(scope="session")
def noop_adapter() -> Iterator[NoopAdapter]:
    """
    An adapter that changes nothing, in a process of its own.
    """
    command = [sys.executable, str(HERE / "noop_adapter.py")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield NoopAdapter(int(process.stdout.readline()))
        process.terminate()


def _remove_engines_of_dead_sessions() -> None:
    for left in ENGINES.glob("tests-*"):
        if not Path("/proc", left.name.removeprefix("tests-")).exists():
            PrivateEngine(ENGINES, left.name).stop()
