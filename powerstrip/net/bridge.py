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
    ITransport,
)
from twisted.internet.protocol import Factory, Protocol, ServerFactory
from twisted.protocols.portforward import Proxy

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


class _BridgeEnd(Proxy):
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
        protocol.makeConnection(self.transport)

    def _join(self, transport: ITransport) -> None:
        far = Proxy()
        far.setPeer(self)
        self.setPeer(far)
        far_socket, near_socket = socket.socketpair()
        with far_socket, near_socket:  # the reactor keeps duplicates
            self._adopt(far_socket, _Once(far))
            # The producers stop each other before a byte moves.
            cast(IConsumer, far.transport).registerProducer(cast(IPushProducer, transport), True)
            cast(IConsumer, transport).registerProducer(cast(IPushProducer, far.transport), True)
            near = self._wrapped.buildProtocol(self._addr)
            assert near is not None
            self._adopt(near_socket, _Once(cast(Protocol, near)))

    def _adopt(self, end: socket.socket, factory: ServerFactory) -> None:
        end.setblocking(False)
        self._reactor.adoptStreamConnection(end.fileno(), socket.AF_UNIX, factory)


class _Once(ServerFactory):
    """
    Gives one protocol that is there already.
    """

    noisy = False

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        return self._protocol
