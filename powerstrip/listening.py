"""
Where clients come in: the sockets that ``--listen`` names are opened, and closed.

I/O: real sockets. What goes wrong is for the operator, and ends the start.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import cast

from attrs import frozen
from twisted.internet.defer import maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.tcp import Port
from twisted.logger import Logger
from twisted.python.failure import Failure

from powerstrip.core.addresses import Address, EndpointDescription, TcpAddress, UnixAddress
from powerstrip.errors import ConfigError
from powerstrip.net.bridge import BridgeFactory
from powerstrip.net.endpoints import listening_endpoint, remove_stale_socket
from powerstrip.net.reactor import Reactor
from powerstrip.net.shared_port import SharedEndpoint

_log = Logger(namespace="powerstrip")


@frozen
class SocketAccess:
    """
    Who may connect to the UNIX sockets that clients come in by.
    """

    mode: int = 0o600
    group: int | None = None
    """A group's number, or None for that of the process."""


@frozen
class GivenSocket:
    """
    A listening socket that the process was started with.
    """

    descriptor: int

    def __str__(self) -> str:
        return f"socket {self.descriptor}"


class ListenError(SystemExit, Exception):
    """
    Ends the process with a sentence, and none but that.

    It is an `Exception` too, since of a daemon that begins twistd sees nothing else, and would wait
    for ever (``UnixApplicationRunner.postApplication``).
    """


class Listening:
    """
    The ports by which clients come in.
    """

    def __init__(
        self,
        reactor: Reactor,
        addresses: Sequence[Address | GivenSocket],
        access: SocketAccess | None = None,
    ) -> None:
        self._reactor = reactor
        self._addresses = addresses
        self._access = access or SocketAccess()
        self._problem: str | None = None
        """Why one of the addresses can't be listened on."""

        self.ports: list[IListeningPort] = []

    def open(self, factory: Factory) -> None:
        """
        Listen on every address.

        Raises:
            ListenError: when one of them can't be listened on.
        """
        for address in self._addresses:
            self._listen_on(address, factory)

    async def close(self) -> None:
        """
        Let nobody in any more.
        """
        for port in self.ports:
            try:
                await maybeDeferred(port.stopListening)
            except OSError as error:  # its file has gone, or is where this user may not remove it
                cast(Port, port).socket.close()
                what = {"socket": os.fsdecode(error.filename), "problem": error.strerror}
                _log.warn("can't remove {socket}: {problem}", **what)

    def _listen_on(self, address: Address | GivenSocket, factory: Factory) -> None:
        if isinstance(address, EndpointDescription):
            factory = BridgeFactory(factory, self._reactor)
        try:
            if isinstance(address, UnixAddress):
                remove_stale_socket(address.path)
            listening = self._endpoint(address).listen(factory)
        except ConfigError as error:
            raise ListenError(f"powerstrip: {error}") from None
        listening.addCallback(self._listens, address)
        listening.addErrback(self._listens_not, address)
        if self._problem is not None:
            raise ListenError(self._problem)  # not where the Deferred would catch it

    def _endpoint(self, address: Address | GivenSocket) -> IStreamServerEndpoint:
        if isinstance(address, GivenSocket):
            return SharedEndpoint(self._reactor, address.descriptor)
        return listening_endpoint(self._reactor, address)

    def _listens(self, port: IListeningPort, address: Address | GivenSocket) -> None:
        self.ports.append(port)
        if isinstance(address, UnixAddress):
            if self._access.group is not None:
                os.chown(address.path, -1, self._access.group)
            os.chmod(address.path, self._access.mode)
        elif isinstance(address, TcpAddress) and not address.is_loopback:
            _log.warn(
                "{address} is open to the network: who reaches it has the rights of root",
                address=str(address),
            )
        if not isinstance(address, GivenSocket):
            _log.info("listening on {address}", address=str(address))

    def _listens_not(self, failure: Failure, address: Address | GivenSocket) -> None:
        failure.trap(CannotListenError, OSError)
        error = getattr(failure.value, "socketError", failure.value)
        what = getattr(error, "strerror", None) or error
        self._problem = f"powerstrip: --listen {address}: {what}"
