"""
The ends of connections that a test holds itself: clients, engines and adapters that do as told.

I/O: plain sockets on the reactor. A peer reads only while it is asked to, so that one that stops
reading, half-closes or resets is a matter of a line in the test.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import struct
import zlib
from pathlib import Path
from typing import Any, cast

from twisted.internet import reactor as installed_reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReadDescriptor, IWriteDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

reactor = cast(Any, installed_reactor)

PATIENCE_SECONDS = 10.0
"""How long a test waits for what must come; a test that is right never waits so long."""

READ_BYTES = 256 * 1024

WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)

PATTERN = bytes(zlib.crc32(b"%d" % n) & 0xFF for n in range(65_537)) * 15
"""What bulk is made of: its length and its period are odd, unlike those of buffers and pipes."""


def bulk(count: int) -> bytes:
    """
    So many bytes in which a piece that is lost, or comes twice, can't go unseen.
    """
    return (PATTERN * (count // len(PATTERN) + 1))[:count]


async def turn() -> None:
    """
    Let the reactor turn once.
    """
    turned: Deferred[None] = Deferred()
    reactor.callLater(0, turned.callback, None)
    await turned


async def settle(turns: int = 25) -> None:
    """
    Let the reactor turn until all has happened that happens by itself.

    Between local sockets, what one end has sent the other can read at once.
    """
    for _ in range(turns):
        await turn()


async def carried(data: bytes, source: Peer, sink: Peer) -> bytes:
    """
    What of some bytes arrives at the other end, which reads while they are sent.
    """
    sending = Deferred.fromCoroutine(source.send(data))
    sending.addErrback(lambda failure: failure.trap(CancelledError))
    try:
        return await sink.read_exactly(len(data))
    finally:
        sending.cancel()


class _Readiness:
    """
    Waits until something can be done on a socket.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._readable: Deferred[None] | None = None
        self._writable: Deferred[None] | None = None

    async def _until_readable(self) -> None:
        assert self._readable is None
        self._readable = Deferred()
        reactor.addReader(self)
        try:
            await self._readable.addTimeout(PATIENCE_SECONDS, reactor)
        finally:
            self._readable = None
            reactor.removeReader(self)

    async def _until_writable(self) -> None:
        assert self._writable is None
        self._writable = Deferred()
        reactor.addWriter(self)
        try:
            await self._writable.addTimeout(PATIENCE_SECONDS, reactor)
        finally:
            self._writable = None
            reactor.removeWriter(self)

    def _forget(self) -> None:
        reactor.removeReader(self)
        reactor.removeWriter(self)

    # IReadDescriptor and IWriteDescriptor

    def fileno(self) -> int:
        return self._socket.fileno()

    def logPrefix(self) -> str:
        return "a test"

    def doRead(self) -> None:
        if self._readable is not None and not self._readable.called:
            self._readable.callback(None)

    def doWrite(self) -> None:
        if self._writable is not None and not self._writable.called:
            self._writable.callback(None)

    def connectionLost(self, reason: Failure) -> None:
        self.doRead()
        self.doWrite()


