"""
How a dataset comes to this node: claimed, fetched in two phases, and committed.

I/O: the ledger, the storage here, and the node that owns it.

Hazards. Each node, the ledger and the network between any two can fail between any two steps, and
a call that failed may still happen: later, or it has happened and only its answer was lost.

- Two writable copies: the old side takes itself for the owner again while the commit is on its
  way; or the new side makes its copy writable when the dataset has gone on to a third node.
- No copy with the last data: a copy is rolled back or removed though it is the owner's, or the
  owner is swapped before all has come.
- A copy that stays fenced for ever, since the node that had it fenced has died.
- A node that has died in a move and lives again: it is kept from its own move, and what it asked of
  the ledger in its earlier life may still be on its way.

Choice. The ledger alone says who owns a dataset; each node changes its own copy only, and only by
what it has just read there, under a lock (`Keeper`). Nobody is told to unfence: a fenced owner
looks, again and again, until the claim of the move is gone; a claim that is gone can't commit; so
the record that it reads *after that* is the last word. The new side does the same when its commit
failed in any way: it ends its claim, and reads then. Until the ledger answers, both sides stay
read-only. To fence lasts over a restart, so nothing else has to be remembered: a node that starts
goes through the same look. Whoever moves holds the claim, without which nobody swaps the owner;
that is why a node may roll back or replace its own copy while it moves: it is not the owner's.

A node that starts ends the claims in its own name: nobody moves anything to here yet, so they are
of a life that is over. A commit of that life comes too late then, as it compares the claim. Other
changes compare the record alone (what the replica has, and a deletion, after which a dataset that
is in use here would be in no record): so the record is written again as it is, and then the claim
is ended. Two nodes of one name would end each other's moves, and lose nothing by that.

A snapshot is what it is by its identity, never by its name. What a replica has is recorded after
phase one, so that the owner keeps just those snapshots, and a move that was given up has not sent
in vain.

Choices not taken. *The old side pushes and commits* (as Flocker did): it would have to know that
the new side lives when it commits. *The old side unfences when the new one tells it*: the message
is lost with the node that sends it. *A time-out on the fence*: its clock says nothing of a commit
that is under way. *Two records, or a state "moving" in the record*: somebody has to clean it up,
and that is one more thing to be crashed in; the claim ends by itself. *Fence first, send once*:
the dataset would be away for as long as it is large.

`promote` trusts the operator that the owner does not run: it is the one way to two writable copies,
and ends when that node starts again and looks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack

from attrs import define, evolve, field
from twisted.internet.defer import DeferredLock
from twisted.logger import Logger

from powerstrip_flocker.datasets.keeper import Copy, Keeper
from powerstrip_flocker.datasets.progress import PhaseLog, Progress
from powerstrip_flocker.datasets.record import Record, Replica
from powerstrip_flocker.datasets.snapshots import is_ours, newest_shared
from powerstrip_flocker.datasets.steps import Step
from powerstrip_flocker.errors import (
    ConflictError,
    FlockerError,
    LedgerError,
    MoveError,
    PeerError,
)
from powerstrip_flocker.interfaces import Claim, Entry, IPeer, Snapshot


@define(eq=False)
class _Move:
    claim: Claim
    entry: Entry
    """The record, as this move has last written it."""

    peer: IPeer | None
    """The owner; None where it is gone."""

    arrived: Record | None = None
    """The record that says that the dataset is here, once all of it is."""

    is_committed: bool = False


@define(eq=False)
class Mover:
    """
    Brings datasets to this node.
    """

    keeper: Keeper
    peer: Callable[[str], IPeer]
    """The node of a name."""

    progress: dict[str, Progress] = field(factory=dict)
    """Of the moves to here that are under way, by dataset."""

    _log = Logger()
    _turns: dict[str, DeferredLock] = field(factory=dict)

    async def have(self, names: Iterable[str]) -> None:
        """
        Have datasets here, writable, for a container that is about to be created: all or none.
        Those that are nowhere are created. The container counts as one that uses them.

        All have come before the first is committed. Should the ledger fail between two commits,
        those committed stay here.

        Raises:
            FlockerError: They are not here. Where it is a `LedgerError`, they may come to be.
        """
        await self._bring(names, is_for_container=True)

    async def bring(self, names: Iterable[str]) -> None:
        """
        Have datasets here on the operator's word: as `have`, but they have to be somewhere, and no
        container counts as using them.

        Raises:
            MoveError: There is no such dataset.
        """
        await self._bring(names, is_for_container=False)

    async def promote(self, name: str) -> Snapshot:
        """
        Own a dataset whose owner is gone for good, on the operator's word.

        Returns:
            The newest snapshot that this node has: what the dataset is now.

        Raises:
            ConflictError: Its owner answers, so that it has to be moved.
            MoveError: There is no replica here.
        """
        async with self._turn(name):
            entry = await self.keeper.ledger.get(name)
            if entry is None or entry.record.owner == self.keeper.node:
                raise MoveError(f"{name} is not another node's")
            await self.keeper.look(name)
            move = _Move(await self._claim(entry), entry, None)
            try:
                # Under the claim: an owner that starts from now on leaves what is fenced so.
                await self._refuse_living(entry.record)
                snapshot = await self._newest_here(entry.record)
                await self.keeper.storage.roll_back(name, snapshot.name)
                # The owner that is gone shares what it shared, but has more: it is not a replica.
                move.arrived = self._owned_here(entry.record, {})
                await self._commit(move)
            finally:
                await self._end(move)
            await self.keeper.look(name)
            return snapshot

    async def destroy(self, name: str) -> None:
        """
        Remove a dataset that this node owns, here and where there are replicas.

        A node that is away keeps its replica, read-only.

        Raises:
            MoveError: Another node owns it.
            InUseError: Something uses it.
        """
        keeper = self.keeper
        async with self._turn(name):
            entry = await keeper.ledger.get(name)
            if entry is None:
                raise MoveError(f"there is no dataset {name}")
            if entry.record.owner != keeper.node:
                raise MoveError(f"{name} belongs to {entry.record.owner}: destroy it there")
            identity = entry.record.identity
            claim = await keeper.ledger.claim(entry, keeper.node)
            try:
                # Fenced as by a move to here, so that a crash leaves it to the same look.
                await keeper.fence(claim)
                await self._delete(entry)
                async with keeper.lock(name):
                    await keeper.storage.destroy(name)
            finally:
                await self._release(claim)
                self.keeper.watch(name)
        for node in sorted(entry.record.replicas):
            try:
                await self.peer(node).forget(name, identity)
            except FlockerError as error:
                self._log.warn("{name} stays on {node}: {e}", name=name, node=node, e=str(error))

    async def _delete(self, entry: Entry) -> None:
        try:
            await self.keeper.ledger.delete(entry)
        except LedgerError:
            if await self.keeper.ledger.get(entry.record.name) is not None:
                raise

    # The parts of a move

    async def _bring(self, names: Iterable[str], *, is_for_container: bool) -> None:
        wanted = sorted(set(names))
        with ExitStack() as turns:
            for name in wanted:
                turn = await self._turn(name).acquire()
                turns.callback(turn.release)
            moves: list[_Move] = []
            try:
                new = [name for name in wanted if await self._is_new(name, moves)]
                if new and not is_for_container:
                    raise MoveError(f"there is no dataset {new[0]}")
                for name in new:
                    await self.keeper.create(name)
                for move in moves:
                    await self._commit(move)
            finally:
                for move in moves:
                    await self._end(move)
            for name in wanted:
                await (self.keeper.use(name) if is_for_container else self.keeper.own(name))
            for move in moves:
                await self._prune(move)

    async def _is_new(self, name: str, moves: list[_Move]) -> bool:
        """
        Whether a dataset is nowhere yet. If it is elsewhere, all of it is fetched.
        """
        if await self.keeper.look(name) is not Copy.ELSEWHERE:
            return False
        entry = await self.keeper.ledger.get(name)
        if entry is None:
            return True
        if entry.record.owner != self.keeper.node:
            await self._fetch_all(entry, moves)
        return False

    async def _fetch_all(self, entry: Entry, moves: list[_Move]) -> None:
        name = entry.record.name
        if entry.record.generation == 0:
            # Its owner may have been told that it could not be written down, when it was.
            await self.peer(entry.record.owner).look(name)
            raise ConflictError(f"{name} is being created on {entry.record.owner}")
        await self.keeper.at(Step.CLAIM, name)
        peer = self.peer(entry.record.owner)
        move = _Move(await self._claim(entry), entry, peer)
        moves.append(move)
        first = await peer.prepare(move.claim)
        await self.keeper.at(Step.SEND, name)
        await self._fetch(move, peer, first, phase=1)
        await self.keeper.at(Step.RECORD, name)
        replica = Replica(first[-1].name, first[-1].identity)
        record = evolve(entry.record, replicas={**entry.record.replicas, self.keeper.node: replica})
        move.entry = await self.keeper.ledger.replace(move.entry, record)
        last = await peer.fence(move.claim)
        await self.keeper.at(Step.SEND_REST, name)
        await self._fetch(move, peer, last, phase=2)
        owner = Replica(last[-1].name, last[-1].identity)
        move.arrived = self._owned_here(record, {entry.record.owner: owner})

    async def _claim(self, entry: Entry) -> Claim:
        """
        Take the claim, and this node's copy out of the keeper's hands.
        """
        name = entry.record.name
        claim = await self.keeper.ledger.claim(entry, self.keeper.node)
        async with self.keeper.lock(name):
            self.keeper.arriving.add(name)
        return claim

    async def _fetch(self, move: _Move, peer: IPeer, there: Sequence[Snapshot], phase: int) -> None:
        name = move.claim.name
        base = await self._make_room(move.entry.record, there)
        source, target = move.entry.record.owner, self.keeper.node
        started = self.keeper.clock.seconds()
        log = PhaseLog(lambda line: self._log.info("{line}", line=line))

        def report(sent_bytes: int, expected_bytes: int | None) -> None:
            elapsed = self.keeper.clock.seconds() - started
            self.progress[name] = progress = Progress(
                name, source, target, phase, sent_bytes, expected_bytes, elapsed
            )
            log.goes_on(progress)

        report(0, None)
        await peer.fetch(move.claim, there[-1].name, base, report)
        elapsed = self.keeper.clock.seconds() - started
        log.ended(evolve(self.progress[name], elapsed_seconds=elapsed))
        await self.keeper.at(Step.VERIFY, name)
        here = await self.keeper.storage.snapshots(name)
        if not here or here[-1].identity != there[-1].identity:
            raise MoveError(f"what has come of {name} is not the snapshot {there[-1].name}")

    async def _make_room(self, record: Record, there: Sequence[Snapshot]) -> str | None:
        """
        Make the copy here what both sides share, and no more.

        Returns:
            The shared snapshot's name, or None where there is none: then nothing is here.
        """
        name, storage = record.name, self.keeper.storage
        await storage.forget_partial(name)
        if not await storage.exists(name):
            return None
        here = await storage.snapshots(name)
        base = newest_shared(here, there)
        if base is not None:
            for old in here[: here.index(base)]:
                if is_ours(record.identity, old):
                    await storage.delete_snapshot(name, old.name)
            # Last of all: nothing may change between this and what is received.
            await storage.roll_back(name, base.name)
            return base.name
        if not await self.keeper.is_replica(name, record.identity):
            raise MoveError(f"{self.keeper.node} has another dataset that is called {name}")
        await storage.destroy(name)
        return None

    async def _commit(self, move: _Move) -> None:
        assert move.arrived is not None
        name = move.claim.name
        await self.keeper.at(Step.COMMIT, name)
        try:
            await self.keeper.ledger.commit(move.claim, move.entry, move.arrived)
        except LedgerError:
            # It may have happened, or be about to: only without the claim can that be told.
            await self.keeper.ledger.release(move.claim)
            entry = await self.keeper.ledger.get(name)
            if entry is None or entry.record != move.arrived:
                raise
        move.is_committed = True
        await self.keeper.at(Step.WRITABLE, name)

    async def _end(self, move: _Move) -> None:
        """
        Give the copy back to the keeper, and end the claim if the commit has not.
        """
        name = move.claim.name
        self.progress.pop(name, None)
        self.keeper.arriving.discard(name)
        if not move.is_committed:
            await self._release(move.claim)
        # Should this node own it now, but the ledger not answer, nobody else would open it.
        self.keeper.watch(name)
        self.keeper.spawn(self._tell(move))

    async def _release(self, claim: Claim) -> None:
        try:
            await self.keeper.ledger.release(claim)
        except LedgerError:
            self.keeper.spawn(self._release_later(claim))

    async def _release_later(self, claim: Claim) -> None:
        while True:
            await self.keeper.sleep()
            try:
                await self.keeper.ledger.release(claim)
            except LedgerError:
                continue
            self.keeper.watch(claim.name)
            return

    async def _tell(self, move: _Move) -> None:
        """
        Spare the owner its waiting. It would look by itself.
        """
        if move.peer is not None:
            try:
                await move.peer.look(move.claim.name)
            except FlockerError as error:
                self._log.info("{name}: {e}", name=move.claim.name, e=str(error))

    async def _prune(self, move: _Move) -> None:
        assert move.arrived is not None
        name = move.claim.name
        await self.keeper.at(Step.PRUNE, name)
        async with self.keeper.lock(name):
            entry = await self.keeper.ledger.get(name)
            if entry is not None and entry.record.owner == self.keeper.node:
                await self.keeper.prune(entry.record)

    async def _refuse_living(self, record: Record) -> None:
        try:
            await self.peer(record.owner).look(record.name)
        except PeerError:
            return
        except FlockerError:
            pass  # it lives, even though it can't do what it was asked
        raise ConflictError(f"{record.owner} answers: have {record.name} moved instead")

    async def _newest_here(self, record: Record) -> Snapshot:
        await self.keeper.storage.forget_partial(record.name)
        if await self.keeper.is_replica(record.name, record.identity):
            here = await self.keeper.storage.snapshots(record.name)
            return [it for it in here if is_ours(record.identity, it)][-1]
        raise MoveError(f"{self.keeper.node} has no replica of {record.name}")

    def _owned_here(self, record: Record, more: dict[str, Replica]) -> Record:
        replicas = {**record.replicas, **more}
        replicas.pop(self.keeper.node, None)
        return evolve(
            record, owner=self.keeper.node, generation=record.generation + 1, replicas=replicas
        )

    def _turn(self, name: str) -> DeferredLock:
        return self._turns.setdefault(name, DeferredLock())
