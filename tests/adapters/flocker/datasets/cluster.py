"""
Nodes in memory, whose every call can be held, lost, answered into the void, or come late.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from enum import Enum
from typing import Any, TypeVar, cast

from attrs import define, field
from powerstrip_flocker.datasets.keeper import Keeper
from powerstrip_flocker.datasets.move import Mover
from powerstrip_flocker.datasets.steps import At, go_on
from powerstrip_flocker.errors import FlockerError, LedgerError, PeerError, StorageError
from powerstrip_flocker.interfaces import (
    Claim,
    ILedger,
    IPeer,
    IStorage,
    IUses,
    Report,
    Snapshot,
)
from powerstrip_flocker.ledger.testing import FakeLedger, FakeStore
from powerstrip_flocker.testing import FakeStorage
from twisted.internet.defer import CancelledError, Deferred
from zope.interface import implementer

_T = TypeVar("_T")

FILE = "file"


class Crashed(CancelledError):
    """
    The process was killed: whatever it would still do, it does not do.
    """


class Fate(Enum):
    """
    What becomes of a call to elsewhere.
    """

    GOES = "goes"
    LOST = "lost"
    UNANSWERED = "unanswered"
    """It is done, and the answer is lost."""
    LATE = "late"
    """It is done when nobody waits for it any more."""


@define(eq=False)
class Held:
    """
    A call that waits for its fate.
    """

    process: Process
    what: str
    can_be_lost: bool
    fate: Deferred[Fate] = field(factory=Deferred)


@implementer(IUses)
@define(eq=False)
class FakeUses:
    """
    The containers of a host: they outlive the adapter.
    """

    host: str
    storage: FakeStorage

    async def containers(self, name: str) -> Sequence[str]:
        return ["container-of-" + self.host] if name in self.storage.busy else []

    def expect(self, name: str) -> None:
        self.storage.busy.add(name)


@define(eq=False)
class Host:
    """
    What outlives a process.
    """

    name: str
    cluster: Cluster
    storage: FakeStorage = field(factory=FakeStorage)
    process: Process | None = None

    def content(self, name: str) -> bytes | None:
        return self.storage.read(name).get(FILE)

    def writable(self, name: str) -> bool:
        return name in self.storage._datasets and self.storage._datasets[name].is_mounted

    def start(self) -> Process:
        assert self.process is None
        self.process = Process(self)
        self.process.run(self.process.start())
        return self.process

    def crash(self, power: bool = False) -> None:
        """
        Kill the adapter, or take the power from the whole host.
        """
        if self.process is not None:
            process, self.process = self.process, None
            process.kill()
        if power:
            self.storage.reboot()

    def bring(self, *names: str) -> Deferred[object]:
        """
        Have datasets here for a container, which then runs.
        """
        assert self.process is not None
        return self.process.run(self.process.mover.have(names))

    def bring_by_hand(self, *names: str) -> Deferred[object]:
        assert self.process is not None
        return self.process.run(self.process.mover.bring(names))


@define(eq=False)
class Process:
    """
    One run of a node's adapter.
    """

    host: Host
    ledger: FakeLedger = field(init=False)
    keeper: Keeper = field(init=False)
    mover: Mover = field(init=False)
    is_dead: bool = False
    is_ready: bool = False
    _tasks: list[Deferred[object]] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        cluster = self.host.cluster
        self.ledger = FakeLedger(cluster.store)
        if (self.host.name, "ledger") in cluster.cuts:
            self.ledger.cut()
        uses = FakeUses(self.host.name, self.host.storage)
        self.keeper = Keeper(
            self.host.name,
            cast(IStorage, _Calls(self, self.host.storage, self._store)),
            cast(ILedger, _Calls(self, self.ledger, self._ask)),
            uses,
            cluster.store.clock,
            self.host.cluster.at(self.host.name),
        )
        self.mover = Mover(self.keeper, lambda node: FakePeer(self, node))

    async def start(self) -> None:
        """
        As the service does: nobody is served before the copies are what the ledger says.
        """
        while not self.is_ready:
            try:
                await self.keeper.start()
            except FlockerError:
                await self.keeper.sleep()
            else:
                self.is_ready = True

    def run(self, work: Coroutine[Deferred[Any], Any, object]) -> Deferred[object]:
        """
        The work's outcome: its result, or the error as a value.
        """
        task = Deferred.fromCoroutine(work)
        outcome = task.addErrback(_as_value)
        self._tasks.append(outcome)
        return outcome

    def kill(self) -> None:
        self.is_dead = True
        self.ledger.cut()
        for held in self.host.cluster.of(self):
            self.host.cluster.held.remove(held)
            held.fate.errback(Crashed())
        for task in self._tasks:
            task.cancel()
        self.keeper._tasks, tasks = set(), self.keeper._tasks
        for it in tuple(tasks):
            it.cancel()

    async def hold(self, what: str, can_be_lost: bool) -> Fate:
        if self.is_dead:
            raise Crashed
        fate = await self.host.cluster.hold(Held(self, what, can_be_lost))
        if self.is_dead:
            raise Crashed
        return fate

    async def _store(self, what: str, call: Callable[[], Awaitable[_T]]) -> _T:
        await self.hold(f"storage.{what}", can_be_lost=False)
        try:
            return await call()
        finally:
            await self.hold(f"storage.{what} done", can_be_lost=False)

    async def _ask(self, what: str, call: Callable[[], Awaitable[_T]]) -> _T:
        fate = await self.hold(f"ledger.{what}", can_be_lost=True)
        error = LedgerError(f"the ledger: {what} {fate.value}")
        ledger = self.ledger
        ledger.failure = error if fate is Fate.LOST else None
        ledger.failure_after = error if fate is Fate.UNANSWERED else None
        ledger.failure_late = error if fate is Fate.LATE else None
        try:
            answer = await call()
        finally:
            ledger.failure = ledger.failure_after = ledger.failure_late = None
        await self.hold(f"ledger.{what} answered", can_be_lost=False)
        return answer


def _as_value(failure: Any) -> object:
    return failure.value


class _Calls:
    """
    An object whose coroutines go through `through`.
    """

    def __init__(self, process: Process, target: object, through: Callable[..., Any]) -> None:
        self._process = process
        self._target = target
        self._through = through

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._target, name)
        if not inspect.iscoroutinefunction(method):
            return method

        def call(*arguments: object) -> Any:
            return self._through(name, lambda: method(*arguments))

        return call


@implementer(IPeer)
@define(eq=False)
class FakePeer:
    """
    Joins two nodes in memory.
    """

    caller: Process
    name: str

    async def prepare(self, claim: Claim) -> Sequence[Snapshot]:
        return await self._call("prepare", lambda it: it.keeper.prepare(claim))

    async def fence(self, claim: Claim) -> Sequence[Snapshot]:
        return await self._call("fence", lambda it: it.keeper.fence(claim))

    async def look(self, name: str) -> None:
        await self._call("look", lambda it: it.keeper.look(name))

    async def forget(self, name: str, identity: str) -> None:
        await self._call("forget", lambda it: it.keeper.forget(name, identity))

    async def bring(self, name: str) -> None:
        await self._call("bring", lambda it: it.mover.bring([name]))

    async def fetch(self, claim: Claim, snapshot: str, base: str | None, report: Report) -> None:
        storages = self.caller.host.cluster.hosts[self.name].storage, self.caller.host.storage
        await self._call("fetch", lambda it: it.keeper.lend(claim))
        stream = storages[0].sent(claim.name, snapshot, base)
        report(len(stream) // 2, len(stream))
        if await self.caller.hold("stream", can_be_lost=True) is not Fate.GOES:
            raise PeerError("the stream was cut")
        self._served()
        self.caller.host.cluster.sent_bytes.append(len(stream))
        storages[1].received(claim.name, base, stream)
        report(len(stream), len(stream))

    async def _reach(self, what: str) -> Fate:
        fate = await self.caller.hold(f"peer.{what}", can_be_lost=True)
        if fate is Fate.LOST:
            raise PeerError(f"{what} was lost on its way to {self.name}")
        return fate

    def _served(self) -> Process:
        cluster = self.caller.host.cluster
        process = cluster.hosts[self.name].process
        if process is None or not process.is_ready:
            raise PeerError(f"{self.name} does not answer")
        if frozenset((self.name, self.caller.host.name)) in cluster.cuts:
            raise PeerError(f"{self.name} can't be reached")
        return process

    async def _call(self, what: str, call: Callable[[Process], Awaitable[_T]]) -> _T:
        fate = await self._reach(what)
        if fate is Fate.LATE:
            self.caller.host.cluster.late.append(lambda: self._serve(call))
            raise PeerError(f"{what} was late")
        answer = await self._serve(call)
        await self.caller.hold(f"peer.{what} answered", can_be_lost=False)
        if fate is Fate.UNANSWERED:
            raise PeerError(f"the answer to {what} was lost")
        self._served()
        if isinstance(answer, Crashed):
            raise PeerError(f"{self.name} died")
        if isinstance(answer, Exception):
            raise answer
        return cast(_T, answer)

    def _serve(self, call: Callable[[Process], Awaitable[object]]) -> Deferred[object]:
        process = self._served()

        async def serve() -> object:
            return await call(process)

        # The owner goes on with it though the caller may be gone.
        done: Deferred[object] = Deferred()
        process.run(serve()).addCallback(lambda it: None if done.called else done.callback(it))
        return done


@define(eq=False)
class Cluster:
    """
    Some hosts, and the one ledger.
    """

    names: Sequence[str] = ("n1", "n2")
    is_stepped: bool = False
    """Whether calls are held until `let` says what becomes of them."""

    at: Callable[[str], At] = lambda host: go_on
    """What each host does at the steps of a move."""

    store: FakeStore = field(factory=FakeStore)
    hosts: dict[str, Host] = field(factory=dict)
    held: list[Held] = field(factory=list)
    late: list[Callable[[], object]] = field(factory=list)
    cuts: set[object] = field(factory=set)
    sent_bytes: list[int] = field(factory=list)
    """By each stream, in order."""

    def __attrs_post_init__(self) -> None:
        for name in self.names:
            self.hosts[name] = Host(name, self)

    def start(self) -> None:
        for host in self.hosts.values():
            if host.process is None:
                host.start()

    def of(self, process: Process) -> list[Held]:
        return [it for it in self.held if it.process is process]

    async def hold(self, held: Held) -> Fate:
        if not self.is_stepped:
            return Fate.GOES
        self.held.append(held)
        return await held.fate

    def let(self, held: Held, fate: Fate = Fate.GOES) -> None:
        self.held.remove(held)
        held.fate.callback(fate if held.can_be_lost else Fate.GOES)

    def run_dry(self) -> None:
        """
        Let go all that is held, until nothing is.
        """
        for _ in range(20_000):
            if not self.held:
                return
            self.let(self.held[0])
        raise AssertionError(f"no end: {[it.what for it in self.held]}")

    def cut(self, one: str, other: str) -> None:
        """
        Part two hosts, or a host from the ledger.
        """
        if other == "ledger":
            self.cuts.add((one, "ledger"))
            if (process := self.hosts[one].process) is not None:
                process.ledger.cut()
        else:
            self.cuts.add(frozenset((one, other)))

    def heal(self) -> None:
        self.cuts.clear()
        for host in self.hosts.values():
            if host.process is not None:
                host.process.ledger.heal()

    def deliver(self) -> None:
        """
        Have what is late arrive.
        """
        self.store.deliver()
        late, self.late = self.late, []
        for call in late:
            try:
                call()
            except PeerError:
                continue

    def advance(self, seconds: int) -> None:
        for _ in range(seconds):
            self.store.clock.advance(1)

    def writable(self, name: str) -> list[str]:
        """
        The hosts whose copy can be written.
        """
        return [host.name for host in self.hosts.values() if host.writable(name)]

    def owner(self, name: str) -> str:
        return self.store.entries[name].record.owner

    def write(self, host: str, name: str, content: bytes) -> None:
        self.hosts[host].storage.write(name, FILE, content)

    def stop_containers(self) -> None:
        for host in self.hosts.values():
            host.storage.busy.clear()

    def recover(self) -> None:
        """
        Heal everything, start everything, and wait until claims of the dead have ended.
        """
        self.heal()
        self.start()
        for _ in range(30):
            self.run_dry()
            self.advance(1)
        self.run_dry()


__all__ = ["FILE", "Cluster", "Crashed", "FakePeer", "FakeUses", "Fate", "Host", "StorageError"]
