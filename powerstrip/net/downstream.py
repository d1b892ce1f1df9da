"""
The listening side: reads the heads of a client's requests, and picks a lane for each.

I/O: one exchange at a time. What a client sends ahead waits its turn, so that a request can't run
before the hooks of the one in front of it have.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from attrs import define, field
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from powerstrip.core.answers import error_answer
from powerstrip.core.config import Config
from powerstrip.core.http1 import LengthBody, RequestHead, find_request_end
from powerstrip.errors import PowerstripError
from powerstrip.interfaces import IFeeder
from powerstrip.net.exchange import Exchange
from powerstrip.net.exchange_log import ExchangeLog
from powerstrip.net.hooked import HookedExchange
from powerstrip.net.reactor import Reactor
from powerstrip.net.reader import MessageReader
from powerstrip.net.relay import PassExchange
from powerstrip.net.resource import ProxyResource
from powerstrip.net.stream import SocketTransport, Stream
from powerstrip.net.upstream import Engine, Upstream

_log = Logger()

LINGER_SECONDS = 5.0
"""
How long a client that still sends may take to read the last answer, as nginx's
``lingering_timeout``: a TCP socket that is closed before all was read resets the connection, and
the answer is lost.
"""

WATCH_SECONDS = 1.0
"""
How often a client that has half-closed is looked at: a socket that has told its end tells nothing
more of itself, and its client may leave before an answer comes.
"""

STUCK_LOOKS = 5
"""After how many looks at which nothing has moved a client that has gone is given up."""


@define
class Proxy:
    """
    What all connections share.
    """

    engine: Engine
    read_config: Callable[[], Config]
    """Gives the configuration in force."""

    resource: ProxyResource
    log: ExchangeLog
    reactor: Reactor
    connections: Connections = field(factory=lambda: Connections())


class Connections:
    """
    The connections of clients that are open.
    """

    def __init__(self) -> None:
        self.are_draining = False
        """Whether each is closed when its exchange has ended."""

        self._open: set[Downstream] = set()
        self._drained: Deferred[None] | None = None

    def add(self, connection: Downstream) -> None:
        """
        Take note of a connection.
        """
        self._open.add(connection)

    def discard(self, connection: Downstream) -> None:
        """
        Forget a connection.
        """
        self._open.discard(connection)
        if self._drained is not None and not self._open:
            drained, self._drained = self._drained, None
            drained.callback(None)

    async def drain(self, clock: IReactorTime, grace_seconds: float) -> None:
        """
        Close them all: the idle now, the others when their exchange has ended, or the time is over.
        """
        self.are_draining = True
        for connection in list(self._open):
            if connection.exchange is None:
                connection.finish()
        if not self._open:
            return
        self._drained = Deferred()
        limit = clock.callLater(grace_seconds, self._abort_all)
        await self._drained
        if limit.active():
            limit.cancel()

    def _abort_all(self) -> None:
        for connection in list(self._open):
            connection.abort()


class _UpstreamSide:
    """
    Tells a client's connection what happens on the engine's.
    """

    __slots__ = ("_connection",)

    def __init__(self, connection: Downstream) -> None:
        self._connection = connection

    def ended(self) -> None:
        self._connection.upstream_ended()

    def broke(self) -> None:
        self._connection.upstream_ended()

    def misspoke(self, error: PowerstripError) -> None:
        self._connection.upstream_misspoke(error)

    def write_failed(self) -> None:
        self._connection.upstream_write_failed()

    def paused(self) -> None:
        """
        The client is slow; or the engine has sent too much, which `Upstream.is_ready` sees.
        """


@implementer(IFeeder)
class Downstream(Protocol):
    """
    A client's connection.
    """

    exchange: Exchange | None = None
    """The one under way."""

    upstream: Upstream | None = None
    """The engine's connection that belongs to this one."""

    stream: Stream
    reader: MessageReader
    _peer: str | None = None
    _closing = False
    _connecting: Deferred[None] | None = None
    _linger: IDelayedCall | None = None
    _watch: IDelayedCall | None = None
    _moved = 0
    _still_looks = 0

    def __init__(self, proxy: Proxy, address: IAddress | None) -> None:
        self.proxy = proxy
        self.address = address

    def connectionMade(self) -> None:
        self.proxy.connections.add(self)
        self.stream = Stream(cast(SocketTransport, self.transport), self.proxy.reactor)
        self.reader = MessageReader(self.stream, self, find_request_end)
        self.reader.read_head(self._head_came)

    def _head_came(self, raw: bytes) -> None:
        started = self.proxy.reactor.seconds()
        if self.proxy.log.traces:
            self.proxy.log.request_came(self, raw)
        try:
            head = RequestHead.parse(raw)
            hooks = self.proxy.read_config().hooks_for(head.method, head.target)
        except PowerstripError as error:
            self.misspoke(error)
            return
        if hooks.are_wanted:
            hooked = HookedExchange(self, head, started, hooks)
            self.exchange = hooked
            self.proxy.resource.render(hooked)
            return
        passed = PassExchange(self, head, started)
        self.exchange = passed
        if self.upstream is not None and self.upstream.is_ready:
            passed.begin(self.upstream)
        else:
            self._connecting = Deferred.fromCoroutine(self._begin(passed))
            self._connecting.addErrback(self._failed)

    def _failed(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            _log.failure("an exchange in the pass lane failed", failure)
            self.broke()

    async def _begin(self, exchange: PassExchange) -> None:
        try:
            upstream = await self.connect()
        except PowerstripError as error:
            exchange.fail(error)
        else:
            exchange.begin(upstream)

    @property
    def peer(self) -> str:
        """
        Who the client is: its address, or its process on a UNIX socket.
        """
        if self._peer is None:
            self._peer = peer_name(self.address, self.stream)
        return self._peer

    async def connect(self) -> Upstream:
        """
        Give the engine's connection, opened with the first request.

        Raises:
            UpstreamConnectError: when the engine can't be reached.
        """
        if self.upstream is not None and not self.upstream.is_ready:
            self._drop_upstream()
        if self.upstream is None:
            self.upstream = await self.proxy.engine.connect(_UpstreamSide(self))
        return self.upstream

    # What exchanges say

    def exchange_ended(
        self, exchange: Exchange, *, closes: bool, error: PowerstripError | None
    ) -> None:
        """
        The exchange has ended, with an error that the client is now told, or none.
        """
        self.exchange = None
        if error is not None:
            answer = error_answer(error, exchange.request.method)
            exchange.response_body = body = LengthBody(len(answer.partition(b"\r\n\r\n")[2]))
            body.take(answer)
            self.stream.write(answer)
            self._drop_upstream()
        self.proxy.log.ended(exchange, self, str(error) if error else None)
        if closes or self._is_last():
            self.close()
        elif self.stream.blocked:
            self.stream.feeder = self  # a client that reads no answers is asked for no requests
        else:
            self.reader.read_head(self._head_came)

    def exchange_abandoned(self, exchange: Exchange, why: str) -> None:
        """
        The exchange has ended without an answer, or within it.
        """
        self.exchange = None
        self.proxy.log.ended(exchange, self, why)
        self._drop_upstream()
        self._gone()
        self.stream.abort()

    def _is_last(self) -> bool:
        gone = self.reader.has_ended and not self.reader.has_pending
        return gone or self.proxy.connections.are_draining

    # Side: what the client does

    def ended(self) -> None:
        if self.exchange is not None:
            self.exchange.downstream_ended()
            self.watch()
        elif not (self.stream.blocked and self.reader.has_pending):
            self._close_at_last()

    def paused(self) -> None:
        self.watch()

    def watch(self) -> None:
        """
        Look now and then whether a client that is not listened to is still there.
        """
        if self.exchange is not None and (self._watch is None or not self._watch.active()):
            self._watch = self.proxy.reactor.callLater(WATCH_SECONDS, self._look)

    def _look(self) -> None:
        exchange = self.exchange
        if exchange is None or self.stream.reading:
            return
        if exchange.awaits_hooks and self.stream.peer_has_left():
            exchange.abandon("the client left")
        elif not self.stream.peer_has_gone():
            self.watch()
        elif self.reader.has_ended:
            exchange.downstream_ended()
        elif self._is_stuck(exchange):
            exchange.abandon("the client left, and the engine takes no more of what it sent")
        else:
            self.watch()

    def _is_stuck(self, exchange: Exchange) -> bool:
        # What a client has sent before it left still counts, as long as the engine takes it.
        moved = 0 if exchange.request_body is None else exchange.request_body.payload_bytes
        self._still_looks = self._still_looks + 1 if moved == self._moved else 0
        self._moved = moved
        return self._still_looks >= STUCK_LOOKS

    def broke(self) -> None:
        if self.exchange is not None:
            self.exchange.abandon("the client left")
        else:
            self._close_at_last()

    def misspoke(self, error: PowerstripError) -> None:
        if self.exchange is not None:
            self.exchange.fail(error)
            return
        self.stream.write(error_answer(error, "GET"))
        self.proxy.log.refused(self, error)
        self.close()

    def write_failed(self) -> None:
        self.broke()

    # What the engine does

    def upstream_ended(self) -> None:
        """
        The engine has closed, or the connection to it broke.
        """
        exchange = self.exchange
        if exchange is not None and exchange.upstream is not None:
            exchange.upstream_ended()
            return
        self._drop_upstream()
        if exchange is None:
            self.close()

    def upstream_misspoke(self, error: PowerstripError) -> None:
        """
        What the engine sent is not HTTP.
        """
        if self.exchange is not None:
            self.exchange.fail(error)

    def upstream_write_failed(self) -> None:
        """
        The engine takes no more.
        """
        if self.exchange is not None:
            self.exchange.upstream_write_failed()

    # Closing

    def close(self) -> None:
        """
        Close when the client has read what it was sent.
        """
        if self.upstream is not None:
            self.upstream.stream.close()
            self.upstream = None
        if self._closing:
            return
        self._closing = True
        self.stream.half_close()
        self.reader.discard()
        if self.stream.blocked:
            self.stream.feeder = self
        else:
            self.sink_drained()

    def sink_drained(self) -> None:
        """
        Go on, now that all of the last answer has gone out.
        """
        if not self._closing:
            self.reader.read_head(self._head_came)
        elif self.reader.has_ended:
            self._close_at_last()
        else:  # the client has its time to read what the kernel holds
            self._linger = self.proxy.reactor.callLater(LINGER_SECONDS, self._close_at_last)

    def finish(self) -> None:
        """
        Close a connection that is idle, at once if the client was sent all.
        """
        if self.stream.blocked:
            self.close()
        elif not self._closing:
            self.abort()

    def abort(self) -> None:
        """
        Close at once.
        """
        if self.exchange is not None:
            self.exchange.abandon("powerstrip stops")
        else:
            self._drop_upstream()
            self._gone()
            self.stream.abort()

    def _close_at_last(self) -> None:
        self._drop_upstream()
        if self.stream.blocked and not self.stream.write_failed:
            self._closing = True
            self.stream.feeder = self
            return
        self._gone()
        self.stream.close()

    def _drop_upstream(self) -> None:
        if self.upstream is not None:
            self.upstream.stream.abort()
            self.upstream = None

    def _gone(self) -> None:
        self.proxy.connections.discard(self)
        if self._connecting is not None:
            self._connecting.cancel()
        for call in (self._linger, self._watch):
            if call is not None and call.active():
                call.cancel()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """
        The transport is done with.
        """


def peer_name(address: IAddress | None, stream: Stream) -> str:
    """
    Name a client for the log, such as ``10.0.0.7:53412`` or ``uid=1000,pid=4711``.
    """
    if isinstance(address, (IPv4Address, IPv6Address)):
        return f"{address.host}:{address.port}"
    credentials = stream.peer_credentials()
    return "unix" if credentials is None else f"uid={credentials.uid},pid={credentials.pid}"


class DownstreamFactory(Factory):
    """
    Makes a `Downstream` for each connection of a client.
    """

    noisy = False

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy

    def buildProtocol(self, addr: IAddress | None) -> Downstream:
        return Downstream(self._proxy, addr)
