"""
Takes in a snapshot: frames from another node, into the storage's `receiving`.

The command could take the end of its input for the end of the stream, and a file system takes the
stream's own last record for it. So the last piece is held back until the checksum is right; and
the command is killed before its input is closed where it isn't, or where the stream was cut.

I/O: a process, which is fed with back-pressure.
"""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IProcessTransport, IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.iweb import IResponse
from zope.interface import implementer

from powerstrip_flocker.errors import StorageError
from powerstrip_flocker.interfaces import IStorage, Report
from powerstrip_flocker.peers.command import Command, widen
from powerstrip_flocker.peers.framing import Checksum, FrameReader, Kind
from powerstrip_flocker.peers.messages import decode_error
from powerstrip_flocker.peers.reactor import PeerReactor
from powerstrip_flocker.peers.silence import BrokenOff, Silence

__all__ = ["receive"]

REPORT_SECONDS = 0.25
"""How often it is reported how much has come."""


async def receive(
    reactor: PeerReactor,
    storage: IStorage,
    response: IResponse,
    silence: Silence,
    name: str,
    base: str | None,
    report: Report,
) -> None:
    """
    Feed the body of an answer to a command. However this ends, the command is dead then.

    Args:
        silence: Is told of each sign of life. It doesn't count while the command is waited for.

    Raises:
        BrokenOff: The stream was cut, or is not what was sent.
        StorageError: One of the two commands has failed; with what it said.
    """
    receiving = _Receiving(reactor, storage, name, base)
    body = _Body(reactor, receiving, silence, report)
    response.deliverBody(body)
    try:
        await body.ended
    except BaseException:
        await receiving.end_at_once()
        if receiving.failure is not None:
            raise receiving.failure from None
        raise
    await receiving.finish()


class _Receiving:
    """
    The command. It is started with the first byte for it.
    """

    def __init__(
        self, reactor: PeerReactor, storage: IStorage, name: str, base: str | None
    ) -> None:
        self._reactor = reactor
        self._storage = storage
        self._name = name
        self._base = base
        self._held = b""
        self._process: IProcessTransport | None = None
        self._command = Command(self._hung_up)
        self._has_hung_up = False

    @property
    def failure(self) -> StorageError | None:
        """
        Why it has ended by itself, before the stream did.
        """
        if not self._has_hung_up:
            return None
        ended = "the command that receives has ended before its stream"
        return self._command.failure or StorageError(ended)

    def feed(self, piece: bytes, producer: IPushProducer) -> None:
        """
        Take a piece of the stream, and give the command the one before.

        Args:
            producer: Pauses while the command takes no more.

        Raises:
            StorageError: when the command can't be started.
        """
        if self._process is None:
            line = self._storage.receiving(self._name, self._base)
            ends: dict[int, int | str] = {0: "w", 1: "r"}
            self._process = self._command.start(self._reactor, line, ends)
            widen(self._process.pipes[0].fileno())  # type: ignore[attr-defined]
            self._process.registerProducer(producer, True)  # type: ignore[attr-defined]
        if self._held:
            self._process.write(self._held)
        self._held = piece

    async def finish(self) -> None:
        """
        Give it the last piece and the end, and wait until it is done.
        """
        try:
            if self._process is None:
                raise StorageError(f"there was nothing in the stream of {self._name}")
            self._process.unregisterProducer()  # type: ignore[attr-defined]
            self._process.write(self._held)
            self._command.close_input()
            await self._command.ended()
        except CancelledError:
            await self.end_at_once()
            raise
        if self._command.failure is not None:
            raise self._command.failure

    async def end_at_once(self) -> None:
        """
        Kill it, unless it ends by itself already, and wait until it is dead.
        """
        if self._process is None:
            return
        if not self._has_hung_up:
            self._command.kill()
        await self._command.ended()

    def _hung_up(self) -> None:
        # Its producer has been told to stop: the connection ends.
        self._has_hung_up = True


class _Body(Protocol):
    """
    The frames of an answer.
    """

    def __init__(
        self, reactor: PeerReactor, receiving: _Receiving, silence: Silence, report: Report
    ) -> None:
        self.ended: Deferred[None] = Deferred()
        self._reactor = reactor
        self._receiving = receiving
        self._silence = silence
        self._report = report
        self._reported_at = 0.0
        self._frames = FrameReader()
        self._checksum = Checksum()
        self._received_bytes = 0
        self._expected_bytes: int | None = None

    # IProtocol

    def connectionMade(self) -> None:
        assert self.transport is not None
        self._producer = _Throttle(self.transport, self._silence)

    def dataReceived(self, data: bytes) -> None:
        if self.ended.called:
            return
        self._silence.heard()
        try:
            for kind, content in self._frames.feed(data):
                self._take(kind, content)
        except (ValueError, TypeError, KeyError) as error:
            self._end(BrokenOff(f"what it sends can't be understood: {error}"))
        except StorageError as error:
            self._end(error)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._end(BrokenOff("the stream was cut"))

    def _take(self, kind: Kind, content: bytes) -> None:
        if kind is Kind.DATA:
            self._checksum.update(content)
            self._received_bytes += len(content)
            self._receiving.feed(content, self._producer)
            if self._reactor.seconds() >= self._reported_at + REPORT_SECONDS:
                self._tell()
        elif kind is Kind.EXPECTED:
            self._expected_bytes = json.loads(content)["expected"]
            self._tell()
        elif kind is Kind.TRAILER:
            self._take_trailer(json.loads(content))

    def _take_trailer(self, trailer: dict[str, Any]) -> None:
        error: Exception | None = decode_error(trailer)
        if error is None and trailer["checksum"] != self._checksum.hexdigest():
            error = BrokenOff("what has come is not what was sent: its checksum is another")
        if error is None:
            self._tell()
        self._end(error)

    def _tell(self) -> None:
        self._reported_at = self._reactor.seconds()
        self._report(self._received_bytes, self._expected_bytes)

    def _end(self, error: Exception | None) -> None:
        if self.ended.called:
            return
        self._silence.hold()
        if error is None:
            self.ended.callback(None)
        else:
            self.ended.errback(error)


@implementer(IPushProducer)
class _Throttle:
    """
    Has the other side wait while the command takes no more: it is not silent then.
    """

    def __init__(self, transport: Any, silence: Silence) -> None:
        self._transport = transport
        self._silence = silence

    def pauseProducing(self) -> None:
        self._silence.hold()
        self._transport.pauseProducing()

    def resumeProducing(self) -> None:
        self._silence.listen()
        self._transport.resumeProducing()

    def stopProducing(self) -> None:
        self._transport.stopProducing()
