"""
A node's own copies, kept as the ledger says.

I/O: the ledger and the storage. Each change of a copy is made under its lock here, but for those
of a move to here, which has the copy for itself meanwhile.
"""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from contextlib import suppress
from enum import Enum
from typing import Any
from uuid import uuid4

from attrs import define, evolve, field
from twisted.internet.defer import CancelledError, Deferred, DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from powerstrip_flocker.datasets.record import Record
from powerstrip_flocker.datasets.snapshots import is_ours, next_name, unshared
from powerstrip_flocker.datasets.steps import At, Step, go_on
from powerstrip_flocker.errors import ConflictError, FlockerError, InUseError, MoveError
from powerstrip_flocker.interfaces import Claim, Entry, ILedger, IStorage, IUses, Snapshot

WATCH_SECONDS = 1.0
"""How long after a move has died its fenced owner may notice, beside the claim's own time."""


class Copy(Enum):
    """
    What this node's copy is.
    """

    OWN = "own"
    """It is writable."""

    HELD = "held"
    """It is this node's own, but a move has fenced it, or is bringing it here."""

    ELSEWHERE = "elsewhere"
    """Another node owns the dataset, or nobody: what is here is fenced."""


@define(eq=False)
class Keeper:
    """
    Makes copies writable and read-only; nothing else does.
    """

    node: str
    storage: IStorage
    ledger: ILedger
    uses: IUses
    clock: IReactorTime
    at: At = go_on

    arriving: set[str] = field(factory=set)
    """Those that a move brings to here: it alone changes them."""

    _log = Logger()
    _locks: dict[str, DeferredLock] = field(factory=dict)
    _watches: dict[str, object] = field(factory=dict)
    _tasks: set[Deferred[None]] = field(factory=set)
    _has_ended_claims: bool = False

    async def start(self) -> None:
        """
        Make each copy what the ledger says. What could not be done is tried again.
        """
        await self.storage.start()
        if not self._has_ended_claims:
            await self._end_claims_of_before()
            self._has_ended_claims = True
        names = {it.record.name for it in await self.ledger.all() if it.record.owner == self.node}
        for name in sorted(names.union(await self.storage.names())):
            try:
                settled = await self.look(name)
            except FlockerError as error:
                self._log.error("{name}: {error}", name=name, error=str(error))
                self.watch(name)
            else:
                if settled is Copy.HELD:
                    self.watch(name)

    async def _end_claims_of_before(self) -> None:
        """
        End the moves to here of this node's earlier life: see the hazards of moves.
        """
        for entry in await self.ledger.all():
            claim = await self.ledger.claim_of(entry.record.name)
            if claim is None or claim.node != self.node:
                continue
            with suppress(ConflictError):  # what was on its way has come
                # As it is, and under the claim, without which nobody else changes it.
                await self.ledger.replace(entry, entry.record)
            await self.ledger.release(claim)

    async def stop(self) -> None:
        """
        Do nothing more. Copies stay as they are.
        """
        for task in tuple(self._tasks):
            task.cancel()

    def spawn(self, work: Coroutine[Deferred[Any], Any, None]) -> None:
        """
        Do something that nobody waits for.
        """
        task = Deferred.fromCoroutine(work)
        self._tasks.add(task)

        def ended(result: Failure | None) -> None:
            self._tasks.discard(task)
            if result is not None and not result.check(CancelledError):
                self._log.failure("work on a dataset failed", result)

        task.addBoth(ended)

    async def sleep(self) -> None:
        await deferLater(self.clock, WATCH_SECONDS)

    def lock(self, name: str) -> DeferredLock:
        """
        Is held while a copy that this node owns changes, and asks nothing of other nodes.
        """
        return self._locks.setdefault(name, DeferredLock())

    async def look(self, name: str) -> Copy:
        """
        Make a copy what the ledger says.
        """
        async with self.lock(name):
            found = await self._settle(name)
            if found is not Copy.HELD:
                self._watches.pop(name, None)
            return found

    async def own(self, name: str) -> None:
        """
        Make a dataset writable, which has to be this node's.

        Raises:
            ConflictError: It is not, or is about not to be any more.
        """
        async with self.lock(name):
            await self._make_own(name)

    async def use(self, name: str) -> None:
        """
        As `own`, and let a container be created that uses it.
        """
        async with self.lock(name):
            await self._make_own(name)
            self.uses.expect(name)

    async def prepare(self, claim: Claim) -> Sequence[Snapshot]:
        """
        See `IPeer`.
        """
        async with self.lock(claim.name):
            record = (await self._owned(claim)).record
            await self.prune(record)
            await self.at(Step.SNAPSHOT, claim.name)
            return await self._snapshot(record)

    async def fence(self, claim: Claim) -> Sequence[Snapshot]:
        """
        See `IPeer`.
        """
        async with self.lock(claim.name):
            record = (await self._owned(claim)).record
            await self.refuse_use(claim.name)
            await self.at(Step.FENCE, claim.name)
            self.watch(claim.name)
            await self.storage.fence(claim.name)
            await self.at(Step.LAST_SNAPSHOT, claim.name)
            return await self._snapshot(record)

    async def lend(self, claim: Claim) -> None:
        """
        Refuse to send a dataset to who does not move it: see `IPeer.fetch`.
        """
        await self._owned(claim)

    async def forget(self, name: str, identity: str) -> None:
        """
        See `IPeer`.
        """
        async with self.lock(name):
            if name in self.arriving or await self.ledger.get(name) is not None:
                return
            if await self.is_replica(name, identity) and not await self.storage.is_writable(name):
                await self.storage.destroy(name)

    async def create(self, name: str) -> None:
        """
        Have a dataset that is nowhere yet.

        Its record is there first, with generation 0: so a crash leaves a record from which `look`
        goes on, and never a dataset of which nobody knows whether it has been owned.

        Raises:
            ConflictError: Another node was first.
            MoveError: There is something of this name that no record speaks of.
        """
        async with self.lock(name):
            if await self.storage.exists(name):
                raise MoveError(f"{self.node} has a dataset {name} that no record speaks of")
            await self.ledger.create(Record(name, uuid4().hex, self.node, 0))
            await self._settle(name)

    async def refuse_use(self, name: str) -> None:
        """
        Raise `InUseError` if a container uses a dataset here.
        """
        if users := await self.uses.containers(name):
            raise InUseError(f"{name} is used by {', '.join(users)} on {self.node}")

    async def is_replica(self, name: str, identity: str) -> bool:
        """
        Whether what is here is a copy of that dataset, and not another one of the same name.
        """
        if not await self.storage.exists(name):
            return False
        return any(is_ours(identity, it) for it in await self.storage.snapshots(name))

    async def prune(self, record: Record) -> None:
        """
        Forget the owner's snapshots that no replica shares.
        """
        for snapshot in unshared(record, await self.storage.snapshots(record.name)):
            await self.storage.delete_snapshot(record.name, snapshot.name)

    async def _make_own(self, name: str) -> None:
        if await self._settle(name) is not Copy.OWN:
            raise ConflictError(f"{name} is being moved away from {self.node}: try again")

    async def _settle(self, name: str) -> Copy:
        if name in self.arriving:
            return Copy.HELD
        # The claim before the record: a claim that has ended can't commit any more, so the record
        # that is read afterwards is the last word. The other way round a commit fits in between,
        # and both sides would be writable.
        claim = await self.ledger.claim_of(name)
        entry = await self.ledger.get(name)
        if entry is None or entry.record.owner != self.node:
            await self._fence_copy(name, entry)
            return Copy.ELSEWHERE
        if entry.record.generation == 0:
            await self._make(entry)
        elif not await self.storage.exists(name):
            # An empty one in its place would look as if nothing had been lost.
            raise MoveError(f"{self.node} owns {name}, but its storage does not have it")
        if await self.storage.is_writable(name):
            return Copy.OWN
        if claim is not None:
            return Copy.HELD
        await self.storage.set_writable(name)
        return Copy.OWN

    async def _fence_copy(self, name: str, entry: Entry | None) -> None:
        if not await self.storage.exists(name) or not await self.storage.is_writable(name):
            return
        if entry is None:
            # Never in the cluster, or of a ledger that was lost: it is not ours to unmount.
            self._log.warn("{name} is in the storage, but in no record", name=name)
            return
        self._log.warn("{name} belongs to {owner}", name=name, owner=entry.record.owner)
        await self.storage.fence(name)

    async def _make(self, entry: Entry) -> None:
        name = entry.record.name
        if not await self.storage.exists(name):
            await self.storage.create(name)
        elif await self.storage.snapshots(name):
            raise MoveError(f"{self.node} has another dataset that is called {name}")
        await self.ledger.replace(entry, evolve(entry.record, generation=1))

    async def _owned(self, claim: Claim) -> Entry:
        if await self.ledger.claim_of(claim.name) != claim:
            raise ConflictError(f"the move of {claim.name} to {claim.node} has ended")
        entry = await self.ledger.get(claim.name)
        if entry is None or entry.record.owner != self.node or claim.name in self.arriving:
            raise ConflictError(f"{claim.name} does not belong to {self.node}")
        return entry

    async def _snapshot(self, record: Record) -> Sequence[Snapshot]:
        before = await self.storage.snapshots(record.name)
        await self.storage.snapshot(record.name, next_name(record, before))
        return await self.storage.snapshots(record.name)

    def watch(self, name: str) -> None:
        """
        Look, until the copy is what the ledger says.
        """
        token = self._watches[name] = object()

        async def watch() -> None:
            while self._watches.get(name) is token:
                await self.sleep()
                try:
                    await self.look(name)
                except FlockerError as error:
                    self._log.warn("{name}: {error}", name=name, error=str(error))

        self.spawn(watch())
