"""
Where nodes are found: in etcd, beside the records.

I/O: etcd 3.4 or newer, through its JSON gateway.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping

from zope.interface import implementer

from powerstrip_flocker.errors import LedgerError
from powerstrip_flocker.interfaces import INodes
from powerstrip_flocker.ledger.etcd import PREFIX
from powerstrip_flocker.ledger.etcd_gateway import EtcdGateway

__all__ = ["EtcdNodes"]

NODES = f"{PREFIX}/nodes/"


@implementer(INodes)
class EtcdNodes:
    """
    A key for each node, with its address.
    """

    def __init__(self, gateway: EtcdGateway) -> None:
        self._gateway = gateway

    async def announce(self, node: str, address: str) -> None:
        question = {"key": _encode(NODES + node), "value": _encode(address)}
        await self._gateway.ask("kv/put", question, again=True)

    async def address(self, node: str) -> str | None:
        found = await self._range({"key": _encode(NODES + node)})
        return found.get(node)

    async def all(self) -> Mapping[str, str]:
        # `0` is what follows `/`.
        end = NODES.removesuffix("/") + "0"
        return await self._range({"key": _encode(NODES), "range_end": _encode(end)})

    async def _range(self, question: Mapping[str, object]) -> Mapping[str, str]:
        answer = await self._gateway.ask("kv/range", question, again=True)
        try:
            return {
                _decode(it["key"]).removeprefix(NODES): _decode(it.get("value", ""))
                for it in answer.get("kvs", ())
            }
        except ValueError as error:
            raise LedgerError("what etcd has of the nodes can't be understood") from error


def _encode(text: str) -> str:
    return b64encode(text.encode("utf-8")).decode("ascii")


def _decode(text: str) -> str:
    return b64decode(text).decode("utf-8")
