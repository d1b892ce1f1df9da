"""
The kernel moves a body from one socket to another, through a pipe.

I/O: ``splice(2)`` on both ends of a pipe that belongs to the move while it lasts. The bytes never
come to Python. Back-pressure is the sockets' own and one pipe's.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable
from typing import ClassVar

from powerstrip.core.http1 import LengthBody, UntilCloseBody
from powerstrip.net.stream import Stream

AVAILABLE = hasattr(os, "splice")
"""Linux, and Python 3.10 or newer."""

PIPE_BYTES = 1024 * 1024
"""What Linux lets every user ask for (``/proc/sys/fs/pipe-max-size``)."""

_ROUNDS = 8
"""How often a pipe is filled for one event, so that other connections have their turn."""

_SPARE_PIPES = 16

_TRICKLE_BYTES = 4096
"""A tunnel with so little in it (somebody typing) is copied, which is quicker then."""

_FLAGS = (os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK) if AVAILABLE else 0


def pays(source: Stream, sink: Stream) -> bool:
    """
    Whether splicing takes less of the CPU than copying.

    It takes half or a third, except from a UNIX socket to TCP: what comes from there is in small
    pages, of which TCP makes small packets (0.41 s for a GiB, and 0.28 copied in pieces of 64 KiB).
    """
    return AVAILABLE and (not source.is_unix or sink.is_unix)


class Pipe:
    """
    The kernel's buffer between two sockets.
    """

    __slots__ = ("held", "read_end", "write_end")

    _spare: ClassVar[list[Pipe]] = []

    def __init__(self) -> None:
        self.read_end, self.write_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.held = 0
        # Over its share of pipe memory, an unprivileged user keeps the default of 64 KiB.
        with contextlib.suppress(OSError):
            fcntl.fcntl(self.write_end, fcntl.F_SETPIPE_SZ, PIPE_BYTES)

    @classmethod
    def take(cls) -> Pipe:
        """
        An empty pipe.
        """
        return cls._spare.pop() if cls._spare else cls()

    def release(self) -> None:
        """
        Keep the pipe for the next body, or close it if bytes are left in it.
        """
        if not self.held and len(self._spare) < _SPARE_PIPES:
            self._spare.append(self)
            return
        os.close(self.read_end)
        os.close(self.write_end)


class Splice:
    """
    Moves what comes on one stream to another, up to the end of a body or of the connection.
    """

    __slots__ = ("_body", "_on_end", "_pipe", "_sink", "_source")

    def __init__(
        self,
        source: Stream,
        sink: Stream,
        body: LengthBody | UntilCloseBody,
        on_end: Callable[[], None],
    ) -> None:
        """
        Begin.

        Args:
            sink: Nothing may be kept there.
            on_end: Called when the whole body has gone out. What ends it early is told to the
                streams' owners.
        """
        self._source = source
        self._sink = sink
        self._body = body
        self._on_end = on_end
        self._pipe: Pipe | None = Pipe.take()
        source.splice_out = self

    def source_ready(self) -> None:
        """
        Move what has come.
        """
        before = self._body.payload_bytes
        for _ in range(_ROUNDS):
            if not self._fill_pipe():
                break
            if not self._empty_pipe():
                return
            if self._body.ended:
                self._end()
                return
        if self._body.length is None and self._body.payload_bytes - before < _TRICKLE_BYTES:
            self.stop()

    def sink_ready(self) -> None:
        """
        Go on where the sink took no more.
        """
        if not self._empty_pipe():
            return
        self._sink.stop_awaiting_writable()
        if self._body.ended:
            self._end()
        else:
            self._source.resume()

    def stop(self) -> None:
        """
        Leave the streams to their owners again. What is in the pipe is lost.
        """
        if self._pipe is None:
            return
        self._source.splice_out = None
        if self._sink.splice_in is self:
            self._sink.stop_awaiting_writable()
        self._pipe.release()
        self._pipe = None

    def _end(self) -> None:
        self.stop()
        self._on_end()

    def _fill_pipe(self) -> bool:
        if self._pipe is None:
            return False
        length = self._body.length
        count = PIPE_BYTES if length is None else min(length, PIPE_BYTES)
        try:
            moved = os.splice(self._source.fileno(), self._pipe.write_end, count, flags=_FLAGS)
        except BlockingIOError:
            return False
        except OSError as error:
            self.stop()
            self._source.end_read(error)
            return False
        if not moved:
            self.stop()
            self._source.end_read(None)
            return False
        self._body.skip(moved)
        self._pipe.held += moved
        return True

    def _empty_pipe(self) -> bool:
        while self._pipe is not None and self._pipe.held:
            try:
                moved = os.splice(
                    self._pipe.read_end, self._sink.fileno(), self._pipe.held, flags=_FLAGS
                )
            except BlockingIOError:
                self._sink.await_writable(self)
                if self._source.reading:
                    self._source.pause()
                    self._source.owner.paused()
                return False
            except OSError:
                self.stop()
                self._sink.fail_write()
                return False
            self._pipe.held -= moved
        return self._pipe is not None
