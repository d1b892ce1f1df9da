"""
A listening socket that others have as well: what is accepted, and what is left alone.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest
import pytest_twisted
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import globalLogPublisher
from zope.interface.verify import verifyObject

from powerstrip.net import shared_port
from powerstrip.net.reactor import Reactor
from powerstrip.net.shared_port import SharedEndpoint, SharedPort
from tests.net.harness import descriptors, until
from tests.net.peers import connect, reactor, settle


class Clients(Factory):
    """
    Notes who has come in.
    """

    noisy = False
    protocol = Protocol

    def __init__(self) -> None:
        self.addresses: list[Any] = []
        self.protocols: list[Protocol] = []

    def buildProtocol(self, addr: Any) -> Protocol:
        self.addresses.append(addr)
        self.protocols.append(Protocol())
        return self.protocols[-1]


class Scene:
    """
    A socket of somebody else's, and ports on it, as several processes would have them.
    """

    def __init__(self, directory: Path) -> None:
        self.before = descriptors()
        self.path = str(directory / "p.sock")
        self.listening = socket.socket(socket.AF_UNIX)
        self.listening.bind(self.path)
        os.chmod(self.path, 0o600)
        self.listening.listen()
        self.ports: list[SharedPort] = []
        self.factories: list[Clients] = []

    def share(self) -> SharedPort:
        """
        One more port on the socket.
        """
        self.factories.append(Clients())
        port = SharedPort(self.listening.dup(), self.factories[-1], cast(Reactor, reactor))
        port.startListening()
        self.ports.append(port)
        return port

    @property
    def counts(self) -> list[int]:
        """
        How many clients each port has had.
        """
        return [len(factory.protocols) for factory in self.factories]


@pytest_twisted.async_yield_fixture
async def scene(short_tmp: Path) -> AsyncIterator[Scene]:
    """
    What it has opened is closed.
    """
    scene = Scene(short_tmp)
    yield scene
    scene.listening.close()
    for port in scene.ports:
        port.stopListening()
    for factory in scene.factories:
        for protocol in factory.protocols:
            protocol.transport.abortConnection()
    await until(lambda: descriptors() <= scene.before, "all is closed")


@pytest_twisted.ensureDeferred
async def test_the_file_stays_as_it_was(scene: Scene) -> None:
    """
    Its mode, and the file itself, when one of those who listen stops.
    """
    port = scene.share()
    port.stopListening()
    assert stat.S_IMODE(os.stat(scene.path).st_mode) == 0o600
    scene.ports.clear()
    scene.share()
    client = connect(scene.path)
    await until(lambda: scene.counts == [0, 1], "the other one lets the client in")
    client.close()


@pytest_twisted.ensureDeferred
async def test_each_takes_one_client_at_a_time(scene: Scene) -> None:
    """
    A burst is for all that listen.
    """
    scene.share()
    scene.share()
    clients = [connect(scene.path) for _ in range(10)]
    await until(lambda: sum(scene.counts) == 10, "all are in")
    assert scene.counts == [5, 5]
    for client in clients:
        client.close()


@pytest_twisted.ensureDeferred
async def test_a_client_that_another_has_is_nothing_to_tell(scene: Scene) -> None:
    """
    The port goes on, for the next one.
    """
    port = scene.share()
    port.doRead()
    client = connect(scene.path)
    await until(lambda: scene.counts == [1], "the client is in")
    client.close()


class Queue:
    """
    A reactor that notes who begins to wait, and who ceases to.
    """

    def __init__(self) -> None:
        self.calls: list[str] = []

    def addReader(self, _port: SharedPort) -> None:
        self.calls.append("waits")

    def removeReader(self, _port: SharedPort) -> None:
        self.calls.append("does not wait")


def test_who_was_too_late_is_the_first_to_be_woken_next(short_tmp: Path) -> None:
    """
    The kernel wakes first who came to wait last: else one of several would get all clients.
    """
    queue = Queue()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(short_tmp / "p.sock"))
        listening.listen()
        port = SharedPort(listening, Clients(), cast(Reactor, queue))
        port.startListening()
        port.doRead()
    assert queue.calls == ["waits", "does not wait", "waits"]


class FailingSocket:
    """
    A socket that lets nobody in.
    """

    def __init__(self, listening: socket.socket, error: OSError) -> None:
        self._listening = listening
        self.error = error
        self.tries = 0

    def accept(self) -> None:
        self.tries += 1
        raise self.error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._listening, name)


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EINVAL])
@pytest_twisted.ensureDeferred
async def test_who_can_let_nobody_in_waits(
    scene: Scene, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The client keeps its place, and is let in when there is a descriptor for it.
    """
    monkeypatch.setattr(shared_port, "PAUSE_SECONDS", 0.05)
    events: list[Any] = []
    globalLogPublisher.addObserver(events.append)
    port = scene.share()
    whole = port._listening
    failing = FailingSocket(whole, OSError(number, "no more"))
    port._listening = cast(socket.socket, failing)
    client = connect(scene.path)
    await settle()
    assert failing.tries == 1
    port._listening = whole
    await until(lambda: scene.counts == [1], "the client is in")
    globalLogPublisher.removeObserver(events.append)
    assert [event["problem"] for event in events if "problem" in event] == ["no more"]
    client.close()


