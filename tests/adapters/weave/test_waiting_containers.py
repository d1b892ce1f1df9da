"""
``wait-for-weave`` in containers of a real engine.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from demo.engine import PrivateEngine, why_not
from tests.adapters.weave.wait_network import (
    FIRST,
    MADE,
    OTHER_UP,
    SECOND,
    TWO,
    UP,
    built_for,
    sleep_begins,
    until,
)

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]

PROGRAM = "/w/wait-for-weave"
BARE = {
    "NetworkMode": "none",
    "ReadonlyRootfs": True,
    "CapDrop": ["ALL"],
    "SecurityOpt": ["no-new-privileges"],
}


def one_file() -> bytes:
    """
    A root file system of one static busybox, as a tar: what ``FROM scratch`` gives.
    """
    buffer = BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as root:
        root.add(str(shutil.which("busybox")), "busybox")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def engine() -> Iterator[PrivateEngine]:
    """
    A Docker Engine with the images busybox, and scratch-busybox of one file.
    """
    with PrivateEngine(Path("/tmp/powerstrip-tests"), f"wait-{os.getpid()}") as engine:
        engine.import_busybox()
        target = "/images/create?fromSrc=-&repo=scratch-busybox&tag=latest"
        status, answer = engine.request("POST", target, one_file(), "application/x-tar")
        assert status == 200, answer
        yield engine


class Container:
    """
    A started container, with the program in it.
    """

    def __init__(self, engine: PrivateEngine, request: dict[str, Any], **host_config: Any) -> None:
        self._engine = engine
        program = built_for(platform.machine())
        host_config["Binds"] = [f"{program}:{PROGRAM}:ro"]
        body = {"Image": "busybox", "Tty": True, **request, "HostConfig": host_config}
        self.id = self._ask("POST", "create", body)["Id"]
        self.start_status, _ = engine.request("POST", f"/containers/{self.id}/start")

    def _ask(self, method: str, target: str, body: dict[str, Any] | None = None) -> Any:
        payload = b"" if body is None else json.dumps(body).encode()
        status, answer = self._engine.request(method, f"/containers/{target}", payload)
        assert status < 300, answer
        return json.loads(answer)

    @property
    def state(self) -> Any:
        """
        What the engine says of its process.
        """
        return self._ask("GET", f"{self.id}/json")["State"]

    def output(self) -> str:
        """
        What it has written, to its terminal.
        """
        logs = f"/containers/{self.id}/logs?stdout=1&stderr=1"
        return self._engine.request("GET", logs)[1].decode().replace("\r\n", "\n")

    def status(self) -> int:
        """
        The status of its process, when it has ended.
        """
        until(lambda: not self.state["Running"])
        status: int = self.state["ExitCode"]
        return status


@pytest.mark.parametrize(
    ("image", "user", "command", "says"),
    [
        ("scratch-busybox", "", "/busybox ip addr", ""),
        ("scratch-busybox", "1000:1000", "/busybox ip addr", ""),
        ("busybox", "nobody", "ip addr", ""),
        ("busybox", "1000", "sh -c", "user 1000 process 1 seccomp 2"),
    ],
)
def test_container_waits_for_its_network(
    engine: PrivateEngine, image: str, user: str, command: str, says: str
) -> None:
    """
    As any user of a read-only image with one file and no rights, the program waits and goes on.
    """
    words = [PROGRAM, *command.split()]
    if says:
        seccomp = "$(sed -n 's/Seccomp:[^0-9]*//p' /proc/self/status)"
        words.append(f"ip addr; echo user $(id -u) process $$ seccomp {seccomp}")
    request = {"Image": image, "User": user, "Entrypoint": words, "Env": [f"WEAVE_CIDR={TWO}"]}
    container = Container(engine, request, **BARE)
    pid = container.state["Pid"]
    sleep_begins(pid)
    for step in (MADE, OTHER_UP, UP, FIRST, SECOND):
        subprocess.run(["nsenter", f"--net=/proc/{pid}/ns/net", "ip", *step.split()], check=True)

    assert container.status() == 0, container.output()
    assert "10.254.0.1/16" in container.output()
    assert says in container.output()


def test_container_without_its_network_ends(engine: PrivateEngine) -> None:
    """
    The user sees why the command did not start.
    """
    environment = [f"WEAVE_CIDR={TWO}", "WEAVE_WAIT_SECONDS=1"]
    container = Container(engine, {"Cmd": [PROGRAM, "true"], "Env": environment})

    sentence = "wait-for-weave: no network after 1 s: ethwe is not there\n"
    assert (container.status(), container.output()) == (120, sentence)


def test_container_can_be_stopped_while_it_waits(engine: PrivateEngine) -> None:
    """
    The engine's stop ends it by its first signal, not by the second that comes ten seconds later.
    """
    container = Container(engine, {"Cmd": [PROGRAM, "true"], "Env": [f"WEAVE_CIDR={TWO}"]})
    sleep_begins(container.state["Pid"])

    engine.request("POST", f"/containers/{container.id}/stop")

    assert container.status() == 143


@pytest.mark.parametrize(
    ("command", "options"),
    [
        (["true"], {}),
        (["false"], {}),
        (["none"], {}),
        (["/none"], {}),
        (["/etc/passwd"], {}),
        (["/etc"], {}),
        (["./busybox", "true"], {"WorkingDir": "/bin"}),
        (["passwd"], {"Env": ["PATH=/etc"]}),
        (["bin"], {"Env": ["PATH=/:/bin"]}),
        (["true"], {"Env": ["PATH="]}),
        (["true"], {"Env": ["PATH=:/none:/bin"]}),
        (["true"], {"Env": ["WITH=/none"], "User": "1000"}),
    ],
)
def test_command_is_found_as_without_the_program(
    engine: PrivateEngine, command: list[str], options: dict[str, Any]
) -> None:
    """
    The status of a command, found or not, is the one that the engine gives it without the program.
    """
    without = Container(engine, {"Cmd": command, **options})
    with_program = Container(engine, {"Cmd": [PROGRAM, *command], **options})

    assert without.status() == with_program.status()
