"""
A ledger in memory, for tests of what asks one, and where nodes are found.

The contract tests of the real ones run on them too, so that they behave as those do.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import TypeVar

from attrs import define, field, frozen
from twisted.internet.task import Clock
from zope.interface import implementer

from powerstrip_flocker.datasets.record import Record
from powerstrip_flocker.errors import ConflictError, LedgerError
from powerstrip_flocker.interfaces import Claim, Entry, ILedger, INodes

__all__ = ["CLAIM_SECONDS", "FakeLedger", "FakeNodes", "FakeStore"]

CLAIM_SECONDS = 10.0
"""How long a claim of a fake ledger outlives its process."""

_T = TypeVar("_T")


@frozen
class _Held:
    claim: Claim
    holder: FakeLedger


@define
class FakeStore:
    """
    What the nodes of one cluster share: the records, and the claims.
    """

    clock: Clock = field(factory=Clock)
    """Its time, which a test moves on: claims end by it."""

    entries: dict[str, Entry] = field(factory=dict)
    """By name."""

    late: list[Callable[[], object]] = field(factory=list)
    """Changes that are still under way, though nobody waits for them any more."""

    _claims: dict[str, _Held] = field(factory=dict)
    _revision: int = 0

    def deliver(self) -> None:
        """
        Have happen what is late, as far as it still can.
        """
        late, self.late = self.late, []
        for change in late:
            with suppress(ConflictError):
                change()

    def next_revision(self) -> int:
        self._revision += 1
        return self._revision

    def claims(self) -> dict[str, _Held]:
        """
        Those that have not ended, by name.
        """
        now = self.clock.seconds()
        for name, held in list(self._claims.items()):
            cut_at = held.holder.cut_at
            if cut_at is not None and now >= cut_at + CLAIM_SECONDS:
                del self._claims[name]
        return self._claims

    def check(self, entry: Entry) -> None:
        name = entry.record.name
        there = self.entries.get(name)
        if there is None or there.revision != entry.revision:
            raise ConflictError(f"the record of {name} has been changed by somebody else")

    def put(self, record: Record) -> Entry:
        entry = Entry(record, self.next_revision())
        self.entries[record.name] = entry
        return entry


@implementer(ILedger)
@define(eq=False)
class FakeLedger:
    """
    One node's ledger in memory.
    """

    store: FakeStore = field(factory=FakeStore)
    """Give two nodes the same one, and they are one cluster."""

    failure: LedgerError | None = None
    """Where there is one, everything raises it, and nothing happens."""

    failure_after: LedgerError | None = None
    """Where there is one, everything raises it though it has happened: the answer was lost."""

    failure_late: LedgerError | None = None
    """
    Where there is one, everything raises it, and a change happens only when the store is told to
    `deliver`. If this ledger is asked to `get` the record before, it never happens, but for a
    `create`.
    """

    gate: Callable[[str], Awaitable[None]] | None = None
    """Where there is one, each method waits for it with its own name before it does anything."""

    calls: list[str] = field(factory=list)
    """The methods that were called, by name."""

    cut_at: float | None = None
    """Since when it can't be reached, by the store's clock."""

    _in_doubt: set[str] = field(factory=set)

    def cut(self) -> None:
        """
        Be out of reach: claims end `CLAIM_SECONDS` later. For a process that was killed, too.
        """
        if self.cut_at is None:
            self.cut_at = self.store.clock.seconds()

    def heal(self) -> None:
        """
        Be in reach again. Claims that have ended stay so.
        """
        self.store.claims()
        self.cut_at = None

    async def start(self) -> None:
        await self._ask("start", lambda: None)

    async def stop(self) -> None:
        claims = self.store.claims()
        for name in [name for name, held in claims.items() if held.holder is self]:
            del claims[name]

    async def get(self, name: str) -> Entry | None:
        def look() -> Entry | None:
            self._settle(name)
            return self.store.entries.get(name)

        return await self._ask("get", look)

    async def all(self) -> Sequence[Entry]:
        def look() -> Sequence[Entry]:
            for name in tuple(self._in_doubt):
                self._settle(name)
            return tuple(entry for _, entry in sorted(self.store.entries.items()))

        return await self._ask("all", look)

    async def create(self, record: Record) -> Entry:
        def change() -> Entry:
            if record.name in self.store.entries:
                raise ConflictError(f"there is a dataset {record.name} already")
            return self.store.put(record)

        return await self._ask("create", change, record.name)

    async def replace(self, entry: Entry, record: Record) -> Entry:
        def change() -> Entry:
            self.store.check(entry)
            return self.store.put(record)

        return await self._ask("replace", change, record.name)

    async def delete(self, entry: Entry) -> None:
        name = entry.record.name

        def change() -> None:
            self.store.check(entry)
            del self.store.entries[name]

        await self._ask("delete", change, name)

    async def claim(self, entry: Entry, node: str) -> Claim:
        name = entry.record.name

        def change() -> Claim:
            self.store.check(entry)
            if (held := self.store.claims().get(name)) is not None:
                raise ConflictError(f"{name} is being moved to {held.claim.node}")
            claim = Claim(name, node, str(self.store.next_revision()))
            # One whose answer was lost is kept by nobody.
            self.store.claims()[name] = _Held(claim, self._dead() if self.failure_after else self)
            return claim

        return await self._ask("claim", change)

    async def claim_of(self, name: str) -> Claim | None:
        def look() -> Claim | None:
            held = self.store.claims().get(name)
            return held.claim if held else None

        return await self._ask("claim_of", look)

    async def commit(self, claim: Claim, entry: Entry, record: Record) -> Entry:
        def change() -> Entry:
            if not self._holds(claim):
                raise ConflictError(f"the move of {claim.name} to {claim.node} took too long")
            self.store.check(entry)
            del self.store.claims()[claim.name]
            return self.store.put(record)

        return await self._ask("commit", change, claim.name)

    async def release(self, claim: Claim) -> None:
        if self._holds(claim):
            # Not kept from here on, whether it can be ended at once or not.
            self.store.claims()[claim.name] = _Held(claim, self._dead())

        def change() -> None:
            if self._holds(claim):
                del self.store.claims()[claim.name]

        await self._ask("release", change)

    async def _ask(self, method: str, act: Callable[[], _T], changes: str | None = None) -> _T:
        self.calls.append(method)
        if self.gate is not None:
            await self.gate(method)
        if self.cut_at is not None:
            raise LedgerError("the fake ledger can't be reached")
        if self.failure is not None:
            raise self.failure
        if self.failure_late is not None:
            if changes is not None:
                self.store.late.append(act)
                self._in_doubt.add(changes)
            raise self.failure_late
        answer = act()
        if self.failure_after is not None:
            if changes is not None:
                self._in_doubt.add(changes)
            raise self.failure_after
        return answer

    def _settle(self, name: str) -> None:
        """
        Let what is late come too late: it was to change a revision that is no more.
        """
        if name in self._in_doubt:
            self._in_doubt.remove(name)
            if (entry := self.store.entries.get(name)) is not None:
                self.store.put(entry.record)

    def _holds(self, claim: Claim) -> bool:
        held = self.store.claims().get(claim.name)
        return held is not None and held.claim == claim

    def _dead(self) -> FakeLedger:
        return FakeLedger(self.store, cut_at=self.store.clock.seconds())


@implementer(INodes)
@define(eq=False)
class FakeNodes:
    """
    Where nodes are found, in memory: the same for all that share `addresses`.
    """

    addresses: dict[str, str] = field(factory=dict)
    """By node."""

    failure: LedgerError | None = None
    """Where there is one, everything raises it, and nothing happens."""

    async def announce(self, node: str, address: str) -> None:
        self._fail()
        self.addresses[node] = address

    async def address(self, node: str) -> str | None:
        self._fail()
        return self.addresses.get(node)

    async def all(self) -> Mapping[str, str]:
        self._fail()
        return dict(self.addresses)

    def _fail(self) -> None:
        if self.failure is not None:
            raise self.failure
