"""
What there is of datasets, seen from this node.

I/O: asks the ledger, the storage here, and the engine; changes nothing. What one of them does not
say leaves a gap, and the rest is told all the same.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from powerstrip_flocker.datasets.keeper import Keeper
from powerstrip_flocker.datasets.move import Mover
from powerstrip_flocker.datasets.progress import Progress
from powerstrip_flocker.datasets.record import Record
from powerstrip_flocker.errors import FlockerError, LedgerError, StorageError
from powerstrip_flocker.interfaces import INodes
from powerstrip_flocker.status import DatasetStatus, Departure, Here, Status

__all__ = ["Survey"]


@frozen
class Survey:
    """
    Asks how it is.
    """

    keeper: Keeper
    mover: Mover
    nodes: INodes
    storage: str
    """As ``--storage`` names it."""

    async def status(self) -> Status:
        """
        All of it. One thing after the other: a storage asked for a hundred datasets at once has
        little time for containers.
        """
        problems: list[str] = []
        records, ledger_problem = await self._records()
        try:
            here = set(await self.keeper.storage.names())
        except StorageError as error:
            problems.append(str(error))
            datasets = [
                DatasetStatus(self.keeper.node, name, record, Here.UNKNOWN)
                for name, record in sorted(records.items())
            ]
        else:
            is_recorded = ledger_problem is None
            datasets = [
                await self._dataset(name, records.get(name), name in here, is_recorded)
                for name in sorted(here.union(records))
            ]
        own = [it.name for it in datasets if it.record and it.record.owner == self.keeper.node]
        return Status(
            node=self.keeper.node,
            storage=self.storage,
            datasets=datasets,
            moves=[*self.arrivals(), *_departures(datasets)],
            nodes=await self._nodes(),
            ledger_problem=ledger_problem,
            engine_problem=await self._engine_problem(own),
            problems=problems,
        )

    async def dataset(self, name: str) -> DatasetStatus | None:
        """
        One dataset, or None where there is no such record, and nothing of the name here.

        Raises:
            LedgerError: It can't be said.
        """
        entry = await self.keeper.ledger.get(name)
        is_here = await self.keeper.storage.exists(name)
        if entry is None and not is_here:
            return None
        return await self._dataset(name, entry.record if entry else None, is_here, True)

    async def moves(self) -> Sequence[Progress | Departure]:
        """
        The moves to here and from here, without asking the storage.
        """
        records, _ = await self._records()
        departures = []
        for record in records.values():
            if (target := await self._moving_to(record)) is not None:
                departures.append(Departure(record.name, self.keeper.node, target))
        return [*self.arrivals(), *departures]

    def arrivals(self) -> Sequence[Progress]:
        """
        The moves to here.
        """
        return [progress for _, progress in sorted(self.mover.progress.items())]

    async def _records(self) -> tuple[dict[str, Record], str | None]:
        try:
            entries = await self.keeper.ledger.all()
        except LedgerError as error:
            return {}, str(error)
        return {entry.record.name: entry.record for entry in entries}, None

    async def _nodes(self) -> dict[str, str]:
        # Should the ledger not answer, that is said already.
        try:
            return dict(await self.nodes.all())
        except LedgerError:
            return {}

    async def _engine_problem(self, own: Sequence[str]) -> str | None:
        # One question is enough: for each dataset the engine is asked of all its containers.
        try:
            for name in own[:1]:
                await self.keeper.uses.containers(name)
        except FlockerError as error:
            return str(error)
        return None

    async def _dataset(
        self, name: str, record: Record | None, is_here: bool, is_recorded: bool
    ) -> DatasetStatus:
        node = self.keeper.node
        moving_to = await self._moving_to(record)
        if name in self.keeper.arriving:
            # It alone has the copy, which is half there.
            return DatasetStatus(node, name, record, Here.ARRIVING)
        if not is_here:
            is_own = record is not None and record.owner == node and record.generation > 0
            here = Here.MISSING if is_own else Here.NOTHING
            return DatasetStatus(node, name, record, here, moving_to=moving_to)
        try:
            is_writable = await self.keeper.storage.is_writable(name)
            space = await self.keeper.storage.space(name)
        except StorageError as error:
            return DatasetStatus(node, name, record, Here.UNKNOWN, failure=str(error))
        here = _here(node, record, is_writable, is_recorded)
        return DatasetStatus(node, name, record, here, is_writable, space, moving_to)

    async def _moving_to(self, record: Record | None) -> str | None:
        if record is None or record.owner != self.keeper.node:
            return None
        try:
            claim = await self.keeper.ledger.claim_of(record.name)
        except LedgerError:
            return None
        # One to here is no move: it is being destroyed.
        return claim.node if claim is not None and claim.node != self.keeper.node else None


def _here(node: str, record: Record | None, is_writable: bool, is_recorded: bool) -> Here:
    if not is_recorded:
        return Here.WRITABLE if is_writable else Here.UNKNOWN
    if record is None:
        return Here.UNRECORDED
    if is_writable:
        return Here.WRITABLE
    return Here.FENCED if record.owner == node else Here.REPLICA


def _departures(datasets: Sequence[DatasetStatus]) -> Sequence[Departure]:
    return [Departure(it.name, it.node, it.moving_to) for it in datasets if it.moving_to]
