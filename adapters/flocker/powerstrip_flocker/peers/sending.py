"""
Answers with a snapshot: what the storage's `sending` writes, framed, as fast as it is read.

I/O: a process, whose output goes into the answer with back-pressure.
"""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IPushProducer, IReadDescriptor
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure
from twisted.web.server import Request
from zope.interface import implementer

from powerstrip_flocker.errors import FlockerError
from powerstrip_flocker.interfaces import IStorage
from powerstrip_flocker.peers.command import Command, widen
from powerstrip_flocker.peers.framing import Checksum, Kind, frame_head
from powerstrip_flocker.peers.messages import ALIVE_SECONDS, encode_error
from powerstrip_flocker.peers.reactor import PeerReactor

__all__ = ["STALL_SECONDS", "Sent", "send"]

READ_BYTES = 256 * 1024

STALL_SECONDS = 120.0
"""
How long the other side may take nothing. It may write slowly; a host that is gone says nothing,
and TCP alone would go on for a quarter of an hour (tcp(7), ``tcp_retries2``).
"""


@frozen
class Sent:
    """
    What is sent: see `IStorage.sending`.
    """

    name: str
    snapshot: str
    base: str | None


async def send(
    reactor: PeerReactor,
    storage: IStorage,
    request: Request,
    check: Callable[[], Awaitable[None]],
    what: Sent,
    stall_seconds: float,
) -> None:
    """
    Answer with a snapshot. Cancelled, or in an error: the command is dead when this is over.

    Args:
        check: Raises a `FlockerError` where nothing may be sent. Signs of life are given meanwhile.
    """
    answer = _Answer(reactor, request, stall_seconds)
    try:
        await check()
        expected = await storage.estimate_bytes(what.name, what.snapshot, what.base)
        answer.write(Kind.EXPECTED, json.dumps({"expected": expected}).encode("ascii"))
        line = storage.sending(what.name, what.snapshot, what.base)
        checksum = await _pump(reactor, answer, line)
        answer.write(Kind.TRAILER, json.dumps({"checksum": checksum}).encode("ascii"))
    except FlockerError as error:
        answer.write(Kind.TRAILER, encode_error(error))
    finally:
        answer.end()


async def _pump(reactor: PeerReactor, answer: _Answer, line: Sequence[str]) -> str:
    """
    Run a command whose output goes into the answer.

    Returns:
        The checksum of all of it.
    """
    command = Command()
    read_end, write_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    output = _Output(reactor, read_end, answer)
    try:
        widen(read_end)
        os.set_blocking(write_end, True)
        with open(os.devnull, "rb") as nothing:
            command.start(reactor, line, {0: nothing.fileno(), 1: write_end})
    except BaseException:
        os.close(read_end)
        raise
    finally:
        os.close(write_end)
    try:
        answer.output = output
        output.begin()
        await output.ended
        await command.ended()
    except CancelledError:
        command.kill()
        output.stop()
        await command.ended()
        raise
    if command.failure is not None:
        raise command.failure
    return output.checksum.hexdigest()


@implementer(IPushProducer)
class _Answer:
    """
    The body of the answer, in frames, with a sign of life each second. It is hung up on a side that
    takes nothing for too long.
    """

    output: _Output | None = None

    def __init__(self, reactor: PeerReactor, request: Request, stall_seconds: float) -> None:
        self.is_paused = False
        self._request = request
        self._stall_seconds = stall_seconds
        self._stalled_seconds = 0.0
        request.registerProducer(self, True)
        self._living = LoopingCall(self._live)
        self._living.clock = reactor
        self._living.start(ALIVE_SECONDS)

    def write(self, kind: Kind, content: bytes) -> None:
        self._request.write(frame_head(kind, len(content)))
        if content:
            self._request.write(content)

    def end(self) -> None:
        self._living.stop()
        if self._request.channel is not None:  # None: the other side has gone
            self._request.unregisterProducer()

    def _live(self) -> None:
        if self.is_paused:
            self._stalled_seconds += ALIVE_SECONDS
            if self._stalled_seconds > self._stall_seconds:
                cast(Any, self._request.transport).abortConnection()
        else:
            self.write(Kind.ALIVE, b"")

    # IPushProducer

    def pauseProducing(self) -> None:
        self.is_paused = True
        self._stalled_seconds = 0.0
        if self.output is not None:
            self.output.pause()

    def resumeProducing(self) -> None:
        self.is_paused = False
        if self.output is not None:
            self.output.resume()

    def stopProducing(self) -> None:
        self.is_paused = True
        if self.output is not None:
            self.output.pause()


@implementer(IReadDescriptor)
class _Output:
    """
    What a command writes.
    """

    def __init__(self, reactor: PeerReactor, descriptor: int, answer: _Answer) -> None:
        self.checksum = Checksum()
        self.ended: Deferred[None] = Deferred()
        self._reactor = reactor
        self._descriptor = descriptor
        self._answer = answer

    def begin(self) -> None:
        if not self._answer.is_paused:
            self.resume()

    def pause(self) -> None:
        if self._descriptor >= 0:
            self._reactor.removeReader(self)

    def resume(self) -> None:
        if self._descriptor >= 0:
            self._reactor.addReader(self)

    def stop(self) -> None:
        """
        Read no more: who still writes is told that nobody does.
        """
        if self._descriptor >= 0:
            self._reactor.removeReader(self)
            os.close(self._descriptor)
            self._descriptor = -1

    # IReadDescriptor

    def fileno(self) -> int:
        return self._descriptor

    def logPrefix(self) -> str:
        return "sending"

    def doRead(self) -> None:
        try:
            data = os.read(self._descriptor, READ_BYTES)
        except BlockingIOError:
            return
        if data:
            self.checksum.update(data)
            self._answer.write(Kind.DATA, data)
        else:
            self.stop()
            self.ended.callback(None)

    def connectionLost(self, reason: Failure) -> None:
        """
        The reactor stops, or the pipe broke.
        """
        self.stop()
        if not self.ended.called:
            self.ended.callback(None)
