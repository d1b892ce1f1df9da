"""
Asks another node.

I/O: HTTPS, one connection for each call.
"""

from __future__ import annotations

from collections.abc import Sequence

from zope.interface import implementer

from powerstrip_flocker.interfaces import Claim, INodes, IPeer, IStorage, Report, Snapshot
from powerstrip_flocker.peers.reactor import PeerReactor
from powerstrip_flocker.peers.tls import PeerTls

__all__ = ["HttpPeer"]

SILENCE_SECONDS = 15.0
"""How long a node may give no sign of life: the other side gives one each second."""


@implementer(IPeer)
class HttpPeer:
    """
    One node, by its name.
    """

    def __init__(
        self,
        reactor: PeerReactor,
        node: str,
        nodes: INodes,
        storage: IStorage,
        tls: PeerTls | None,
        silence_seconds: float = SILENCE_SECONDS,
    ) -> None:
        """
        Args:
            node: The other node. Where it is, `nodes` is asked at each call.
            storage: This node's, into which is fetched.
            tls: None to speak in the clear.
        """
        raise NotImplementedError

    async def prepare(self, claim: Claim) -> Sequence[Snapshot]:
        raise NotImplementedError

    async def fence(self, claim: Claim) -> Sequence[Snapshot]:
        raise NotImplementedError

    async def fetch(self, name: str, snapshot: str, base: str | None, report: Report) -> None:
        raise NotImplementedError

    async def look(self, name: str) -> None:
        raise NotImplementedError

    async def forget(self, name: str, identity: str) -> None:
        raise NotImplementedError

    async def bring(self, name: str) -> None:
        raise NotImplementedError
