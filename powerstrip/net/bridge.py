"""
TLS beside the two lanes: the bytes of a TLS connection, through a pair of plain sockets.

I/O: the lanes read and write sockets themselves, and let the kernel move bytes between them. A TLS
connection has no such socket, so it is joined to one end of a socket pair, and the lanes get the
other. TLS in Twisted knows no half-close: where a lane half-closes, the connection is closed once
all has gone out, so that no client waits for ever.
"""

from __future__ import annotations

import socket
from typing import cast

from twisted.internet.interfaces import (
    IAddress,
    IConsumer,
    IPushProducer,
    ISSLTransport,
    ITCPTransport,
    ITransport,
)
from twisted.internet.protocol import Factory, Protocol, ServerFactory, connectionDone
from twisted.internet.tcp import Connection
from twisted.protocols.portforward import Proxy
from twisted.python.failure import Failure
from zope.interface import implementer

from powerstrip.net.reactor import Reactor


class BridgeFactory(Factory):
    """
    Makes connections plain for a factory whose protocols take over their sockets.
    """

    noisy = False

    def __init__(self, wrapped: Factory, reactor: Reactor) -> None:
        self._wrapped = wrapped
        self._reactor = reactor

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        return _BridgeEnd(addr, self._wrapped, self._reactor)


class _End(Proxy):
    """
    One end of a bridge, which ends with the other, when all that the other has got is written.
    """

    def dataReceived(self, data: bytes) -> None:
        # A plain connection that was handed on has no peer, and yet may be told of bytes here: a
        # transport that is given back to be closed may meet an older event of the same turn.
        if self.peer is not None:
            super().dataReceived(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.peer is not None and self.peer.peer is not None:  # that is not lost already
            # A transport does not close, nor say so in TLS, while it has a producer: one that was
            # paused would never be done (IConsumer.registerProducer, FileDescriptor.doWrite).
            cast(IConsumer, self.peer.transport).unregisterProducer()
        super().connectionLost(reason)


@implementer(IPushProducer)
class _FarEnd(_End):
    """
    The plain end of a bridge: it reads while TLS takes more.
    """

    # IPushProducer

    def pauseProducing(self) -> None:
        cast(IPushProducer, self.transport).pauseProducing()

    def resumeProducing(self) -> None:
        # TLS that has ended (the peer's close_notify came while this was paused) closes only
        # without a producer, and stops one that registers; else this is registered as before.
        consumer = cast(IConsumer, cast(Proxy, self.peer).transport)
        consumer.unregisterProducer()
        consumer.registerProducer(self, True)
        cast(IPushProducer, self.transport).resumeProducing()

    def stopProducing(self) -> None:
        cast(IPushProducer, self.transport).stopProducing()


class _BridgeEnd(_End):
    """
    The TLS end of a bridge; a connection that is plain is handed on as it is.
    """

    def __init__(self, addr: IAddress | None, wrapped: Factory, reactor: Reactor) -> None:
        self._addr = addr
        self._wrapped = wrapped
        self._reactor = reactor

    def connectionMade(self) -> None:
        assert self.transport is not None
        if ISSLTransport.providedBy(self.transport):
            self._join(self.transport)
            return
        protocol = self._wrapped.buildProtocol(self._addr)
        assert protocol is not None
        # What comes is for it, also where it doesn't take over the socket, as Twisted's own do not.
        cast(Connection, self.transport).protocol = protocol
        protocol.makeConnection(self.transport)

    def _join(self, tls: ITransport) -> None:
        _tune(tls)
        far = _FarEnd()
        far.setPeer(self)
        self.setPeer(far)
        far_socket, near_socket = socket.socketpair()
        with far_socket, near_socket:  # the reactor keeps duplicates
            self._adopt(far_socket, _Once(far))
            # The producers stop each other before a byte moves.
            cast(IConsumer, far.transport).registerProducer(cast(IPushProducer, tls), True)
            cast(IConsumer, tls).registerProducer(far, True)
            near = self._wrapped.buildProtocol(self._addr)
            assert near is not None
            self._adopt(near_socket, _Once(cast(Protocol, near)))

    def _adopt(self, end: socket.socket, factory: ServerFactory) -> None:
        end.setblocking(False)
        self._reactor.adoptStreamConnection(end.fileno(), socket.AF_UNIX, factory)


def _tune(transport: object) -> None:
    """
    Send small pieces at once, and notice a peer that is gone without a word.
    """
    if ITCPTransport.providedBy(transport):
        transport.setTcpNoDelay(True)
        transport.setTcpKeepAlive(True)


class _Once(ServerFactory):
    """
    Gives one protocol that is there already.
    """

    noisy = False

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        return self._protocol
