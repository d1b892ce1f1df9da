"""
Follows the engine's events for as long as the adapter runs, over all restarts of the engine.

I/O: through an `EngineClient`, with time that comes in.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NoReturn

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from powerstrip.adapter.engine import EngineClient, Event, EventStream
from powerstrip.adapter.errors import EngineError

__all__ = ["EventFollower"]

FIRST_WAIT_SECONDS = 0.1
LONGEST_WAIT_SECONDS = 5.0
"""An engine takes a second or more to start; a container that it has started waits no longer."""

_log = Logger()


class EventFollower:
    """
    Tells of what happens to containers, with no gap.

    At each connection, the first and all later ones, it listens first and lets ``connected`` look
    at what there is then. What happens meanwhile is told afterwards. So an event may be told of
    what ``connected`` has seen already, but nothing is missed by both.
    """

    def __init__(
        self,
        engine: EngineClient,
        clock: IReactorTime,
        actions: tuple[str, ...],
        connected: Callable[[], Awaitable[None]],
        happened: Callable[[Event], None],
    ) -> None:
        """
        Args:
            actions: Of which to tell, such as ``start``.
            connected: Lists what runs. It may raise an `EngineError`: the connection is lost then.
            happened: Is told of each event once, in order.
        """
        self._engine = engine
        self._clock = clock
        self._actions = actions
        self._connected = connected
        self._happened = happened
        self._newest: list[Event] = []
        """The last events that were told, all of one moment."""

        self.problem: str | None = "the engine has not been reached yet"
        """Why events are not heard now, or None where they are."""

    async def follow(self) -> NoReturn:
        """
        Follow until it is cancelled.
        """
        wait_seconds = FIRST_WAIT_SECONDS
        while True:
            try:
                await self._follow_once()
                problem = f"the Docker Engine at {self._engine.address} has ended its events"
            except EngineError as error:
                problem = str(error)
            if self.problem is None:
                wait_seconds = FIRST_WAIT_SECONDS
            if self.problem != problem:
                _log.warn("{problem}; trying until it is back", problem=problem)
            self.problem = problem
            await deferLater(self._clock, wait_seconds)
            wait_seconds = min(2 * wait_seconds, LONGEST_WAIT_SECONDS)

    async def _follow_once(self) -> None:
        stream = await self._engine.events(self._actions, await self._since())
        try:
            await self._connected()
            self.problem = None
            _log.info("following the events of {engine}", engine=self._engine.address)
            await self._tell(stream)
        finally:
            stream.close()

    async def _since(self) -> str:
        if not self._newest:
            return str(await self._engine.time_seconds())
        seconds, nanos = divmod(self._newest[0].time_nano, 10**9)
        return f"{seconds}.{nanos:09d}"

    async def _tell(self, stream: EventStream) -> None:
        async for event in stream:
            # The engine tells again of the moment that it is asked for.
            if event in self._newest:
                continue
            if self._newest and event.time_nano == self._newest[0].time_nano:
                self._newest.append(event)
            else:
                self._newest = [event]
            self._happened(event)
