"""
The engine that tests and demo start leaves the machine as it was.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.engine import PrivateEngine

NAME = f"own-{os.getpid()}"
SLEEPER = {
    "Image": "busybox",
    "Cmd": ["sleep", "1000"],
    "HostConfig": {"Init": True, "RestartPolicy": {"Name": "always"}},
}


@pytest.fixture
def own(engine: PrivateEngine, short_tmp: Path) -> Iterator[PrivateEngine]:
    """
    An engine beside that of the session, with a container that starts with it.
    """
    own = PrivateEngine(short_tmp, NAME, dockerd=engine.dockerd)
    own.start()
    own.import_busybox()
    for target, body in (("create?name=sleeper", SLEEPER), ("sleeper/start", {})):
        status, answer = own.request("POST", f"/containers/{target}", json.dumps(body).encode())
        assert status < 300, answer
    yield own
    own.stop()


def running(engine: PrivateEngine) -> list[str]:
    """
    The names of the engine's running containers.
    """
    containers = json.loads(engine.request("GET", "/containers/json")[1])
    return [container["Names"][0] for container in containers]


def traces(engine: PrivateEngine) -> list[str]:
    """
    What of an engine is on the machine: processes, mounts, cgroups, namespace, files.
    """
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = entry.read_bytes().decode(errors="replace")
        except OSError:
            continue
        found += [command] if f"{engine.directory}/" in command else []
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    found += [mount for mount in mounts if f"{engine.directory}/" in mount]
    found += map(str, Path("/sys/fs/cgroup").glob(f"**/powerstrip-{engine.name}"))
    found += [str(path) for path in (engine.directory, engine.namespace) if path.exists()]
    return found


def test_nothing_is_left_of_a_stopped_engine(own: PrivateEngine) -> None:
    """
    An engine that has stopped leaves nothing, though a container ran in it.
    """
    assert traces(own) != []

    own.stop()

    assert traces(own) == []


def test_nothing_is_left_of_a_killed_engine(own: PrivateEngine) -> None:
    """
    What a dockerd left when it was killed goes when the next engine of this name starts.
    """
    os.kill(own.pid, signal.SIGKILL)
    with PrivateEngine(own.directory.parent, own.name) as next_engine:
        assert running(next_engine) == []

    assert traces(own) == []


def test_containers_survive_a_restart(own: PrivateEngine) -> None:
    """
    A restarted engine has its containers, and starts those that are to run always.
    """
    assert running(own) == ["/sleeper"]

    own.restart()

    assert running(own) == ["/sleeper"]


def test_containers_survive_a_crash(own: PrivateEngine) -> None:
    """
    An engine that was killed has its containers when it is restarted, and starts them again.
    """
    own.kill()

    own.restart()

    assert running(own) == ["/sleeper"]
