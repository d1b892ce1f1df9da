"""
A node that has no others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn

from zope.interface import implementer

from powerstrip_flocker.errors import PeerError
from powerstrip_flocker.interfaces import INodes

__all__ = ["LoneNodes", "no_peer"]


@implementer(INodes)
class LoneNodes:
    """
    Nobody is found.
    """

    async def announce(self, node: str, address: str) -> None:
        """
        There is nobody to tell.
        """

    async def address(self, node: str) -> str | None:
        return None

    async def all(self) -> Mapping[str, str]:
        return {}


def no_peer(node: str) -> NoReturn:
    """
    Say why another node can't be asked.

    Raises:
        PeerError: always.
    """
    raise PeerError(
        f"the ledger speaks of a node {node}, and this adapter knows no others: it was started "
        "with another --node before, or needs --etcd"
    )
