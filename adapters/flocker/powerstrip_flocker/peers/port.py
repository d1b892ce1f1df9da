"""
Where other nodes come in.

I/O: a socket, with TLS.
"""

from __future__ import annotations

from powerstrip.core.addresses import TcpAddress
from powerstrip_flocker.peers.reactor import PeerReactor
from powerstrip_flocker.peers.server import PeerResource
from powerstrip_flocker.peers.tls import PeerTls

__all__ = ["PeerPort"]


class PeerPort:
    """
    The port on which a node lets others in: open it when `PeerResource` is there, close it first.
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
        raise NotImplementedError

    @property
    def address(self) -> str:
        """
        Where it listens, as in ``127.0.0.1:4523``: what is announced, unless it is told otherwise.
        """
        raise NotImplementedError

    def open(self) -> None:
        """
        Let nodes in.

        Raises:
            ListenError: when it can't be listened on.
        """
        raise NotImplementedError

    async def close(self) -> None:
        """
        Let nobody in any more, and end what is under way.
        """
        raise NotImplementedError