@implementer(IReadDescriptor, IWriteDescriptor)
class Peer(_Readiness):
    """
    One end of a connection.
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        super().__init__(sock)
        self._buffer = bytearray()

    # Reading

    async def read(self) -> bytes:
        """
        The bytes that come next; none when the other end has ended.

        Raises:
            ConnectionResetError: when it broke the connection.
        """
        return self._take(len(self._buffer)) if self._buffer else await self._receive()

    async def read_exactly(self, count: int) -> bytes:
        """
        So many bytes.
        """
        while len(self._buffer) < count:
            await self._receive_more(f"{count} bytes")
        return self._take(count)

    async def read_until(self, mark: bytes) -> bytes:
        """
        The bytes up to and with a mark.
        """
        while mark not in self._buffer:
            await self._receive_more(repr(mark))
        return self._take(self._buffer.index(mark) + len(mark))

    async def read_head(self) -> bytes:
        """
        The head of a message, with the empty line behind it.
        """
        return await self.read_until(b"\r\n\r\n")

    async def read_to_end(self) -> bytes:
        """
        All that comes until the other end ends.
        """
        while data := await self._receive():
            self._buffer += data
        return self._take(len(self._buffer))

    async def read_bulk(self, count: int) -> int:
        """
        The checksum of so many bytes, none of which is kept.
        """
        first = self._take(min(count, len(self._buffer)))
        checksum, count = zlib.crc32(first), count - len(first)
        while count:
            data = await self._receive(min(count, READ_BYTES))
            assert data, f"the other end has ended, {count} bytes before its time"
            checksum, count = zlib.crc32(data, checksum), count - len(data)
        return checksum

    async def sees_the_end(self) -> bool:
        """
        Wait until the other end has ended, or broken the connection, with nothing more to read.
        """
        try:
            return await self.read_to_end() == b""
        except ConnectionError:
            return not self._buffer

    async def has_nothing_to_read(self) -> bool:
        """
        Whether all that happens by itself brings nothing here: neither bytes nor an end.
        """
        await settle()
        try:
            self._buffer += self._socket.recv(READ_BYTES)
        except WOULD_BLOCK:
            return not self._buffer
        return False

    # Writing

    def send_now(self, data: bytes) -> None:
        """
        Send bytes that the kernel must take all at once.
        """
        assert len(data) == self._socket.send(data)

    async def send(self, data: bytes) -> None:
        """
        Send bytes, and wait until the kernel has taken all.
        """
        view = memoryview(data)
        while view:
            try:
                view = view[self._socket.send(view) :]
            except WOULD_BLOCK:
                await self._until_writable()

    async def send_bulk(self, count: int) -> int:
        """
        Send so many bytes, and give their checksum.
        """
        checksum = 0
        while count:
            data = PATTERN[:count]
            await self.send(data)
            checksum, count = zlib.crc32(data, checksum), count - len(data)
        return checksum

    async def send_while_taken(self, data: bytes) -> int:
        """
        Send bytes until no more are taken, though all has happened that happens by itself.

        Returns:
            How many were sent.
        """
        sent, was_refused = 0, False
        while sent < len(data):
            try:
                sent += self._socket.send(data[sent : sent + READ_BYTES])
                was_refused = False
            except WOULD_BLOCK:
                if was_refused:
                    break
                was_refused = True
                await settle()
        return sent

    # Ending

    def half_close(self) -> None:
        """
        Send no more.
        """
        self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """
        Close both directions.
        """
        if self.fileno() >= 0:
            self._forget()
            self._socket.close()

    def reset(self) -> None:
        """
        Break the connection: over TCP by a reset, over a UNIX socket by closing it.
        """
        if self._socket.family != socket.AF_UNIX:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def give_socket(self) -> socket.socket:
        """
        Leave the socket to somebody else.
        """
        self._forget()
        return self._socket

    def _take(self, count: int) -> bytes:
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        return data

    async def _receive(self, limit: int = READ_BYTES) -> bytes:
        while True:
            try:
                return self._socket.recv(limit)
            except WOULD_BLOCK:
                await self._until_readable()

    async def _receive_more(self, wanted: str) -> None:
        data = await self._receive()
        assert data, f"the other end has ended before {wanted}, after {bytes(self._buffer)!r}"
        self._buffer += data


class TlsPeer(Peer):
    """
    One end of a connection over TLS.
    """

    def __init__(self, plain: Peer, context: ssl.SSLContext, name: str | None = None) -> None:
        """
        Args:
            name: The server's, where this is the client's end.
        """
        wrapped = context.wrap_socket(
            plain.give_socket(),
            server_side=name is None,
            server_hostname=name,
            do_handshake_on_connect=False,
        )
        super().__init__(wrapped)
        self._tls = wrapped

    async def shake_hands(self) -> None:
        """
        Agree on keys with the other end.
        """
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._until_readable()
            else:
                return


Address = str | tuple[str, int]
"""The path of a UNIX socket, or a host and a port."""


def connect(address: Address) -> Peer:
    """
    A client that has connected.
    """
    sock = socket.socket(_family(address))
    try:
        sock.connect(address)  # local: the kernel accepts it at once
    except BaseException:
        sock.close()
        raise
    return Peer(sock)


@implementer(IReadDescriptor)
class Listener(_Readiness):
    """
    A server each of whose connections the test accepts itself.
    """

    def __init__(self, address: Address, backlog: int = 50) -> None:
        super().__init__(socket.socket(_family(address)))
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(address)
        self._socket.listen(backlog)
        self.peers: list[Peer] = []
        """All that were accepted."""

    @property
    def port(self) -> int:
        """
        The port, of one that listens on TCP.
        """
        return int(self._socket.getsockname()[1])

    @property
    def is_waited_for(self) -> bool:
        """
        Whether somebody has connected and is not accepted yet.
        """
        return bool(select.select([self._socket], [], [], 0)[0])

    async def accept(self) -> Peer:
        """
        The next connection.
        """
        while True:
            try:
                accepted, _ = self._socket.accept()
            except BlockingIOError:
                await self._until_readable()
                continue
            self.peers.append(Peer(accepted))
            return self.peers[-1]

    def close(self) -> None:
        """
        Listen no more. The connections stay.
        """
        if self.fileno() < 0:
            return
        name = self._socket.getsockname()
        reactor.removeReader(self)
        self._socket.close()
        if isinstance(name, str):
            with contextlib.suppress(FileNotFoundError):
                Path(name).unlink()


def _family(address: Address) -> socket.AddressFamily:
    return socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
