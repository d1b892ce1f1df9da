"""
Which containers have which addresses, and that each one has its own at every start.

I/O: asks the engine and drives the network. Nothing is kept on disk: what is so is known to the
kernel and to the engine, and an adapter that was killed looks there when it is back.

A container is looked at when the engine tells of it, when a hook does, and when the connection to
the engine is new. Each look does the same, whatever has caused it: it asks what the container is
now and makes the network fit. So no order of events, hooks and restarts can be the wrong one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from ipaddress import IPv4Interface
from typing import Any

from attrs import frozen
from twisted.internet.defer import (
    CancelledError,
    Deferred,
    DeferredList,
    DeferredLock,
    DeferredSemaphore,
    FirstError,
    gatherResults,
)
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from powerstrip.adapter.engine import Container, EngineClient, Event
from powerstrip.adapter.errors import EngineError, EngineRefused, EngineUnreachable
from powerstrip_weave.addresses import requested_addresses
from powerstrip_weave.errors import NetworkError, NotRunning, WeaveError
from powerstrip_weave.interfaces import INetwork, RunningContainer

__all__ = ["ACTIONS", "Attachments", "Stopped", "wanted_addresses"]

ACTIONS = ("start", "die", "destroy")
"""The events that are to be told to `Attachments.happened`."""

QUESTIONS_AT_ONCE = 32
"""How many containers the engine is asked about at one time when all are looked at."""

RETRY_SECONDS = 5.0
"""
When a container is looked at again of which the engine did not answer. It may be busy, and have
told of the start all the same; the container waits a minute for its addresses.
"""

REMEMBERED_SECONDS = 600.0
"""How long it is remembered why a container was stopped: for who starts it, and for the status."""

_log = Logger(namespace="powerstrip-weave")


@frozen
class Stopped:
    """
    A container that was stopped since it could not have its addresses.
    """

    container: Container
    """As it was when it still ran."""

    error: WeaveError
    at_seconds: float
    """When it was, by the clock."""


@frozen
class _Start:
    """
    One start of a container, which has its addresses.
    """

    pid: int
    started_at: str

    @classmethod
    def of(cls, container: Container) -> _Start:
        return cls(container.pid, container.started_at)


def wanted_addresses(container: Container) -> tuple[IPv4Interface, ...]:
    """
    The addresses that a container is to have.

    One that has the network of the host, or that of another container, gets none there: they would
    be the host's, or the other one's. Through Powerstrip none such is made.

    Raises:
        AddressError: when its ``WEAVE_CIDR`` does not say any.
    """
    if container.network_mode == "host" or container.network_mode.startswith("container:"):
        return ()
    return requested_addresses(container.environment) or ()


class Attachments:
    """
    Keeps the containers of one engine attached.

    Each container is seen to by one at a time, and all of them at once.
    """

    def __init__(self, engine: EngineClient, network: INetwork, clock: IReactorTime) -> None:
        self._engine = engine
        self._network = network
        self._clock = clock
        self._attached: dict[str, _Start] = {}
        self._stopped: dict[str, Stopped] = {}
        self._locks: dict[str, DeferredLock] = {}
        self._work: list[Deferred[None]] = []

    @property
    def stopped(self) -> tuple[Stopped, ...]:
        """
        The containers that were stopped a short while ago, the last one last.
        """
        self._forget_stopped()
        return tuple(self._stopped.values())

    def seconds_since(self, stopped: Stopped) -> float:
        """
        How long ago it was stopped.
        """
        return self._clock.seconds() - stopped.at_seconds

    async def ensure(self, reference: str) -> None:
        """
        See that a container that was started has its addresses.

        It goes on where it is cancelled. Where it is called for one start several times, once for
        a hook and once for an event, there is one attachment, and all get the same error.

        Args:
            reference: Id, the beginning of an id, or name.

        Raises:
            WeaveError: It can't have them; it was stopped, so that it does not run without.
            EngineError: the engine could not be asked.
        """
        container = await self._find(reference)
        if container is None:
            stopped = self._stopped_as(reference)
        elif not _is_ours(container):
            return
        else:
            await self._uncancelled(self._see_to_start(container))
            stopped = self._stopped_at(container)
        if stopped is not None:
            raise stopped.error

    def happened(self, event: Event) -> None:
        """
        Take note of an event.
        """
        self._see_to_soon(event.container_id, stops=True)

    async def look_at_all(self) -> None:
        """
        See to all that run, and remove what is left of those that don't. It does not wait until
        they are attached.

        Nothing is stopped here for want of its addresses: the container may have run for days, and
        the trouble be the network's. One that has not begun yet still waits for them.

        Raises:
            EngineError: the engine could not be asked.
        """
        before = set(self._attached)
        running = {container.id for container in await self.running()}
        try:
            await self._network.keep_only({*running, *self._attached})
        except NetworkError as error:
            _log.error("what ended containers have left stays: {error}", error=str(error))
        for container_id in before | running:
            self._see_to_soon(container_id, stops=False)

    async def running(self) -> tuple[Container, ...]:
        """
        The containers that run with a ``WEAVE_CIDR``, even where that says no addresses.

        Raises:
            EngineError: the engine could not be asked.
        """
        limit = DeferredSemaphore(QUESTIONS_AT_ONCE)
        ids = await self._engine.container_ids()
        asked = [limit.run(self._find, container_id) for container_id in ids]
        try:
            found = await gatherResults(asked, consumeErrors=True)
        except FirstError as error:
            error.subFailure.raiseException()
        return tuple(it for it in found if it is not None and it.is_running and _is_ours(it))

    async def finish(self) -> None:
        """
        Wait for what is being done. It is given up where this is cancelled.
        """
        # Those who wait for their turn are given up first: none of them begins then.
        await DeferredList(self._work[::-1])

    def _see_to_soon(self, container_id: str, *, stops: bool) -> None:
        def retry(failure: Failure) -> None:
            failure.trap(EngineUnreachable)
            _log_failure(failure)
            self._clock.callLater(RETRY_SECONDS, self._see_to_soon, container_id, stops=stops)

        seeing = self._uncancelled(self._see_to(container_id, stops=stops))
        seeing.addErrback(retry)
        seeing.addErrback(_log_failure)

    async def _see_to(self, container_id: str, *, stops: bool) -> None:
        async with self._turn(container_id):
            await self._make_fit(container_id, stops=stops)

    async def _see_to_start(self, container: Container) -> None:
        """
        The same for one start, which its event may have led to already. The engine isn't asked
        again then: what ends at once, it may be busy to remove, and it answers after that.
        """
        async with self._turn(container.id):
            if self._attached.get(container.id) != _Start.of(container):
                await self._make_fit(container.id, stops=True)

    async def _make_fit(self, container_id: str, *, stops: bool) -> None:
        """
        Make the network fit a container.

        Args:
            stops: Whether a container that can't have its addresses is stopped.
        """
        container = await self._find(container_id)
        if container is None or not container.is_running:
            await self._forget(container_id, container)
            return
        if self._attached.get(container_id) == _Start.of(container):
            return
        try:
            await self._attach(container)
        except CancelledError:
            raise
        except NotRunning:
            return  # an event tells of its end, or the next look at all
        except WeaveError as error:
            await self._failed(container, error, stops=stops)
            raise
        except Exception as error:
            _log.failure("attaching {container}", container=_shown(container))
            problem = NetworkError(f"the network failed: {error!r}")
            await self._failed(container, problem, stops=stops)
            raise problem from error

    async def _attach(self, container: Container) -> None:
        addresses = wanted_addresses(container)
        if not addresses:
            return
        began = self._clock.seconds()
        await self._network.attach(RunningContainer(container.id, container.pid), addresses)
        self._attached[container.id] = _Start.of(container)
        self._stopped.pop(container.id, None)
        _log.info(
            "{container} has {addresses}, after {milliseconds:.0f} ms",
            container=_shown(container),
            addresses=", ".join(map(str, addresses)),
            milliseconds=1000 * (self._clock.seconds() - began),
        )

    async def _failed(self, container: Container, error: WeaveError, *, stops: bool) -> None:
        self._attached.pop(container.id, None)
        what = "is stopped" if stops else "goes without its addresses"
        _log.error(
            "{container} {what}: {error}", container=_shown(container), what=what, error=error
        )
        if not stops:
            return
        self._forget_stopped()
        self._stopped[container.id] = Stopped(container, error, self._clock.seconds())
        try:
            await self._engine.kill(container.id)
        except EngineError as problem:
            _log.error(
                "{container} runs on: {problem}", container=_shown(container), problem=problem
            )

    async def _forget(self, container_id: str, container: Container | None) -> None:
        """
        Remove what is left of a container that doesn't run.
        """
        was_attached = self._attached.pop(container_id, None) is not None
        if not was_attached and (container is None or not _is_ours(container)):
            return
        try:
            await self._network.detach(container_id)
        except NetworkError as error:
            what = "what the ended container {id} has left stays: {error}"
            _log.error(what, id=container_id[:12], error=str(error))

    async def _find(self, reference: str) -> Container | None:
        try:
            return await self._engine.container(reference)
        except EngineRefused as refusal:
            if refusal.is_missing:
                return None
            raise

    def _forget_stopped(self) -> None:
        oldest = self._clock.seconds() - REMEMBERED_SECONDS
        self._stopped = {id_: it for id_, it in self._stopped.items() if it.at_seconds > oldest}

    def _stopped_as(self, reference: str) -> Stopped | None:
        """
        Why a container was stopped that is not there any more: one of ``docker run --rm``.
        """
        for stopped in self.stopped:
            if reference == stopped.container.name or stopped.container.id.startswith(reference):
                return stopped
        return None

    def _stopped_at(self, container: Container) -> Stopped | None:
        """
        Why it was stopped since this start.
        """
        stopped = self._stopped.get(container.id)
        if stopped is None or stopped.container.started_at != container.started_at:
            return None
        return stopped

    @asynccontextmanager
    async def _turn(self, container_id: str) -> AsyncIterator[None]:
        """
        Wait until nobody else sees to a container.
        """
        lock = self._locks.setdefault(container_id, DeferredLock())
        await lock.acquire()
        try:
            yield
        finally:
            lock.release()
            if not lock.locked and self._locks.get(container_id) is lock:
                del self._locks[container_id]

    def _uncancelled(self, doing: Coroutine[Any, Any, None]) -> Deferred[None]:
        """
        Do something to its end, even where nobody waits for it any more.

        A client that leaves has its hook cancelled, but the container has been started.
        """
        waiting: Deferred[None] = Deferred()
        work = Deferred.fromCoroutine(doing)

        def tell(outcome: Failure | None) -> None:
            self._work.remove(work)
            if not waiting.called:
                waiting.callback(outcome)  # where it is a Failure, this is an errback
            elif outcome is not None:
                _log_failure(outcome)

        self._work.append(work)
        work.addBoth(tell)
        return waiting


def _is_ours(container: Container) -> bool:
    try:
        return wanted_addresses(container) != ()
    except WeaveError:
        return True


def _shown(container: Container) -> str:
    return f"{container.name} ({container.id[:12]})"


def _log_failure(failure: Failure) -> None:
    # What the network refuses has been logged with the container's name.
    if failure.check(EngineError):
        _log.error("a container was not looked at: {error}", error=failure.getErrorMessage())
    elif not failure.check(WeaveError, CancelledError):
        _log.failure("looking at a container", failure)
