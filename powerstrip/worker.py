"""
What a worker does: it serves on the sockets that its parent has opened, beside other workers.

I/O: its parent gives it the sockets, from the descriptor 3 on, and a pipe as its standard input
that ends when the parent wants the worker to stop, or is no more.
"""

from __future__ import annotations

import os
import sys
from typing import cast

from twisted.internet.abstract import FileDescriptor
from twisted.internet.fdesc import readFromFD, setNonBlocking
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger, globalLogBeginner
from twisted.python.failure import Failure

from powerstrip.ending import stop
from powerstrip.errors import ConfigError
from powerstrip.listening import GivenSocket, Listening
from powerstrip.net.exchange_log import WriteLines
from powerstrip.net.reactor import Reactor
from powerstrip.service import make_proxy_service, sentences
from powerstrip.supervisor import FIRST_SOCKET, PARENT
from powerstrip.worker_log import OutputLog, ParentLog
from powerstrip.worker_process import WorkerOptions

_log = Logger(namespace="powerstrip")


class ParentWatch(FileDescriptor):
    """
    Stops the worker when the parent says so, or has gone.
    """

    def __init__(self, reactor: Reactor) -> None:
        super().__init__(reactor)
        self._reactor = reactor
        setNonBlocking(PARENT)
        self.startReading()

    def fileno(self) -> int:
        return PARENT

    def doRead(self) -> Exception | int | None:
        return cast(Exception | int | None, readFromFD(PARENT, lambda _: None))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        stop(self._reactor)


def run(options: WorkerOptions, reactor: Reactor) -> None:
    """
    Serve, until the parent says that it is enough.
    """
    log = ParentLog() if options["parent-logs"] else OutputLog(f"worker {options['number']}")
    globalLogBeginner.beginLoggingTo([log])
    try:
        _start(options, reactor, log.write_lines)
    except ConfigError as error:
        sys.exit(sentences(error))
    reactor.run()


def _start(options: WorkerOptions, reactor: Reactor, write_lines: WriteLines) -> None:
    """
    Let clients in.

    Raises:
        ConfigError: when the configuration has become wrong since the parent was started.
    """
    sockets = [GivenSocket(FIRST_SOCKET + place) for place in range(options["sockets"])]
    listening = Listening(reactor, sockets)
    service = make_proxy_service(options, os.environ, reactor, listening, write_lines)
    service.privilegedStartService()
    service.startService()
    reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
    ParentWatch(reactor)
    _log.info("serves")
