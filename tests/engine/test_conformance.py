"""
Every docker command does through powerstrip what it does without.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path

import pytest

from demo.engine import PrivateEngine, busybox_root
from tests.engine.big_image import image_archive
from tests.engine.commands import COMMANDS, LONG_RUNNING, Command, Mode
from tests.engine.conftest import StartPowerstrip
from tests.engine.noop_adapter import NoopAdapter
from tests.engine.proxy import Proxy
from tests.engine.shell import Outcome, Shell

WORKERS = 4
"""Rows spend most of their time waiting for the engine."""

TABLE = [
    pytest.param(mode, command, id=f"{mode}-{command.name}")
    for command in COMMANDS
    for mode in command.modes
]


def docker_client() -> str:
    """
    The docker command to test with.

    ``POWERSTRIP_TEST_DOCKER`` names another than the distribution's, which goes
    before one in ``/usr/local`` because that may lack the plugins it needs to build.
    """
    named = os.environ.get("POWERSTRIP_TEST_DOCKER")
    found = named or shutil.which("docker", path="/usr/bin") or shutil.which("docker")
    if found is None:
        pytest.skip("not installed: docker (scripts/install-engine installs it)")
    return found


@pytest.fixture(scope="module")
def places() -> Iterator[dict[str, str]]:
    """
    What the table's variables stand for.
    """
    with tempfile.TemporaryDirectory(prefix="ps-conformance-") as directory:
        big_image, programs = Path(directory, "big.tar"), Path(directory, "bin")
        with big_image.open("wb") as file:
            for piece in image_archive("big:latest", busybox_root(), 300_000_000):
                file.write(piece)
        programs.mkdir()
        (programs / "docker").symlink_to(docker_client())
        yield {"BIG": str(big_image), "PATH": f"{programs}:{os.environ['PATH']}"}


@pytest.fixture(scope="module")
def direct(
    engine: PrivateEngine, places: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Shell:
    """
    The Shell whose docker speaks to the engine; the containers that rows share are running.
    """
    shell = Shell(engine, engine.docker_host, places)
    shell.must(LONG_RUNNING, tmp_path_factory.mktemp("direct"))
    return shell


@pytest.fixture(scope="module")
def proxies(powerstrip: StartPowerstrip, noop_adapter: NoopAdapter) -> dict[Mode, Proxy]:
    """
    Two powerstrips: with no hook, and with two on everything.
    """
    return {"plain": powerstrip(), "hooked": powerstrip(noop_adapter.on_everything())}


@pytest.fixture(scope="module")
def proxied(
    engine: PrivateEngine, proxies: dict[Mode, Proxy], places: dict[str, str]
) -> dict[Mode, Shell]:
    """
    The Shells whose docker speaks to powerstrip.
    """
    return {mode: Shell(engine, proxy.docker_host, places) for mode, proxy in proxies.items()}


HERE = Path(__file__)

Outcomes = Mapping[Mode | None, Outcome]


@pytest.fixture(scope="module")
def outcomes(
    request: pytest.FixtureRequest, direct: Shell, proxied: dict[Mode, Shell]
) -> Iterator[Mapping[str, Future[Outcomes]]]:
    """
    What came of each row that this session asks for: without a proxy, and in its modes.

    The rows run beside one another and ahead of their tests, but each in one mode
    after the other: so it meets the same engine, and may do what can be done once only.
    """
    modes: dict[str, list[Mode]] = {}
    for item in request.session.items:
        if item.path == HERE and "command" in getattr(item, "fixturenames", ()):
            assert isinstance(item, pytest.Function)
            mode, command = (item.callspec.params[name] for name in ("mode", "command"))
            modes.setdefault(command.name, []).append(mode)

    def run(command: Command) -> Outcomes:
        return {
            None: direct.run(command),
            **{mode: proxied[mode].run(command) for mode in modes[command.name]},
        }

    with ThreadPoolExecutor(WORKERS) as pool:
        named = {command.name: command for command in COMMANDS}
        yield {name: pool.submit(run, named[name]) for name in modes}
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize(("mode", "command"), TABLE)
def test_as_without_proxy(
    mode: Mode, command: Command, outcomes: Mapping[str, Future[Outcomes]]
) -> None:
    """
    A docker command has the same exit status and the same output with powerstrip as without.
    """
    outcome = outcomes[command.name].result()
    expected = outcome[None]
    assert expected.status == command.status, str(expected)
    assert re.search(command.shows, expected.stdout + expected.stderr), str(expected)

    assert str(outcome[mode]) == str(expected)


def test_hooks_run(proxied: dict[Mode, Shell], noop_adapter: NoopAdapter) -> None:
    """
    The table's hooks are in force: both kinds are called for a docker command.
    """
    before = noop_adapter.calls()
    proxied["hooked"].run(Command("ps", "docker ps"))
    after = noop_adapter.calls()

    assert after["pre-hook"] > before["pre-hook"]
    assert after["post-hook"] > before["post-hook"]


@pytest.mark.parametrize("mode", ["plain", "hooked"])
def test_no_connection_is_left(
    mode: Mode, proxies: dict[Mode, Proxy], outcomes: Mapping[str, Future[Outcomes]]
) -> None:
    """
    When all clients have gone, also those that were killed, powerstrip holds no connection.
    """
    wait(outcomes.values())
    deadline = time.monotonic() + 10
    while proxies[mode].unix_sockets() > 1 and time.monotonic() < deadline:
        time.sleep(0.05)

    assert proxies[mode].unix_sockets() == 1
