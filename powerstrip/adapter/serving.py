"""
The service that an adapter is: it makes itself ready, lets Powerstrip in, and ends in good order.

I/O: listens where it is told to.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, cast

from attrs import frozen
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import Request as HttpRequest
from twisted.web.resource import IResource, Resource
from twisted.web.server import Request, Site

from powerstrip.core.addresses import Address, UnixAddress
from powerstrip.ending import stop, stop_at_sigterm
from powerstrip.listening import ListenError, Listening, SocketAccess
from powerstrip.net.reactor import Reactor

__all__ = ["DEFAULT_ENGINE", "AdapterService", "Parts", "StartError", "engine_access"]

DEFAULT_ENGINE = "unix:///var/run/docker.sock"
"""``DOCKER_HOST`` is not looked at: where Powerstrip is in use, that often names Powerstrip."""

_log = Logger()


class StartError(Exception):
    """
    The adapter can't do its work here; the text is a sentence for the operator.
    """


def engine_access(engine: Address) -> SocketAccess:
    """
    What lets those in who may speak to the engine.
    """
    group = None
    if isinstance(engine, UnixAddress) and os.path.exists(engine.path):
        group = os.stat(engine.path).st_gid
    return SocketAccess(0o660, group)


@frozen
class Parts:
    """
    What an adapter does beside answering.
    """

    start: Callable[[], Awaitable[None]]
    """Is over before anybody is let in. A `StartError` ends the process with its sentence."""

    run: Callable[[], Coroutine[Any, Any, Any]]
    """Is cancelled when the adapter stops."""

    finish: Callable[[], Awaitable[None]]
    """Waits for what is under way when nobody is let in any more; it is cut after a while."""

    stop: Callable[[], Awaitable[None]]
    """Comes last."""


class AdapterService(Service):
    """
    Serves a resource.
    """

    def __init__(
        self,
        reactor: Reactor,
        resource: IResource,
        listening: Listening,
        parts: Parts,
        grace_seconds: float,
    ) -> None:
        """
        Args:
            grace_seconds: How long what is under way may take when the adapter is to stop.
        """
        self._reactor = reactor
        self._requests = _UnderWay(resource)
        self._listening = listening
        self._parts = parts
        self._grace_seconds = grace_seconds
        self._running: Deferred[None] = Deferred()

    def startService(self) -> None:
        """
        Begin.
        """
        super().startService()
        self._reactor.callWhenRunning(self._begin)

    def stopService(self) -> Deferred[None]:
        """
        Let nobody in any more, and wait for what is under way.
        """
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    def _begin(self) -> None:
        stop_at_sigterm(self._reactor)
        self._running = Deferred.fromCoroutine(self._run())
        self._running.addErrback(self._fail)

    async def _run(self) -> None:
        await self._parts.start()
        self._listening.open(cast(Any, _QuietSite(self._requests)))
        await self._parts.run()

    def _fail(self, failure: Failure) -> None:
        """
        End the process with status 1.
        """
        if failure.check(CancelledError):
            return
        if failure.check(StartError, ListenError):
            _log.critical("{sentence}", sentence=failure.getErrorMessage())
        else:
            _log.failure("the adapter has failed", failure)
        atexit.register(_exit_with_failure)
        stop(self._reactor)

    async def _stop(self) -> None:
        await self._listening.close()
        self._running.cancel()
        finishing = Deferred.fromCoroutine(self._finish())
        limit = self._reactor.callLater(self._grace_seconds, finishing.cancel)
        with contextlib.suppress(CancelledError):
            await finishing
        if limit.active():
            limit.cancel()
        else:
            _log.warn("what takes longer than {grace:g} s is cut", grace=self._grace_seconds)
        await self._parts.stop()

    async def _finish(self) -> None:
        await self._requests.finish()
        await self._parts.finish()


class _UnderWay(Resource):
    """
    Passes requests on, and knows which are not answered yet.
    """

    isLeaf = True

    def __init__(self, resource: IResource) -> None:
        super().__init__()
        self._resource = resource
        self._requests: set[Request] = set()
        self._finished: Deferred[None] | None = None

    def render(self, request: Request) -> int | bytes:
        self._requests.add(request)
        request.notifyFinish().addBoth(lambda _: self._over(request))
        return cast("int | bytes", self._resource.render(request))

    async def finish(self) -> None:
        """
        Wait until all are answered.
        """
        if self._requests:
            self._finished = Deferred()
            await self._finished

    def _over(self, request: Request) -> None:
        self._requests.discard(request)
        if not self._requests and self._finished is not None and not self._finished.called:
            self._finished.callback(None)


class _QuietSite(Site):
    noisy = False

    def log(self, request: HttpRequest) -> None:
        """
        Say nothing: Powerstrip's log has each hook.
        """


def _exit_with_failure() -> None:
    # Twisted has no way to end with a status of one's own; all else has ended when this is called.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)
