"""
Who uses a dataset on this node, as the engine has it.

I/O: asks the engine. Nothing is kept on disk: what there is, the engine knows, and containers that
are expected are those of requests that this process has seen.

A container that is about to be created is in no list yet, and one of ``docker run --rm`` may never
be found in one. So it counts from the pre-hook on, and the engine's events tell that it has come.
Each creation ends one expectation, the oldest: two requests for one dataset may be under way at
once. A container that is there already counts from the hook before its start on; that it has
started, or is gone, ends what was expected with it, and no more.

Where the hooks after those requests are configured too, they tell what the engine has refused.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from attrs import define, field, frozen
from twisted.internet.defer import (
    CancelledError,
    Deferred,
    DeferredSemaphore,
    FirstError,
    gatherResults,
)
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from powerstrip.adapter.engine import Container, EngineClient, Event
from powerstrip.adapter.errors import EngineError, EngineRefused
from powerstrip_flocker.errors import FlockerError
from powerstrip_flocker.in_use import datasets_in_use, datasets_of
from powerstrip_flocker.interfaces import IRequests, IUses

__all__ = ["ACTIONS", "EXPECTED_SECONDS", "EngineUses"]

ACTIONS = ("create", "start", "destroy")
"""The events that are to be told to `EngineUses.happened`."""

EXPECTED_SECONDS = 90.0
"""
How long a container may take to come. An image is there already when it is expected, so nothing is
pulled meanwhile; but adapters whose hooks follow have 60 seconds, where nothing else is said, and
the engine may be busy.
"""

QUESTIONS_AT_ONCE = 32
"""How many containers the engine is asked about at one time."""

EXPECTED = "a container that is about to be created or started"

_log = Logger(namespace="powerstrip-flocker")


@frozen
class _Start:
    """
    The start of a container that is there already.
    """

    container_id: str
    names: tuple[str, ...]
    """The datasets that were expected for it."""

    at: float


@implementer(IUses, IRequests)
@define(eq=False)
class EngineUses:
    """
    The containers of one engine.
    """

    engine: EngineClient
    mount_point: Callable[[str], Awaitable[Path | None]]
    """Where a dataset is mounted here when it is here, or None where it has never been."""

    clock: IReactorTime

    _expected: dict[str, list[float]] = field(factory=dict)
    """When containers were expected, by dataset, the oldest first."""

    _starts: list[_Start] = field(factory=list)
    """Those that are expected, the oldest first."""

    _looks: set[Deferred[None]] = field(factory=set)

    async def containers(self, name: str) -> Sequence[str]:
        while True:
            expected = self._expecting(name)
            users = await self._users(name)
            # One that has come meanwhile may be in no list, and is not expected any more.
            if self._expecting(name) == expected:
                return [*users, *([EXPECTED] if expected else [])]

    def expect(self, name: str) -> None:
        self._expected.setdefault(name, []).append(self.clock.seconds())

    def starting(self, container_id: str, names: Sequence[str]) -> None:
        self._starts = [*self._starting(), _Start(container_id, tuple(names), self.clock.seconds())]

    def not_created(self, names: Sequence[str]) -> None:
        for name in names:
            self._come_or_gone(name)

    def not_started(self, container_id: str) -> None:
        self._end_starts([it for it in self._starting() if it.container_id == container_id][:1])

    def happened(self, event: Event) -> None:
        """
        Take note of an event.
        """
        if event.action == "create":
            if self._expected:
                self._look_at(event.container_id)
            return
        starts = [it for it in self._starting() if it.container_id == event.container_id]
        self._end_starts(starts[:1] if event.action == "start" else starts)

    async def connected(self) -> None:
        """
        Take note that events are heard. Those of before are not missed: a container that is there
        is found in the engine's list.
        """

    def stop(self) -> None:
        """
        Ask nothing any more.
        """
        for look in tuple(self._looks):
            look.cancel()

    def _expecting(self, name: str) -> Sequence[float]:
        oldest = self.clock.seconds() - EXPECTED_SECONDS
        expected = [at for at in self._expected.pop(name, ()) if at > oldest]
        if expected:
            self._expected[name] = expected
        return tuple(expected)

    def _starting(self) -> list[_Start]:
        oldest = self.clock.seconds() - EXPECTED_SECONDS
        return [it for it in self._starts if it.at > oldest]

    def _end_starts(self, starts: Sequence[_Start]) -> None:
        for start in starts:
            self._starts.remove(start)
            for name in start.names:
                self._come_or_gone(name)

    def _come_or_gone(self, name: str) -> None:
        """
        End one of the expectations of a dataset.
        """
        expected = self._expected.get(name, [])
        del expected[:1]
        if not expected:
            self._expected.pop(name, None)

    async def _users(self, name: str) -> Sequence[str]:
        mount_points = await self._mount_points([name])
        try:
            containers = await self._all()
            return [it.name for it in containers if datasets_in_use(it.inspected, mount_points)]
        except EngineError as error:
            raise FlockerError(f"what uses {name} can't be said: {error}") from error

    async def _mount_points(self, names: Sequence[str]) -> Mapping[str, str]:
        found = {name: await self.mount_point(name) for name in names}
        return {name: str(path) for name, path in found.items() if path is not None}

    async def _all(self) -> Sequence[Container]:
        limit = DeferredSemaphore(QUESTIONS_AT_ONCE)
        ids = await self.engine.container_ids(stopped=True)
        asked = [limit.run(self._find, container_id) for container_id in ids]
        try:
            found = await gatherResults(asked, consumeErrors=True)
        except FirstError as error:
            error.subFailure.raiseException()
        return [container for container in found if container is not None]

    async def _find(self, container_id: str) -> Container | None:
        try:
            return await self.engine.container(container_id)
        except EngineRefused as refusal:
            if refusal.is_missing:
                return None
            raise

    def _look_at(self, container_id: str) -> None:
        look = Deferred.fromCoroutine(self._come(container_id))
        self._looks.add(look)

        def ended(outcome: Failure | None) -> None:
            self._looks.discard(look)
            if outcome is None or outcome.check(CancelledError):
                return
            if outcome.check(EngineError, FlockerError):
                error = outcome.getErrorMessage()
                _log.warn("a container was not looked at: {error}", error=error)
            else:
                _log.failure("looking at a container", outcome)

        look.addBoth(ended)

    async def _come(self, container_id: str) -> None:
        """
        End what was expected of a container. Of one that is gone already nobody can tell what it
        was; then time ends it.
        """
        container = await self._find(container_id)
        if container is None:
            return
        mount_points = await self._mount_points(tuple(self._expected))
        for name in datasets_of(container.inspected, mount_points):
            self._come_or_gone(name)
