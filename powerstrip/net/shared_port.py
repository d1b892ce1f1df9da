"""
A listening socket that this process was given, and may not have alone.

I/O: accepts on a socket that another process has opened: the parent of several workers, or systemd.

Twisted's own way to such a socket, ``adoptStreamPort``, is not for UNIX sockets that somebody else
has made: it gives them the mode 0666, with which everybody on the machine may connect, and removes
them from the file system at its end, under the feet of those who still listen
(twisted/twisted#10261). It also takes all that wait in one go, up to a hundred clients, so that a
burst of them ends up with the worker that woke first.

How clients spread over workers: all wait for one queue, in the kernel, and take a client each time
they look, so that who has much to do looks less often, and nobody waits while anybody has time. All
wake for each client, and all but one for nothing. The kernel wakes first who came to wait last
(``add_wait_queue`` puts it at the head), and that one mostly wins, so a worker that was too late
comes to wait anew: of 64 clients that connected to two workers 5 ms apart, all went to one without
that, and 36 and 28 with it. A burst of 64 spreads by who has time: 16 and 48, or 58 and 6.

Choices not taken:

- ``EPOLLEXCLUSIVE`` wakes one of them only, but always the one that came to wait last, which is the
  busiest (Cloudflare, "Why does one NGINX worker take all the load?").
- ``SO_REUSEPORT`` gives each worker a queue of its own. UNIX sockets have no such thing; and those
  who wait in the queue of a worker that dies are lost (``tcp_migrate_req`` in the kernel's
  ``ip-sysctl`` would save them, and is off by default), and in that of a busy one wait on, though
  others have time.
"""

from __future__ import annotations

import socket
from typing import cast

from twisted.internet.abstract import FileDescriptor
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred, execute, succeed
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IListeningPort,
    IProtocolFactory,
    IStreamServerEndpoint,
)
from twisted.internet.protocol import ServerFactory
from twisted.logger import Logger
from zope.interface import implementer

from powerstrip.net.reactor import Reactor

PAUSE_SECONDS = 0.5
"""How long nobody is let in when a descriptor can't be had, as with nginx."""

_log = Logger(namespace="powerstrip")


@implementer(IListeningPort)
class SharedPort(FileDescriptor):
    """
    Accepts clients, one at a time, and never changes or removes the socket's file.
    """

    def __init__(
        self, listening: socket.socket, factory: IProtocolFactory, reactor: Reactor
    ) -> None:
        super().__init__(reactor)
        self._listening = listening
        self._factory = factory
        self._reactor = reactor
        self._pause: IDelayedCall | None = None

    # IListeningPort

    def startListening(self) -> None:
        self._listening.setblocking(False)
        self._listening.set_inheritable(False)
        self._factory.doStart()
        self.startReading()

    def stopListening(self) -> Deferred[None]:
        self.stopReading()
        if self._pause is not None and self._pause.active():
            self._pause.cancel()
        self._listening.close()
        self._factory.doStop()
        return succeed(None)

    def getHost(self) -> IAddress:
        name = self._listening.getsockname()
        if self._listening.family == socket.AF_UNIX:
            return UNIXAddress(name)
        if self._listening.family == socket.AF_INET6:
            return IPv6Address("TCP", *name)
        return IPv4Address("TCP", *name)

    # IReadDescriptor

    def fileno(self) -> int:
        return self._listening.fileno()

    def doRead(self) -> None:
        """
        Let one client in, if another process was not faster.
        """
        try:
            client, _ = self._listening.accept()
        except BlockingIOError:
            self.stopReading()
            self.startReading()  # at the head of those who wait
            return
        except (ConnectionAbortedError, PermissionError):
            return  # it has gone, or a firewall keeps it out: accept(2)
        except OSError as error:
            self._let_nobody_in(error)
            return
        with client:  # the reactor keeps a duplicate
            client.setblocking(False)
            self._let_in(client)

    def _let_in(self, client: socket.socket) -> None:
        try:
            client.getpeername()
        except OSError:
            return  # it has gone already, and has no name that Twisted could ask for
        factory = cast(ServerFactory, self._factory)
        try:
            self._reactor.adoptStreamConnection(client.fileno(), client.family, factory)
        except OSError as error:
            self._let_nobody_in(error)

    def _let_nobody_in(self, error: OSError) -> None:
        _log.error("no client can be let in for now: {problem}", problem=error.strerror)
        self.stopReading()
        self._pause = self._reactor.callLater(PAUSE_SECONDS, self.startReading)


@implementer(IStreamServerEndpoint)
class SharedEndpoint:
    """
    Listens on a socket that this process was given.
    """

    def __init__(self, reactor: Reactor, descriptor: int) -> None:
        self._reactor = reactor
        self._descriptor = descriptor

    def listen(self, factory: IProtocolFactory) -> Deferred[IListeningPort]:
        return execute(self._listen, factory)

    def _listen(self, factory: IProtocolFactory) -> IListeningPort:
        port = SharedPort(socket.socket(fileno=self._descriptor), factory, self._reactor)
        port.startListening()
        return port
