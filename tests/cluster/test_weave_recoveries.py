"""
A container has its address at every start, whatever has ended in between, and keeps it while it
runs.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from ipaddress import IPv4Interface

import pytest
from attrs import frozen
from powerstrip_weave.networks.links import Links
from powerstrip_weave.networks.namespaces import Namespace
from powerstrip_weave.networks.veths import UNFINISHED_INTERFACE, host_end_name

from tests.cluster.asking import asking_all_the_time, longest_silence
from tests.cluster.hosts import SERVE, Host, Observer, until

RecordProperty = Callable[[str, object], None]


@frozen
class Server:
    """
    A container that serves, on a host.
    """

    host: Host
    id: str


Happening = Callable[[Server], None]
"""After it the server is to serve again, from another start."""


def process_1_is_killed(server: Server) -> None:
    os.kill(server.host.docker.pid(server.id), signal.SIGKILL)


def docker_restart(server: Server) -> None:
    server.host.docker.must("restart", server.id)


def docker_stop_and_start(server: Server) -> None:
    server.host.docker.must("stop", server.id)
    server.host.docker.must("start", server.id)


def restart_past_powerstrip(server: Server) -> None:
    server.host.past_powerstrip.must("restart", server.id)


def engine_is_restarted(server: Server) -> None:
    server.host.node.engine.restart()


def engine_is_killed(server: Server) -> None:
    server.host.node.engine.kill()
    server.host.node.engine.restart()


def engine_is_restarted_without_adapter(server: Server) -> None:
    server.host.node.kill_program("weave")
    server.host.node.engine.restart()
    server.host.start_adapter()


def restart_without_adapter(server: Server) -> None:
    server.host.node.stop_program("weave")
    assert server.host.docker("restart", server.id).status == 1
    server.host.start_adapter()


def adapter_is_killed_when_the_interface_is_there(server: Server) -> None:
    with_attachment_cut_off(server, "", 0)
    server.host.start_adapter()


def adapter_is_killed_while_it_asks_for_the_address(server: Server) -> None:
    with_attachment_cut_off(server, UNFINISHED_INTERFACE, 0.15)
    server.host.start_adapter()


def adapter_is_killed_when_the_address_is_there(server: Server) -> None:
    with_attachment_cut_off(server, "ethwe", 0)
    server.host.start_adapter()


def adapter_is_killed_once_more_while_it_catches_up(server: Server) -> None:
    with_attachment_cut_off(server, UNFINISHED_INTERFACE, 0.05)
    with Links(Namespace(server.host.node.namespace)) as links:
        left = links.find(host_end_name(server.id))
        assert left is not None
        server.host.start_adapter()
        wait_for_interface(links, server, UNFINISHED_INTERFACE, left.index)
    server.host.node.kill_program("weave")
    server.host.start_adapter()


def powerstrip_is_killed_while_the_adapter_attaches(server: Server) -> None:
    with_attachment_cut_off(server, UNFINISHED_INTERFACE, 0, program="powerstrip")
    server.host.node.start_powerstrip()


HAPPENINGS: tuple[Happening, ...] = (
    process_1_is_killed,
    docker_restart,
    docker_stop_and_start,
    restart_past_powerstrip,
    engine_is_restarted,
    engine_is_killed,
    engine_is_restarted_without_adapter,
    restart_without_adapter,
    adapter_is_killed_when_the_interface_is_there,
    adapter_is_killed_while_it_asks_for_the_address,
    adapter_is_killed_when_the_address_is_there,
    adapter_is_killed_once_more_while_it_catches_up,
    powerstrip_is_killed_while_the_adapter_attaches,
)


@pytest.mark.parametrize("happening", HAPPENINGS, ids=lambda happening: happening.__name__)
def test_the_address_is_back(
    host1: Host,
    observer: Observer,
    address: IPv4Interface,
    happening: Happening,
    record_property: RecordProperty,
) -> None:
    """
    A container with a restart policy serves at its address again, from a new start.
    """
    server = Server(host1, host1.serve(address, "--restart=always"))
    said = observer.answer_of(address)

    happening(server)
    over = time.monotonic()
    assert observer.answer_of(address, but=said)

    waited = time.monotonic() - over
    what = happening.__name__.replace("_", " ")
    record_property("figure", f"weave: {what}: serves again {waited:.2f} s later")


def test_a_new_container_whose_attachment_is_cut_off_has_its_address(
    host1: Host, observer: Observer, address: IPv4Interface
) -> None:
    """
    Who runs a container is told that the adapter has ended in the middle, and the container has
    its address when the adapter is back.
    """
    environment = ("-e", f"WEAVE_CIDR={address}")
    run = host1.docker.begin("run", "-d", *environment, "busybox", "sh", "-c", SERVE)
    with Links(Namespace(host1.node.namespace)) as links:
        until(lambda: any(link.name.startswith("wv-") for link in links.all()))
    host1.node.kill_program("weave")
    _, stderr = run.communicate(timeout=60)
    host1.start_adapter()

    assert run.returncode == 125
    assert "powerstrip: adapter weave (" in stderr
    assert observer.answer_of(address)


@pytest.mark.parametrize("ended_by", ["SIGTERM", "SIGKILL"])
def test_the_network_stays_while_the_adapter_is_away(
    host1: Host, observer: Observer, address: IPv4Interface, ended_by: str
) -> None:
    """
    A container goes on serving while the adapter ends, is away, and starts again.
    """
    host1.serve(address)
    said = observer.answer_of(address)

    with asking_all_the_time(observer, address) as answers:
        if ended_by == "SIGTERM":
            host1.node.stop_program("weave")
        else:
            host1.node.kill_program("weave")
        assert observer.pings(address.ip)
        host1.start_adapter()
        began = time.monotonic()
        until(lambda: time.monotonic() > began + 0.5)

    assert {answer.said for answer in answers} == {said}
    assert longest_silence(answers) < 0.5


def with_attachment_cut_off(
    server: Server, interface: str, later_seconds: float, program: str = "weave"
) -> None:
    """
    Restart a server, and kill a program in the middle.

    Args:
        interface: The container has it when the program is killed. If empty, the host end will do.
        later_seconds: How long after that.
    """
    with Links(Namespace(server.host.node.namespace)) as links:
        before = links.find(host_end_name(server.id))
        assert before is not None
        restart = server.host.docker.begin("restart", server.id)
        wait_for_interface(links, server, interface, before.index)
        time.sleep(later_seconds)
        server.host.node.kill_program(program)
    restart.communicate(timeout=60)
    # The address is there a moment before the client is told.
    assert interface == "ethwe" or restart.returncode == 1


def wait_for_interface(links: Links, server: Server, interface: str, old_index: int) -> None:
    """
    Wait until a container is being attached anew, and has an interface.
    """

    def has_it() -> bool:
        end = links.find(host_end_name(server.id))
        if end is None or end.index == old_index or end.peer_namespace is None:
            return False
        return not interface or links.find_elsewhere(interface, end.peer_namespace) is not None

    until(has_it)
