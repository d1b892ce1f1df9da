"""
A node of the cluster: its parts, in the order in which they begin and end.

I/O: etcd or a file, and where other nodes come in.
"""

from __future__ import annotations

from attrs import define
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from powerstrip_flocker.cluster_datasets import ClusterDatasets
from powerstrip_flocker.errors import FlockerError, LedgerError
from powerstrip_flocker.interfaces import INodes
from powerstrip_flocker.ledger.etcd_gateway import EtcdRefused
from powerstrip_flocker.options import check_root
from powerstrip_flocker.peers.port import PeerPort
from powerstrip_flocker.peers.server import PeerResource

__all__ = ["ETCD_SECONDS", "Door", "Member"]

ETCD_SECONDS = 2.0
"""When etcd is asked again that can't be reached at the start: a whole cluster may be starting."""

_log = Logger(namespace="powerstrip-flocker")


@define(eq=False)
class Door:
    """
    Where other nodes come in.
    """

    nodes: INodes
    port: PeerPort
    resource: PeerResource
    advertised: str | None
    """What other nodes call it, or None for what it listens on."""

    async def announce(self, node: str) -> None:
        """
        Let nodes in, and say where.
        """
        self.resource.open()
        address = self.advertised or self.port.address
        before = await self.nodes.address(node)
        if before not in (None, address):
            _log.warn(
                "{node} was at {before}, and is at {address} now: no other node may be called so",
                node=node,
                before=before,
                address=address,
            )
        await self.nodes.announce(node, address)
        _log.info("{node} lets other nodes in at {address}", node=node, address=address)


@define(eq=False)
class Member:
    """
    This node.
    """

    datasets: ClusterDatasets
    clock: IReactorTime
    door: Door | None
    """None where there are no other nodes."""

    async def start(self) -> None:
        """
        Be ready for hooks. A node whose etcd can't be reached tries until it can be.

        Raises:
            FlockerError: It can't be ready.
        """
        storage = self.datasets.keeper.storage
        await storage.start()
        problem = check_root(str(storage.mount_point("any").parent))
        if problem is not None:
            raise FlockerError(problem)
        if self.door is not None:
            self.door.port.open()
        while True:
            try:
                await self.datasets.start()
                if self.door is not None:
                    await self.door.announce(self.datasets.keeper.node)
                break
            except EtcdRefused:
                raise
            except LedgerError as error:
                if self.door is None:
                    raise
                _log.warn("{error}; trying until it can be", error=str(error))
            await deferLater(self.clock, ETCD_SECONDS)

    async def stop(self) -> None:
        """
        End what is under way. Datasets stay as they are.
        """
        if self.door is not None:
            await self.door.port.close()
        await self.datasets.stop()
