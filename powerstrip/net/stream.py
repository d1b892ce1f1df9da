"""
One connected socket, read and written directly on the reactor.

I/O: a `Stream` takes the socket over from the transport that Twisted made for it, and gives it back
to be closed. Between the two it does what a transport would, and what a transport does not: it
tells a half-close from a close, goes on reading when writing has failed (an engine that refuses an
upload answers and closes), and lets the kernel move bytes to another stream.
"""

from __future__ import annotations

import select
import socket
import struct
from collections import deque
from typing import TYPE_CHECKING, Protocol

from attrs import frozen
from twisted.internet.interfaces import IReadDescriptor, IWriteDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from powerstrip.net.reactor import Reactor

if TYPE_CHECKING:
    from powerstrip.interfaces import IFeeder, IStreamOwner
    from powerstrip.net.splice import Splice

READ_BYTES = 64 * 1024

READS = 8
"""How often one event has a socket read that always has more, so that others have their turn."""

KEEPALIVE_SECONDS = 15
"""Go's ``net.Dialer`` and ``net.ListenConfig``."""


@frozen
class Credentials:
    """
    A process on the other side of a UNIX socket.
    """

    pid: int
    uid: int


class SocketTransport(Protocol):
    """
    What a stream needs of Twisted's transports for TCP and UNIX sockets.
    """

    def getHandle(self) -> socket.socket: ...

    def stopReading(self) -> None: ...

    def loseConnection(self) -> None: ...

    def abortConnection(self) -> None: ...


def _tune(connection: socket.socket) -> None:
    # As Go does: no piece of a stream waits for the acknowledgement of the one before, and a peer
    # whose machine has vanished is noticed.
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name in ("TCP_KEEPIDLE", "TCP_KEEPINTVL"):
        if hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), KEEPALIVE_SECONDS)


