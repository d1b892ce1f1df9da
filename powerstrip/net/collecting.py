"""
Holds the body of an HTTP answer, whole.

I/O: what `twisted.web.client` delivers.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.iweb import IResponse

__all__ = ["OverLimitError", "collect"]


class OverLimitError(Exception):
    """
    A body is larger than it may be.
    """


async def collect(
    response: IResponse,
    limit_bytes: int | None = None,
    may_end_with_connection: bool = True,
    heard: Callable[[], object] | None = None,
) -> bytes:
    """
    Wait for the body of an answer. Its connection ends when nobody waits any more: `treq.collect`
    would leave it open when it is cancelled.

    Args:
        limit_bytes: How large it may be, or None where who answers is trusted.
        may_end_with_connection: Whether a body may say by nothing else where it ends.
        heard: Is called when a part of it has come.

    Raises:
        OverLimitError: It is larger. The connection ends at once.
        Exception: What has cut it, as Twisted says it.
    """
    collector = _Collector(limit_bytes, may_end_with_connection, heard)
    response.deliverBody(collector)
    return await collector.collected


class _Collector(Protocol):
    def __init__(
        self,
        limit_bytes: int | None,
        may_end_with_connection: bool,
        heard: Callable[[], object] | None,
    ) -> None:
        self.collected: Deferred[bytes] = Deferred(lambda _: self._hang_up())
        self._limit_bytes = limit_bytes
        self._ends = (ResponseDone, *([PotentialDataLoss] if may_end_with_connection else ()))
        self._heard = heard
        self._body = bytearray()

    # IProtocol

    def dataReceived(self, data: bytes) -> None:
        if self._heard is not None:
            self._heard()
        self._body += data
        limit_bytes = self._limit_bytes
        if limit_bytes is None or len(self._body) <= limit_bytes or self.collected.called:
            return
        self._hang_up()
        self.collected.errback(OverLimitError(f"a body of more than {limit_bytes} bytes"))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.collected.called:
            return
        if reason.check(*self._ends):
            self.collected.callback(bytes(self._body))
        else:
            self.collected.errback(reason)

    def _hang_up(self) -> None:
        if self.transport is not None:
            self.transport.loseConnection()
