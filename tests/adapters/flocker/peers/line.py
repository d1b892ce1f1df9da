"""
A line between two nodes that a test cuts, stops or spoils.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.internet.defer import maybeDeferred
from twisted.internet.protocol import ClientFactory, Factory, Protocol, connectionDone
from twisted.python.failure import Failure


@define(eq=False)
class Line:
    """
    Passes on what it gets, and counts what comes back.
    """

    reactor: Any
    to_port: int
    change: Callable[[int, bytes], bytes | None] = lambda at, data: data
    """What becomes of an answer's bytes, with how many came before; None cuts the line."""

    answered_bytes: int = 0
    port: Any = None
    ends: list[Protocol] = field(factory=list)

    def open(self) -> str:
        factory = Factory()
        factory.noisy = False
        factory.buildProtocol = lambda _: _Asking(self)  # type: ignore[method-assign]
        self.port = self.reactor.listenTCP(0, factory, interface="127.0.0.1")
        return f"127.0.0.1:{self.port.getHost().port}"

    def answer(self, data: bytes) -> bytes:
        passed = self.change(self.answered_bytes, data)
        self.answered_bytes += len(data)
        if passed is None:
            self.cut()
        return passed or b""

    def cut(self) -> None:
        for end in self.ends:
            end.transport.abortConnection()  # type: ignore[union-attr]

    async def close(self) -> None:
        self.cut()
        await maybeDeferred(self.port.stopListening)


class _End(Protocol):
    other: _End | None = None

    def __init__(self, line: Line) -> None:
        self.line = line
        line.ends.append(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.line.ends.remove(self)
        if self.other is not None:
            self.other.transport.loseConnection()


class _Asking(_End):
    held = b""

    def connectionMade(self) -> None:
        factory = ClientFactory()
        factory.noisy = False
        factory.buildProtocol = lambda _: _Answering(self.line, self)  # type: ignore[method-assign]
        self.line.reactor.connectTCP("127.0.0.1", self.line.to_port, factory)

    def dataReceived(self, data: bytes) -> None:
        if self.other is None:
            self.held += data
        else:
            self.other.transport.write(data)


class _Answering(_End):
    def __init__(self, line: Line, asking: _Asking) -> None:
        super().__init__(line)
        self.other = asking

    def connectionMade(self) -> None:
        assert isinstance(self.other, _Asking)
        self.other.other = self
        self.transport.write(self.other.held)

    def dataReceived(self, data: bytes) -> None:
        self.other.transport.write(self.line.answer(data))
