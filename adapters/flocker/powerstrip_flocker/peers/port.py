"""
Where other nodes come in.

I/O: a socket, with TLS.
"""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.address import IPv4Address
from twisted.internet.defer import maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.internet.tcp import Port
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.web.http import Request as HttpRequest
from twisted.web.server import Site

from powerstrip.core.addresses import TcpAddress
from powerstrip.listening import ListenError
from powerstrip.net.endpoints import BACKLOG
from powerstrip_flocker.errors import FlockerError
from powerstrip_flocker.peers.reactor import PeerReactor
from powerstrip_flocker.peers.server import PeerResource
from powerstrip_flocker.peers.tls import PeerTls

__all__ = ["PeerPort"]

_log = Logger()


class PeerPort:
    """
    The port on which a node lets others in.
    """

    def __init__(
        self,
        reactor: PeerReactor,
        address: TcpAddress,
        resource: PeerResource,
        tls: PeerTls | None,
        insecure: bool = False,
    ) -> None:
        """
        Args:
            address: See `parse_peer_address`.
            tls: None to speak in the clear: on loopback only, unless `insecure` is said.

        Raises:
            FlockerError: when all the network could come in, and nobody has said that it may.
        """
        if tls is None and not address.is_loopback and not insecure:
            raise FlockerError(
                f"--peer-listen {_plain(address)}: without --tls-ca, --tls-cert and --tls-key "
                "whoever reaches it could take and remove datasets; --insecure-peers allows that"
            )
        self._reactor = reactor
        self._given = address
        self._resource = resource
        self._tls = tls
        self._port: IListeningPort | None = None

    @property
    def address(self) -> str:
        """
        Where it listens, as in ``127.0.0.1:4523``: what is announced, unless it is told otherwise.
        """
        if self._port is None:
            return _plain(self._given)
        return _plain(TcpAddress(self._given.host, cast(IPv4Address, self._port.getHost()).port))

    def open(self) -> None:
        """
        Let nodes in.

        Raises:
            ListenError: when it can't be listened on.
        """
        factory: Any = _QuietSite(self._resource)
        if self._tls is not None:
            factory = TLSMemoryBIOFactory(self._tls.server(), False, factory, self._reactor)
        elif not self._given.is_loopback:
            _log.warn("{address} lets in whoever reaches it", address=self.address)
        host = "127.0.0.1" if self._given.host == "localhost" else self._given.host
        try:
            self._port = self._reactor.listenTCP(self._given.port, factory, BACKLOG, host)
        except CannotListenError as error:
            what = getattr(error.socketError, "strerror", None) or error.socketError
            raise ListenError(f"powerstrip-flocker: --peer-listen {self.address}: {what}") from None
        _log.info("other nodes come in at {address}", address=self.address)

    async def close(self) -> None:
        """
        Let nobody in any more, and end what is under way.
        """
        if self._port is not None:
            await maybeDeferred(cast(Port, self._port).stopListening)
        await self._resource.stop()


def _plain(address: TcpAddress) -> str:
    return str(address).removeprefix("tcp://")


class _QuietSite(Site):
    noisy = False

    def log(self, request: HttpRequest) -> None:
        """
        Say nothing: the log has each step of a move.
        """
