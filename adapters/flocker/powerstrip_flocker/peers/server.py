"""
Does for other nodes what `IPeer` says.

I/O: an HTTP resource, and the storage's commands.
"""

from __future__ import annotations

from twisted.web.resource import Resource

from powerstrip_flocker.datasets.keeper import Keeper
from powerstrip_flocker.datasets.move import Mover
from powerstrip_flocker.interfaces import IStorage
from powerstrip_flocker.peers.reactor import PeerReactor

__all__ = ["PeerResource"]


class PeerResource(Resource):
    """
    This node, as others ask it.
    """

    isLeaf = True

    def __init__(
        self, reactor: PeerReactor, node: str, keeper: Keeper, mover: Mover, storage: IStorage
    ) -> None:
        super().__init__()
        raise NotImplementedError

    def open(self) -> None:
        """
        Answer from here on, as `Keeper.start` has ended. Before, nodes are told to try again.
        """
        raise NotImplementedError

    async def stop(self) -> None:
        """
        End what is under way: commands that send are dead when this is over.
        """
        raise NotImplementedError
