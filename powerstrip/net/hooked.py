"""
An exchange in the hook lane, as `ProxyResource` reads and answers it.

I/O: what the exchange waits for is awaited in a coroutine; bodies that no hook must see move as in
the pass lane. The coroutine is cancelled when the client leaves or the engine fails.
"""

from __future__ import annotations

from collections.abc import Coroutine
from types import CoroutineType
from typing import TYPE_CHECKING, Any, cast

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from powerstrip.core.chain import HookReport
from powerstrip.core.config import Hooks
from powerstrip.core.http1 import Body, RequestHead, ResponseHead
from powerstrip.errors import DownstreamProtocolError, PowerstripError, UpstreamProtocolError
from powerstrip.net.exchange import Exchange

if TYPE_CHECKING:
    from powerstrip.net.downstream import Downstream

_log = Logger()

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class HookedExchange(Exchange):
    """
    A request that hooks see, and its answer.
    """

    __slots__ = ("_reports", "_response", "_running", "_steps", "hooks")

    lane = "hook"

    def __init__(
        self, connection: Downstream, request: RequestHead, started: float, hooks: Hooks
    ) -> None:
        super().__init__(connection, request, started)
        self.hooks = hooks
        self._response: Deferred[ResponseHead] = Deferred()
        self._steps: Coroutine[Deferred[Any], Any, None] | None = None
        self._running: Deferred[None] | None = None
        self._reports: list[HookReport] = []

    @property
    def hook_reports(self) -> tuple[HookReport, ...]:
        return tuple(self._reports)

    def run(self, steps: Coroutine[Deferred[Any], Any, None]) -> None:
        """
        Run the exchange: an error of it is told to the client.
        """
        self._steps = steps
        self._running = Deferred.fromCoroutine(steps)
        self._running.addErrback(self._failed)

    def report(self, report: HookReport) -> None:
        """
        Take note of a hook that has ended.
        """
        self._reports.append(report)
        self.connection.proxy.log.hook_ended(self, report)

    async def read_body(self, limit: int) -> tuple[bytes, Body]:
        """
        Hold the request's body, up to a bound.

        Returns:
            Its bytes as they came, and what tells whether they are all.
        """
        body = self.request.body()
        self.request_body = body
        if self.request.expects_continue:
            self.connection.stream.write(_CONTINUE)
        held: Deferred[bytes] = Deferred()
        self.connection.reader.collect_body(body, limit, held.callback)
        return await held, body

    async def forward(self, head: bytes, held_body: bytes | None) -> ResponseHead:
        """
        Send the request to the engine, and wait for the head of the answer.

        Args:
            held_body: The body, or None where it streams on from the client as it comes.
        """
        upstream = await self.connection.connect()
        if held_body is None:
            self.send_request(head, self.request.body(), upstream)
        else:
            self.send_held_request(head + held_body, upstream)
        return await self._response

    async def read_response_body(self, body: Body, limit: int) -> bytes:
        """
        Hold the body of the answer, up to a bound: the rest waits.
        """
        assert self.upstream is not None
        held: Deferred[bytes] = Deferred()
        self.upstream.reader.collect_body(body, limit, held.callback)
        return await held

    def response_came(self, response: ResponseHead) -> None:
        self._response.callback(response)

    @property
    def awaits_hooks(self) -> bool:
        return self.status is None and (self.upstream is None or self._response.called)

    def downstream_ended(self) -> None:
        if not self.awaits_hooks:
            super().downstream_ended()
        elif self.connection.reader.is_in_body:
            self.fail(DownstreamProtocolError("the request's body ended early"))
        elif not self.connection.stream.is_half_closed():
            # Adapters are at work. What is no more than half-closed, as a socket of UNIX can tell,
            # still waits for its answer.
            self.abandon("the client left")

    def upstream_ended(self) -> None:
        if self.status is not None or not self._response.called:
            super().upstream_ended()
        elif self.upstream and not self.upstream.reader.is_idle:
            self.fail(UpstreamProtocolError("the Docker Engine broke off its answer"))
        # Else hooks are at work, and the end is told again when the rest of the answer is wanted.

    def fail(self, error: PowerstripError) -> None:
        super().fail(error)
        self._cancel()

    def abandon(self, why: str) -> None:
        super().abandon(why)
        self._cancel()

    def _failed(self, failure: Failure) -> None:
        if self.over and failure.check(CancelledError):
            return
        error = failure.value
        if isinstance(error, PowerstripError):
            self.fail(error)
            return
        _log.failure("an exchange in the hook lane failed", failure)
        self.fail(PowerstripError("an error of its own, which its log shows"))

    def _cancel(self) -> None:
        steps, running = self._steps, self._running
        if steps is None or (running is not None and running.called):
            return
        if running is None or cast("CoroutineType[Any, Any, None]", steps).cr_running:
            # A step of its own has ended the exchange: it can be cancelled where it waits next.
            self.connection.proxy.reactor.callLater(0, self._cancel)
        else:
            running.cancel()
