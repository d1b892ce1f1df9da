"""
The engine's side: one connection to it for each connection of a client.

I/O: opened with the first request, kept alive with the client's connection, closed with it.
"""

from __future__ import annotations

from typing import cast

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol

from powerstrip.core.http1 import find_response_end
from powerstrip.errors import UpstreamConnectError
from powerstrip.net.bridge import BridgeFactory
from powerstrip.net.reactor import Reactor
from powerstrip.net.reader import MessageReader, Side
from powerstrip.net.stream import SocketTransport, Stream


class Upstream:
    """
    One connection to the engine.
    """

    __slots__ = ("reader", "stream")

    def __init__(self, stream: Stream, side: Side) -> None:
        self.stream = stream
        self.reader = MessageReader(stream, side, find_response_end)

    @property
    def is_ready(self) -> bool:
        """
        Whether a request can go here: after an answer to no request, nothing here can be trusted.
        """
        return not (self.reader.has_pending or self.reader.has_ended or self.stream.is_write_closed)


class Engine:
    """
    Opens connections to the engine.
    """

    def __init__(self, endpoint: IStreamClientEndpoint, address: str, reactor: Reactor) -> None:
        """
        Args:
            address: What errors call the engine, such as ``unix:///var/run/docker.sock``.
        """
        self._endpoint = endpoint
        self._reactor = reactor
        self.address = address

    async def connect(self, side: Side) -> Upstream:
        """
        Open a connection.

        Args:
            side: Is told what happens on it.

        Raises:
            UpstreamConnectError: when the engine can't be reached.
        """
        plugged: Deferred[SocketTransport] = Deferred()
        factory = BridgeFactory(_PlugFactory(plugged), self._reactor)
        try:
            await self._endpoint.connect(factory)
        except ConnectingCancelledError:  # what endpoints make of it
            raise CancelledError from None
        except CancelledError:
            raise
        except Exception as error:  # endpoints of any kind fail as they like
            raise UpstreamConnectError(
                f"the Docker Engine at {self.address} can't be reached: {error}"
            ) from error
        return Upstream(Stream(await plugged, self._reactor), side)


class _Plug(Protocol):
    """
    Gives its transport away.
    """

    def __init__(self, plugged: Deferred[SocketTransport]) -> None:
        self._plugged = plugged

    def connectionMade(self) -> None:
        self._plugged.callback(cast(SocketTransport, self.transport))


class _PlugFactory(Factory):
    noisy = False

    def __init__(self, plugged: Deferred[SocketTransport]) -> None:
        self._plugged = plugged

    def buildProtocol(self, addr: object) -> Protocol:
        return _Plug(self._plugged)
