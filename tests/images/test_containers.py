"""
Powerstrip and both adapters in containers, linked as in the talk, and in a network of today.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from ipaddress import IPv4Interface
from pathlib import Path

import pytest

from demo.engine import PrivateEngine
from tests.adapters.flocker.storage.pools import ZfsFusePool
from tests.images.docker import CLIENT, docker, wait_for

COMPOSE_FILE = Path(__file__).parent.parent.parent / "compose.yaml"

TALKS_CONFIGURATION = """\
version: 1
endpoints:
  "POST /*/containers/create":
    pre: [flocker, weave]
  "POST /*/containers/*/start":
    post: [weave]
adapters:
  weave: http://weave/extension
  flocker: http://flocker/flocker-adapter
"""

MYAPP = """\
FROM busybox
CMD ip -oneline -4 address show dev ethwe >/data/address && exec sleep 600
"""


class Front:
    """
    Where clients of Powerstrip come in: port 2375 of the engine's host.
    """

    docker_host = "tcp://127.0.0.1:2375"

    def __init__(self, engine: PrivateEngine) -> None:
        self._enter = ("nsenter", f"--net={engine.namespace}")

    def docker(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """
        Run the docker client there.
        """
        command = [*self._enter, CLIENT, "--host", self.docker_host, *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    def is_open(self) -> bool:
        """
        Whether Powerstrip and both adapters answer, which a container tells that both change.
        """
        made = self.docker("create", "--env=WEAVE_CIDR=10.0.0.9/24", "-v/flocker/probe:/p", "myapp")
        self.docker("rm", made.stdout.strip() or "none")
        return made.returncode == 0


@pytest.fixture
def host_pool(pool: ZfsFusePool | None) -> ZfsFusePool:
    """
    The pool of the engine's host.
    """
    if pool is None:
        pytest.skip("there can be no pool of ZFS here")
    return pool


@pytest.fixture
def front(engine: PrivateEngine, host_pool: ZfsFusePool, tmp_path: Path) -> Iterator[Front]:
    """
    An engine with the talk's ``myapp`` and no containers.
    """
    (tmp_path / "Dockerfile").write_text(MYAPP)
    built = docker(engine, "build", "--tag=myapp", str(tmp_path))
    assert built.returncode == 0, built.stderr
    (tmp_path / "adapters.yml").write_text(TALKS_CONFIGURATION)
    yield Front(engine)
    for _ in range(2):  # one that another has made
        left = docker(engine, "ps", "--all", "--quiet").stdout.split()
        docker(engine, "rm", "--force", "--volumes", *left)
    host_pool.empty()


def run(engine: PrivateEngine, *arguments: str) -> None:
    """
    Start a container.
    """
    started = docker(engine, "run", "-d", *arguments)
    assert started.returncode == 0, started.stderr


def logs(engine: PrivateEngine) -> str:
    """
    What all containers have said.
    """
    names = docker(engine, "ps", "--all", "--format={{.Names}}").stdout.split()
    return "\n".join(f"{name}: {docker(engine, 'logs', name).stdout}" for name in names)


def has_address_and_data(front: Front, pool: ZfsFusePool) -> bool:
    """
    Whether the talk's command for both gives a container its address and its dataset.
    """
    given = ("-e", "WEAVE_CIDR=10.0.0.1/24", "-v", "/flocker/dataset1:/data")
    done = front.docker("run", "-d", *given, "myapp")
    assert done.returncode == 0, done.stderr
    address = pool.outside(pool.mount_point) / "dataset1" / "address"
    wait_for(lambda: address.exists() and address.stat().st_size > 0, lambda: "no data")
    datasets = pool.run("zfs", "list", "-H", "-o", "name", "-r", pool.name).split()
    words = address.read_text().split()
    return f"{pool.name}/dataset1" in datasets and IPv4Interface(
        words[words.index("inet") + 1]
    ) == IPv4Interface("10.0.0.1/24")


def test_linked_containers_as_in_the_talk(
    engine: PrivateEngine, front: Front, host_pool: ZfsFusePool, tmp_path: Path
) -> None:
    """
    The talk's commands are taken word for word, but for what is this machine's own: where the
    engine's socket is, and which processes are the host's.
    """
    socket = f"{engine.socket}:/var/run/docker.sock"
    run(
        engine,
        *("--name", "powerstrip-weave", "--expose", "80", "-v", socket),
        *("powerstrip-weave", "launch", "--enter-network", str(engine.pid)),
    )
    run(
        engine,
        *("--name", "powerstrip-flocker", "--expose", "80", "-v", socket),
        *("--pid=host", "--cap-add=SYS_ADMIN", "--cap-add=SYS_PTRACE", "powerstrip-flocker"),
        *(f"--enter-mounts={engine.pid}", "--listen=tcp://0.0.0.0:80"),
        *("--node=node1", f"--storage=zfs:{host_pool.name}"),
    )
    run(
        engine,
        *("--name", "powerstrip", "-v", socket),
        *("-v", f"{tmp_path}/adapters.yml:/etc/powerstrip/adapters.yml"),
        *("--link", "powerstrip-weave:weave", "--link", "powerstrip-flocker:flocker"),
        *("-p", "2375:2375", "powerstrip"),
    )
    wait_for(front.is_open, lambda: logs(engine))

    assert has_address_and_data(front, host_pool)


def test_what_was_launched_ends_with_who_launched_it(engine: PrivateEngine, front: Front) -> None:
    """
    The container that has the adapter's rights goes with the one of the talk, also when that is
    killed.
    """
    socket = f"{engine.socket}:/var/run/docker.sock"
    run(
        engine,
        *("--name", "powerstrip-weave", "-v", socket),
        *("powerstrip-weave", "launch", "--enter-network", str(engine.pid)),
    )
    names = ("ps", "--format={{.Names}}")
    wait_for(lambda: "-host" in docker(engine, *names).stdout, lambda: logs(engine))
    wait_for(lambda: "listening" in logs(engine), lambda: logs(engine))

    docker(engine, "kill", "powerstrip-weave")

    wait_for(lambda: docker(engine, *names).stdout == "", lambda: logs(engine))


def test_services_in_a_network_of_their_own(
    engine: PrivateEngine, front: Front, host_pool: ZfsFusePool, tmp_path: Path
) -> None:
    """
    Compose starts what ``compose.yaml`` says, and nothing else has to be named.
    """
    settings = {
        "DOCKER_HOST": engine.docker_host,
        "DOCKER_SOCKET": str(engine.socket),
        "HOST_PROCESS": str(engine.pid),
        "POWERSTRIP_CONFIG": str(tmp_path),
        "FLOCKER_STATE": str(tmp_path / "state"),
        "STORAGE": f"zfs:{host_pool.name}",
        "ZFS_DEVICE": "/dev/null",
    }
    compose = ["docker-compose", "--file", str(COMPOSE_FILE), "--project-name", "talk"]
    started = subprocess.run(
        [*compose, "up", "-d"],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert started.returncode == 0, started.stderr
    wait_for(front.is_open, lambda: logs(engine))

    assert has_address_and_data(front, host_pool)
