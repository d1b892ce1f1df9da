"""
Every docker command does through powerstrip what it does without.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from demo.engine import PrivateEngine, busybox_root
from tests.engine.big_image import image_archive
from tests.engine.commands import BOX, COMMANDS, Command, Mode
from tests.engine.conftest import StartPowerstrip
from tests.engine.noop_adapter import NoopAdapter
from tests.engine.shell import Outcome, Shell

PREFIXES = {"direct": "nd1", "plain": "np1", "hooked": "nh1"}
"""What ``$N`` is: of one length, so that columns stay where they are."""


@pytest.fixture(scope="session")
def make_shell(engine: PrivateEngine) -> Iterator[Callable[[str, str], Shell]]:
    """
    A function that makes a Shell of a docker host and a prefix; the box is running.
    """
    with tempfile.TemporaryDirectory(prefix="ps-conformance-") as directory:
        big_image, bin_ = Path(directory, "big.tar"), Path(directory, "bin")
        with big_image.open("wb") as file:
            for piece in image_archive("big:latest", busybox_root(), 300_000_000):
                file.write(piece)
        bin_.mkdir()
        (bin_ / "docker").symlink_to(docker_client())

        def make(docker_host: str, prefix: str) -> Shell:
            return Shell(engine, docker_host, prefix, big_image, bin_)

        wait = "until docker exec box test -e /ready; do sleep 0.05; done"
        make(engine.docker_host, "").must(f"{BOX}; {wait}", Path(directory))
        yield make


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


@pytest.fixture(scope="session")
def directly(
    engine: PrivateEngine, make_shell: Callable[[str, str], Shell]
) -> Callable[[Command], Outcome]:
    """
    A function that gives the outcome of a row without a proxy, found out once.
    """
    shell = make_shell(engine.docker_host, PREFIXES["direct"])
    outcomes: dict[str, Outcome] = {}

    def outcome(command: Command) -> Outcome:
        if command.name not in outcomes:
            outcomes[command.name] = shell.run(command)
        return outcomes[command.name]

    return outcome


@pytest.fixture(scope="session")
def proxied(
    request: pytest.FixtureRequest,
    powerstrip: StartPowerstrip,
    make_shell: Callable[[str, str], Shell],
) -> Callable[[Mode], Shell]:
    """
    A function that gives the Shell whose docker speaks to powerstrip.
    """
    shells: dict[Mode, Shell] = {}

    def shell(mode: Mode) -> Shell:
        if mode not in shells:
            config = "version: 1\n"
            if mode == "hooked":
                adapter: NoopAdapter = request.getfixturevalue("noop_adapter")
                config = (
                    'version: 1\nendpoints: {"* /*": {pre: [noop], post: [noop]}}\n'
                    f"adapters: {{noop: {adapter.url}}}\n"
                )
            shells[mode] = make_shell(powerstrip(config).docker_host, PREFIXES[mode])
        return shells[mode]

    return shell


TABLE = [
    pytest.param(mode, command, id=f"{mode}-{command.name}")
    for command in COMMANDS
    for mode in command.modes
]


@pytest.mark.parametrize(("mode", "command"), TABLE)
def test_as_without_proxy(
    mode: Mode,
    command: Command,
    directly: Callable[[Command], Outcome],
    proxied: Callable[[Mode], Shell],
) -> None:
    """
    A docker command has the same exit status and the same output with powerstrip as without.
    """
    expected = directly(command)
    assert expected.status == command.status, str(expected)
    assert re.search(command.shows, expected.stdout + expected.stderr), str(expected)

    assert str(proxied(mode).run(command)) == str(expected)


def test_hooks_ran(
    proxied: Callable[[Mode], Shell],
    noop_adapter: NoopAdapter,
    directly: Callable[[Command], Outcome],
) -> None:
    """
    The table's hooks are in force: both kinds are called for a docker command.
    """
    shell = proxied("hooked")
    before = noop_adapter.calls()
    shell.run(Command("ps", "docker ps"))
    after = noop_adapter.calls()

    assert after["pre-hook"] > before["pre-hook"]
    assert after["post-hook"] > before["post-hook"]
