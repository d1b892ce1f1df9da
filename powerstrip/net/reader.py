"""
Reads the messages on one stream: a head, then its body, then the next head.

I/O: bytes go on to another stream as they came, or are held, as the lane says when a head is in.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from enum import Enum
from typing import Protocol

from zope.interface import implementer

from powerstrip.core.http1 import Body, LengthBody, UntilCloseBody
from powerstrip.errors import PowerstripError
from powerstrip.interfaces import IFeeder, IStreamOwner
from powerstrip.net import splice
from powerstrip.net.stream import READ_BYTES, Stream

PENDING_BYTES = 64 * 1024
"""How much of what came before its time is kept, until the peer is made to wait."""


class Side(Protocol):
    """
    One side of a connection, which is told what a reader can't deal with.
    """

    def ended(self) -> None:
        """
        The peer sends no more, and not because a body has ended so.
        """

    def broke(self) -> None:
        """
        The connection broke.
        """

    def misspoke(self, error: PowerstripError) -> None:
        """
        What came is not one clear message.
        """

    def write_failed(self) -> None:
        """
        The peer takes no more.
        """

    def paused(self) -> None:
        """
        The peer is not listened to for now: what it sends can't go on.
        """


class _State(Enum):
    IDLE = "keep what comes"
    HEAD = "wait for a head"
    RELAY = "send a body on"
    COLLECT = "hold a body"
    DISCARD = "drop what comes"


# An enum's attribute takes several times as long to look up, and they are asked for at every read.
_IDLE, _HEAD, _RELAY = _State.IDLE, _State.HEAD, _State.RELAY


@implementer(IStreamOwner, IFeeder)
class MessageReader:
    """
    Reads one side's messages, one part at a time: each is asked for when its turn has come.

    A part that has ended is told once, through the callable given with it.
    """

    __slots__ = (
        "_body",
        "_end",
        "_find_head_end",
        "_held",
        "_limit",
        "_on_end",
        "_on_head",
        "_on_held",
        "_pending",
        "_side",
        "_sink",
        "_state",
        "stream",
    )

    _end: Callable[[], None] | None
    """Tells the side how the stream has ended, once it has."""

    _body: Body | None
    _held: bytearray | None
    _sink: Stream | None
    _on_end: Callable[[], None] | None
    _on_held: Callable[[bytes], None] | None
    _on_head: Callable[[bytes], None] | None

    def __init__(
        self, stream: Stream, side: Side, find_head_end: Callable[[bytes | bytearray, int], int]
    ) -> None:
        self.stream = stream
        self._side = side
        self._find_head_end = find_head_end
        self._pending = b""
        self._state = _IDLE
        self._limit = 0
        self._body = self._held = self._sink = self._end = None
        self._on_end = self._on_held = self._on_head = None
        stream.owner = self
        stream.resume()

    @property
    def has_pending(self) -> bool:
        """
        Whether bytes came that nobody asked for.
        """
        return bool(self._pending)

    @property
    def has_ended(self) -> bool:
        """
        Whether no more bytes will come.
        """
        return self._end is not None

    @property
    def is_idle(self) -> bool:
        """
        Whether nothing is being read.
        """
        return self._state is _IDLE

    @property
    def is_in_body(self) -> bool:
        """
        Whether a part of a body is still to come.
        """
        return self._state in (_RELAY, _State.COLLECT)

    def read_head(self, on_head: Callable[[bytes], None]) -> None:
        """
        Wait for a head, and give its bytes.
        """
        self._on_head = on_head
        if self._pending or self._end is not None:
            self._go_on(_HEAD)
        else:
            self._state = _HEAD
            if not self.stream.reading:
                self.stream.resume()

    def relay_body(
        self, body: Body, sink: Stream, on_end: Callable[[], None], first: bytes = b""
    ) -> None:
        """
        Send a body on, as it comes, up to its end.

        Args:
            body: Reads where it ends. One that ends with the connection is a tunnel's, too.
            first: What goes before it, in the same write where possible.
        """
        pending = self._pending
        if pending:
            count = self._take(body, pending)
            if count is None:
                return
            first += pending[:count]
            self._pending = pending[count:]
        if first:
            sink.write(first)
        if body.ended:
            on_end()
            return
        self._body, self._sink, self._on_end = body, sink, on_end
        self._go_on(_RELAY)
        self._wait_for(sink)

    def collect_body(self, body: Body, limit: int, on_held: Callable[[bytes], None]) -> None:
        """
        Hold a body, and give its bytes as they came, with what frames it.

        Args:
            limit: The bound on its payload. When it is met, what has come so far is given, and
                `body` tells that it has not ended: the rest waits.
        """
        self._body, self._limit, self._on_held = body, limit, on_held
        self._held = bytearray()
        if body.ended:
            self._end_collect()
        else:
            self._go_on(_State.COLLECT)

    def discard(self) -> None:
        """
        Drop what comes from now on.
        """
        self._state = _State.DISCARD
        self._pending = b""
        if self.stream.splice_out is not None:
            self.stream.splice_out.stop()
        self._forget()
        self.stream.resume()

    # IStreamOwner

    def received(self, data: bytes) -> None:
        state = self._state
        if state is _HEAD:
            self._read_head(data)
        elif state is _RELAY:
            self._relay(data)
        elif state is _State.COLLECT:
            self._collect(data)
        elif state is _IDLE:
            self._pending += data
            if len(self._pending) >= PENDING_BYTES:
                self.stream.pause()
                self._side.paused()

    def read_ended(self) -> None:
        self._end = self._side.ended
        self._tell_end()

    def read_failed(self, reason: OSError) -> None:
        self._end = self._side.broke
        self._tell_end()

    def write_failed(self) -> None:
        self._side.write_failed()

    def paused(self) -> None:
        self._side.paused()

    # IFeeder

    def sink_drained(self) -> None:
        self.stream.resume()

    def _go_on(self, state: _State) -> None:
        self._state = state
        pending, self._pending = self._pending, b""
        if pending:
            self.received(pending)
        if self._state is not state:
            return
        if self._end is None:
            self.stream.resume()
        else:
            self._tell_end()

    def _tell_end(self) -> None:
        # Told at once, and again to who asks for more: the end may come before its time.
        assert self._end is not None
        if self._end != self._side.ended or not isinstance(self._body, UntilCloseBody):
            self._end()
            return
        self._body.ended = True
        if self._state is _State.COLLECT:
            self._end_collect()
        else:
            self._end_body()

    def _read_head(self, data: bytes) -> None:
        held = self._held
        try:
            if held is None:
                end = self._find_head_end(data, 0)
            else:
                looked = len(held)
                held += data
                end = self._find_head_end(held, looked)
        except PowerstripError as error:
            self._state = _IDLE
            self._side.misspoke(error)
            return
        if end < 0:
            if held is None:
                self._held = bytearray(data)
            return
        if held is not None:
            data, self._held = bytes(held), None
        self._state = _IDLE
        if end < len(data):
            self._pending = data[end:]
            data = data[:end]
        on_head = self._on_head
        assert on_head is not None
        on_head(data)

    def _relay(self, data: bytes) -> None:
        body, sink = self._body, self._sink
        assert body is not None
        assert sink is not None
        count = self._take(body, data)
        if count is None:
            return
        if count < len(data):
            self._pending = data[count:]
            data = data[:count]
        sink.write(data)
        if self._state is not _RELAY:
            return  # the write has failed, and what comes is dropped
        if body.ended:
            self._end_body()
        elif (
            not self._wait_for(sink) and len(data) == READ_BYTES and splice.pays(self.stream, sink)
        ):
            self._leave_to_the_kernel(body, sink)

    def _take(self, body: Body, data: bytes) -> int | None:
        """
        Count what belongs to the body, or tell the side that it can't be read.
        """
        try:
            return body.take(data)
        except PowerstripError as error:
            self._state = _IDLE
            self._side.misspoke(error)
            return None

    def _wait_for(self, sink: Stream) -> bool:
        if not sink.blocked:
            return False
        self.stream.pause()
        sink.feeder = self
        self._side.paused()
        return True

    def _leave_to_the_kernel(self, body: Body, sink: Stream) -> None:
        # A read that fills its buffer says that there is more: splice(2) takes less for it. The
        # chunks of a chunked body have to be seen. Where writing has failed, nobody would end it.
        if sink.write_failed:
            return
        if isinstance(body, UntilCloseBody) or (
            isinstance(body, LengthBody) and body.length > READ_BYTES
        ):
            with contextlib.suppress(OSError):  # no descriptors left for a pipe: copying goes on
                splice.Splice(self.stream, sink, body, self._end_body)

    def _collect(self, data: bytes) -> None:
        body, held = self._body, self._held
        assert body is not None
        assert held is not None
        count = self._take(body, data)
        if count is None:
            return
        held += data[:count]
        self._pending = data[count:]
        # The lines between chunks count as well, if generously: they are held, too.
        if (
            body.ended
            or body.payload_bytes > self._limit
            or len(held) > 8 * self._limit + READ_BYTES
        ):
            self._end_collect()

    def _end_body(self) -> None:
        on_end = self._on_end
        self._state = _IDLE
        self._forget()
        assert on_end is not None
        on_end()

    def _end_collect(self) -> None:
        on_held, held = self._on_held, self._held
        self._state = _IDLE
        if self._body is not None and not self._body.ended:
            self.stream.pause()
        self._forget()
        assert on_held is not None
        assert held is not None
        on_held(bytes(held))

    def _forget(self) -> None:
        self._body = self._sink = self._held = None
        self._on_end = self._on_held = None