@pytest_twisted.ensureDeferred
async def test_a_port_that_waits_can_be_stopped(scene: Scene) -> None:
    """
    It does not begin again.
    """
    port = scene.share()
    whole = port._listening
    port._listening = cast(socket.socket, FailingSocket(whole, OSError(errno.EMFILE, "no more")))
    port.doRead()
    assert port._pause is not None
    port.stopListening()
    scene.ports.clear()
    assert not port._pause.active()


@pytest.mark.parametrize("number", [errno.ECONNABORTED, errno.EPERM])
@pytest_twisted.ensureDeferred
async def test_a_client_that_does_not_come_in_stops_nothing(scene: Scene, number: int) -> None:
    """
    One that has gone, and one that a firewall keeps out.
    """
    port = scene.share()
    whole = port._listening
    port._listening = cast(socket.socket, FailingSocket(whole, OSError(number, "gone")))
    port.doRead()
    port._listening = whole
    client = connect(scene.path)
    await until(lambda: scene.counts == [1], "the next one is in")
    client.close()


@pytest_twisted.ensureDeferred
async def test_a_client_that_resets_at_once_stops_nothing() -> None:
    """
    It has no name any more when it is let in.
    """
    listening = socket.create_server(("127.0.0.1", 0))
    name = listening.getsockname()
    factory = Clients()
    port = SharedPort(listening, factory, cast(Reactor, reactor))
    gone = connect(name)
    gone.reset()
    port.startListening()
    client = connect(name)
    _, number = client._socket.getsockname()
    await until(lambda: number in [it.port for it in factory.addresses], "the next one is in")
    client.close()
    port.stopListening()
    for protocol in factory.protocols:
        protocol.transport.abortConnection()
    await settle()


def test_a_port_says_where_it_is(short_tmp: Path) -> None:
    """
    As the ports of Twisted do.
    """
    path = str(short_tmp / "p.sock")
    for family, name, kind in [
        (socket.AF_UNIX, path, UNIXAddress),
        (socket.AF_INET, ("127.0.0.1", 0), IPv4Address),
        (socket.AF_INET6, ("::1", 0), IPv6Address),
    ]:
        with socket.socket(family) as listening:
            try:
                listening.bind(name)
            except OSError:
                assert family == socket.AF_INET6  # which not every machine has
                continue
            port = SharedPort(listening, Clients(), cast(Reactor, reactor))
            verifyObject(IListeningPort, port)
            host = port.getHost()
            assert isinstance(host, kind)
            if isinstance(host, UNIXAddress):
                assert host.name == os.fsencode(path)
            else:
                assert (host.host, host.port) == listening.getsockname()[:2]


@pytest_twisted.ensureDeferred
async def test_a_descriptor_that_is_no_socket_is_an_error() -> None:
    """
    The endpoint says so, and nothing is opened.
    """
    read_end, write_end = os.pipe()
    with pytest.raises(OSError, match="Socket operation on non-socket"):
        await SharedEndpoint(cast(Reactor, reactor), read_end).listen(Clients())
    os.close(read_end)
    os.close(write_end)
