"""
The cluster's own datasets, as the hooks ask for them.

I/O: the ledger, the storage here, and other nodes; all of it through a `Keeper` and a `Mover`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.logger import Logger
from zope.interface import implementer

from powerstrip_flocker.datasets.keeper import Keeper
from powerstrip_flocker.datasets.move import Mover
from powerstrip_flocker.errors import FlockerError, LedgerError
from powerstrip_flocker.interfaces import IDatasets

__all__ = ["ClusterDatasets"]


@implementer(IDatasets)
@define(eq=False)
class ClusterDatasets:
    """
    Datasets that this node has, or has brought to it.
    """

    keeper: Keeper
    mover: Mover

    _log = Logger(namespace="powerstrip-flocker")
    _under_way: set[Deferred[None]] = field(factory=set)
    _is_stopping: bool = False
    _recorded: frozenset[str] = frozenset()
    """The names that the ledger had when it was asked last."""

    async def start(self) -> None:
        await self.keeper.ledger.start()
        await self.keeper.start()

    async def stop(self) -> None:
        self._is_stopping = True
        under_way = tuple(self._under_way)
        for bringing in under_way:
            bringing.cancel()
        await DeferredList(under_way, consumeErrors=True)
        await self.keeper.stop()
        await self.keeper.ledger.stop()

    async def have(self, names: Sequence[str]) -> Mapping[str, Path]:
        bringing = Deferred.fromCoroutine(self.mover.have(names))
        self._under_way.add(bringing)
        try:
            await bringing
        except CancelledError:
            if self._is_stopping:
                what = f"the adapter was stopped before {', '.join(names)} had come: try again"
                raise FlockerError(what) from None
            raise
        finally:
            self._under_way.discard(bringing)
        return {name: self.keeper.storage.mount_point(name) for name in names}

    def mounted_below(self) -> Path:
        return self.keeper.storage.mount_point("any").parent

    async def mount_points(self) -> Mapping[str, Path]:
        names = {*await self.keeper.storage.names(), *await self._names_in_ledger()}
        return {name: self.keeper.storage.mount_point(name) for name in sorted(names)}

    async def _names_in_ledger(self) -> frozenset[str]:
        """
        The names of all records. Should the ledger not answer, those that it had before: else no
        container with any bind could be started. What has been here, the storage knows as well.
        """
        try:
            entries = await self.keeper.ledger.all()
        except LedgerError as error:
            self._log.warn("going by what was known before: {error}", error=str(error))
        else:
            self._recorded = frozenset(entry.record.name for entry in entries)
        return self._recorded