@implementer(IReadDescriptor, IWriteDescriptor)
class Stream:
    """
    A socket that is read and written.

    Bytes that the kernel does not take at once are kept and sent when it does: a writer looks at
    `blocked` and waits until its `feeder` is told, so that one read's worth is kept at most, or one
    message that hooks have held.
    """

    __slots__ = (
        "_closing",
        "_ended",
        "_fd",
        "_given_back",
        "_half_closed",
        "_half_closing",
        "_outgoing",
        "_reactor",
        "_socket",
        "_transport",
        "feeder",
        "owner",
        "reading",
        "splice_in",
        "splice_out",
        "write_failed",
    )

    owner: IStreamOwner
    """Is told what comes; set before `resume`."""

    feeder: IFeeder | None
    """Waits for what is kept here to go out."""

    splice_out: Splice | None
    """Moves what comes here on, instead of the owner."""

    splice_in: Splice | None
    """Waits for this socket to take more from its pipe."""

    def __init__(self, transport: SocketTransport, reactor: Reactor) -> None:
        transport.stopReading()
        self._transport = transport
        self._reactor = reactor
        self._socket = transport.getHandle()
        self._fd = self._socket.fileno()
        if not self.is_unix:
            _tune(self._socket)
        self._outgoing: deque[memoryview] = deque()
        self._half_closing = False
        self._half_closed = False
        self._closing = False
        self._ended = False
        self._given_back = False
        self.reading = False
        self.write_failed = False
        self.feeder = None
        self.splice_in = None
        self.splice_out = None

    @property
    def blocked(self) -> bool:
        """
        Whether bytes are kept because the kernel takes no more for now.
        """
        return bool(self._outgoing)

    @property
    def is_unix(self) -> bool:
        """
        Whether this is a UNIX socket.
        """
        return self._socket.family == socket.AF_UNIX

    @property
    def is_write_closed(self) -> bool:
        """
        Whether nothing more can be written: it has failed, or this side has half-closed.
        """
        return self.write_failed or self._half_closed

    def resume(self) -> None:
        """
        Read, and tell the owner what comes.
        """
        if not self.reading and not self._ended:
            self.reading = True
            self._reactor.addReader(self)

    def pause(self) -> None:
        """
        Leave what comes to the kernel, which makes the peer wait when its buffers are full.
        """
        if self.reading:
            self.reading = False
            self._reactor.removeReader(self)

    def write(self, data: bytes) -> None:
        """
        Send bytes, in order. They are lost if writing has failed.
        """
        if self.write_failed:
            return
        if self._outgoing:
            self._outgoing.append(memoryview(data))
            return
        try:
            sent = self._socket.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.fail_write()
            return
        if sent < len(data):
            self._outgoing.append(memoryview(data)[sent:])
            self._reactor.addWriter(self)

    def await_writable(self, splice: Splice) -> None:
        """
        Have a splice told when this socket takes more.
        """
        self.splice_in = splice
        self._reactor.addWriter(self)

    def stop_awaiting_writable(self) -> None:
        """
        Have the splice told no longer.
        """
        self.splice_in = None
        self._reactor.removeWriter(self)

    def half_close(self) -> None:
        """
        Tell the peer that no more will come, after all that was written.
        """
        self._half_closed = self._half_closing = True
        if not self._outgoing:
            self._shut_down_write()

    def close(self) -> None:
        """
        Close, after all that was written has gone out. The owner is told nothing more.
        """
        if self._given_back:
            return
        self._closing = True
        self.pause()
        if not self._outgoing or self.write_failed:
            self._give_back()
            self._transport.loseConnection()

    def abort(self) -> None:
        """
        Close at once. The owner is told nothing more.
        """
        if not self._given_back:
            self._give_back()
            self._transport.abortConnection()

    def peer_has_gone(self) -> bool:
        """
        Whether the peer has closed for good, as far as the kernel can tell.

        A UNIX socket tells that from a half-close; TCP learns it only when it writes.
        """
        if self._given_back:
            return True
        poll = select.poll()
        poll.register(self._fd, 0)
        return any(event & (select.POLLHUP | select.POLLERR) for _, event in poll.poll(0))

    def peer_has_left(self) -> bool:
        """
        Whether the peer sends no more and may have gone, even where what it sent waits unread.
        """
        if self._given_back:
            return True
        poll = select.poll()
        poll.register(self._fd, select.POLLRDHUP)
        return bool(poll.poll(0)) and not self.is_half_closed()

    def is_half_closed(self) -> bool:
        """
        Whether the peer, which sends no more, is known to wait for what it is sent.
        """
        return self.is_unix and not self.peer_has_gone()

    def peer_credentials(self) -> Credentials | None:
        """
        Who connected to this socket, where it is a UNIX socket: unix(7), ``SO_PEERCRED``.
        """
        if not self.is_unix or not hasattr(socket, "SO_PEERCRED"):
            return None
        size = struct.calcsize("3i")
        option = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
        pid, uid, _ = struct.unpack("3i", option)
        return Credentials(pid, uid)

    def fail_write(self) -> None:
        """
        Give up writing: what was kept is lost, and the owner is told.
        """
        if self.write_failed:
            return
        self.write_failed = True
        self._outgoing.clear()
        if self.splice_in is not None:
            self.splice_in.stop()
        self._reactor.removeWriter(self)
        if self._closing:
            self.close()
        else:
            self.owner.write_failed()

    def end_read(self, reason: OSError | None) -> None:
        """
        Take notice that no more will come.

        Args:
            reason: What broke the connection, or None at a regular end.
        """
        self.pause()
        self._ended = True
        if reason is None:
            self.owner.read_ended()
        else:
            self.owner.read_failed(reason)

    def _shut_down_write(self) -> None:
        self._half_closing = False
        if not self.write_failed:
            try:
                self._socket.shutdown(socket.SHUT_WR)
            except OSError:  # the peer has gone: its reader learns so
                self.fail_write()

    def _give_back(self) -> None:
        # Once: the number of a closed descriptor may be another connection's by now.
        self._given_back = True
        self._closing = True
        self.reading = False
        self._ended = True
        self.write_failed = True
        self._outgoing.clear()
        self.feeder = None
        for splice in (self.splice_in, self.splice_out):
            if splice is not None:
                splice.stop()
        self._reactor.removeReader(self)
        self._reactor.removeWriter(self)
        self._fd = -1

    # IReadDescriptor and IWriteDescriptor

    def fileno(self) -> int:
        return self._fd

    def logPrefix(self) -> str:
        return "powerstrip"

    def doRead(self) -> None:
        if self.splice_out is not None:
            self.splice_out.source_ready()
            return
        for _ in range(READS):
            try:
                data = self._socket.recv(READ_BYTES)
            except BlockingIOError:
                return
            except OSError as error:
                self.end_read(error)
                return
            if not data:
                self.end_read(None)
                return
            self.owner.received(data)
            if len(data) < READ_BYTES or not self.reading or self.splice_out is not None:
                return

    def doWrite(self) -> None:
        if self.splice_in is not None:
            self.splice_in.sink_ready()
            return
        while self._outgoing:
            data = self._outgoing[0]
            try:
                sent = self._socket.send(data)
            except BlockingIOError:
                return
            except OSError:
                self.fail_write()
                return
            if sent < len(data):
                self._outgoing[0] = data[sent:]
                return
            self._outgoing.popleft()
        self._reactor.removeWriter(self)
        self._drained()

    def _drained(self) -> None:
        if self._closing:
            self.close()
            return
        if self._half_closing:
            self._shut_down_write()
        feeder, self.feeder = self.feeder, None
        if feeder is not None:
            feeder.sink_drained()

    def connectionLost(self, reason: Failure) -> None:
        """
        Take notice of a hang-up. While not reading, what is in the socket can still be read later.
        """
        was_reading, self.reading = self.reading, False
        self.fail_write()
        if was_reading and not self._ended:
            self.end_read(ConnectionResetError(reason.getErrorMessage()))
