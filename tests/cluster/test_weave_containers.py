"""
Containers of all kinds have their address, and all else that they have without the adapter.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from ipaddress import IPv4Interface
from pathlib import Path

import pytest

from tests.cluster.docker import client
from tests.cluster.hosts import SERVE, SHOW, Host, Observer
from tests.engine.commands import Type
from tests.engine.terminal import run_on_terminal

NewAddress = Callable[[], IPv4Interface]

KINDS = {
    "another user": ("--user", "1000"),
    "read-only": ("--read-only",),
    "no capabilities": ("--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
    "no other network": ("--network", "none"),
    "a network of its own": ("--network", "own"),
}

COMPOSE = """\
version: "2.4"
services:
  web:
    image: busybox
    command: ["sh", "-c", "{command}"]
    environment:
      WEAVE_CIDR: {address}
      COLOUR: {colour}
"""


def ask(server: str, port: int = 80) -> tuple[str, ...]:
    """
    A command that prints what a server says.

    It is not busybox' wget: Debian's static one gets a SIGSEGV in many a network.
    """
    request = "printf 'GET /index.html HTTP/1.0\\r\\n\\r\\n'"
    return ("sh", "-c", f"{request} | busybox nc -w 2 {server} {port} | tail -n 1")


@pytest.fixture
def own_network(host1: Host) -> Iterator[str]:
    """
    A user-defined network.
    """
    host1.docker.must("network", "create", "own")
    yield "own"
    host1.remove_containers()
    host1.docker.must("network", "rm", "own")


@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS.keys())
@pytest.mark.usefixtures("own_network")
def test_a_container_of_any_kind_has_its_address(
    host1: Host, observer: Observer, address: IPv4Interface, options: tuple[str, ...]
) -> None:
    """
    The command of a container finds its address, and reaches other hosts, whatever else it is.
    """
    environment = ("-e", f"WEAVE_CIDR={address}")
    command = ("sh", "-c", SHOW, *ask(str(observer.address.ip)))

    ran = host1.docker("run", "--rm", *environment, *options, "busybox", *command)

    assert (ran.status, ran.stderr) == (0, "")
    assert ran.stdout.split() == [str(address), observer.says]


def test_an_image_with_nothing_in_it_has_its_address(
    host1: Host, observer: Observer, address: IPv4Interface, tmp_path: Path
) -> None:
    """
    The one program of an image FROM scratch reaches other hosts; its entry point is the image's.
    """
    shutil.copy(str(shutil.which("busybox")), tmp_path / "ping")
    (tmp_path / "Dockerfile").write_text(
        'FROM scratch\nCOPY ping /\nENTRYPOINT ["/ping", "-c", "1", "-W", "1"]\n'
    )
    host1.docker.must("build", "--tag", "scratch-ping", str(tmp_path))

    environment = ("-e", f"WEAVE_CIDR={address}")
    ran = host1.docker("run", "--rm", *environment, "scratch-ping", str(observer.address.ip))

    assert (ran.status, ran.stderr) == (0, "")
    assert "1 packets received" in ran.stdout


def test_a_container_on_a_terminal_has_its_address(
    host1: Host, address: IPv4Interface, tmp_path: Path
) -> None:
    """
    A shell of docker run --rm -ti has its address at its first prompt, and a terminal.
    """
    run = f"{client()} run --rm -ti --name shell -e WEAVE_CIDR={address} busybox sh"
    moves = (
        Type("# ", b"tty; ip -o -4 addr show ethwe\r"),
        Type("# ", b"exit 7\r"),
    )

    status, written = run_on_terminal(run, moves, tmp_path, host1.docker.environment)

    assert status == 7
    assert b"/dev/pts/0" in written
    assert f"inet {address} ".encode() in written
    assert host1.docker("inspect", "shell").status == 1


def test_a_container_can_have_several_addresses(
    host1: Host, observer: Observer, new_address: NewAddress
) -> None:
    """
    Each of several addresses is served at.
    """
    first, second = new_address(), new_address()
    arguments = ("busybox", "sh", "-c", SERVE)

    host1.docker.must("run", "-d", "-e", f"WEAVE_CIDR={first},{second}", *arguments)

    assert observer.answer_of(first) == observer.answer_of(second)


def test_exec_has_the_containers_network(host1: Host, address: IPv4Interface) -> None:
    """
    What docker exec runs, as soon as docker run has ended, has the container's address.
    """
    container = host1.serve(address)

    shown = host1.docker.must("exec", container, "ip", "-o", "-4", "addr", "show", "ethwe")

    assert f"inet {address} " in shown


def test_published_ports_still_work(
    host1: Host, host2: Host, observer: Observer, address: IPv4Interface
) -> None:
    """
    A published port of a container is reached by its host's own address.
    """
    host1.serve(address, "-p", "8080:80")
    said = observer.answer_of(address)

    published = host2.node.run(*ask(str(host1.node.address.ip), 8080)).strip()

    assert published == said


def test_the_engines_networks_still_work(
    host1: Host, observer: Observer, address: IPv4Interface, own_network: str
) -> None:
    """
    A container with an address is reached by its name on a user-defined network, by one without.
    """
    host1.serve(address, "--network", own_network, "--name", "web")
    said = observer.answer_of(address)

    network = ("--network", own_network)

    assert host1.docker.must("run", "--rm", *network, "busybox", *ask("web")) == said


@pytest.mark.parametrize("environment", [(), ("-e", "WEAVE_CIDR=none")], ids=["left out", "none"])
def test_other_containers_are_left_alone(host1: Host, environment: tuple[str, ...]) -> None:
    """
    A container that asks for no address has no interface more than without the adapter.
    """
    shown = host1.docker.must("run", "--rm", *environment, "busybox", "ls", "/sys/class/net")

    assert shown.split() == ["eth0", "lo"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--net=host", "-e", "WEAVE_CIDR=10.255.0.1/16"), "can't have a WEAVE_CIDR too"),
        (("-e", "WEAVE_CIDR=10.255.0.0/16"), "is the network itself"),
    ],
    ids=["network of the host", "no host's address"],
)
def test_what_cannot_be_is_refused(host1: Host, options: tuple[str, ...], sentence: str) -> None:
    """
    The docker client prints why a container can't have what WEAVE_CIDR says, and none is made.
    """
    refused = host1.docker("run", "--name", "refused", *options, "busybox", "true")

    assert refused.status == 125
    assert "weave: " in refused.stderr
    assert sentence in refused.stderr
    assert host1.docker("inspect", "refused").status == 1


def test_a_committed_container_runs_again(
    host1: Host, observer: Observer, address: IPv4Interface
) -> None:
    """
    The image of a container runs as that did, with its address, and waits for it once.
    """
    first = host1.serve(address)
    said = observer.answer_of(address)
    host1.docker.must("stop", first)
    host1.docker.must("commit", first, "committed")

    again = host1.docker.must("run", "-d", "committed")

    assert observer.answer_of(address, but=said)
    inspected = json.loads(host1.docker.must("inspect", again))[0]
    command = [inspected["Path"], *inspected["Args"]]
    assert sum("wait-for-weave" in part for part in command) == 1


def test_compose_makes_a_service_again(
    host1: Host, observer: Observer, address: IPv4Interface, tmp_path: Path
) -> None:
    """
    A service that docker-compose makes anew, since its file has changed, has the address again.
    """

    def up(colour: str) -> None:
        file = COMPOSE.format(command=SERVE, address=address, colour=colour)
        (tmp_path / "docker-compose.yml").write_text(file)
        compose("up", "--detach", "--no-color")

    def compose(*arguments: str) -> None:
        done = subprocess.run(
            ["docker-compose", "--project-name", "again", *arguments],
            cwd=tmp_path,
            env=host1.docker.environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr

    up("red")
    said = observer.answer_of(address)
    up("blue")

    assert observer.answer_of(address, but=said)
    compose("down")


def test_a_container_is_told_to_stop(
    host1: Host, observer: Observer, address: IPv4Interface
) -> None:
    """
    The SIGTERM of docker stop reaches the command, which ends at once and as it wants to.
    """
    container = host1.serve(address)
    observer.answer_of(address)

    began = time.monotonic()
    host1.docker.must("stop", container)

    assert time.monotonic() - began < 3
    state = host1.docker.must("inspect", "--format", "{{.State.ExitCode}}", container)
    assert state == "0"
