"""
The parent of several workers: it opens the sockets, and serves nothing itself.

I/O: starts processes (``powerstrip.worker_process``), and starts a worker that has died again.

A worker gets the sockets, and a pipe as its standard input. The kernel closes this process's end of
that pipe however this process ends, and workers stop at the end of theirs: none outlives its
parent, not even one that was killed. The same end tells them to stop when all is well.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import Self, cast

from attrs import frozen
from twisted.application.service import Service
from twisted.internet.abstract import FileDescriptor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.interfaces import IAddress, IDelayedCall, IProcessTransport, IReactorProcess
from twisted.internet.protocol import Factory, ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from powerstrip.ending import stop_at_sigterm
from powerstrip.listening import Listening
from powerstrip.net.reactor import Reactor
from powerstrip.worker_log import ERRORS, OUTPUT, WorkerOutput

PARENT = 0
"""The descriptor on which a worker has the pipe from this process."""

FIRST_SOCKET = 3
"""The descriptor on which a worker has the first of the sockets."""

STEADY_SECONDS = 10.0
"""How long a worker has to live to count as one that works: it is then started again at once."""

LONGEST_WAIT_SECONDS = 30.0
"""How long the start of a worker that dies again and again is put off at most."""

KILL_SECONDS = 4.0
"""How much longer than its grace a worker that stops may take."""

_log = Logger(namespace="powerstrip")


@frozen
class WorkerCommand:
    """
    How workers are started.
    """

    words: tuple[str, ...]
    environment: Mapping[str, str]
    logs_to_output: bool
    """Whether they write the log themselves, to the standard output of this process."""

    @classmethod
    def of(
        cls,
        options: Sequence[str],
        environment: Mapping[str, str],
        reactor: Reactor,
        *,
        logs_to_output: bool,
    ) -> Self:
        """
        Have workers use this Python, these modules, and this reactor.
        """
        # -P: a working directory is no place for modules. Those of this process are found by their
        # absolute paths, wherever ``twistd --rundir`` goes.
        words = [sys.executable, "-P", "-m", "powerstrip.worker_process", *options]
        words.append(f"--reactor={type(reactor).__module__}")
        if not logs_to_output:
            words.append("--parent-logs")
        path = os.pathsep.join(os.path.abspath(place) for place in sys.path if place)
        return cls(tuple(words), {**environment, "PYTHONPATH": path}, logs_to_output)

    def spawn(
        self, reactor: Reactor, protocol: ProcessProtocol, number: int, sockets: Sequence[int]
    ) -> IProcessTransport:
        """
        Start a worker.

        Raises:
            OSError: when that can't be done.
        """
        descriptors: dict[int, int | str] = {PARENT: "w", OUTPUT: "r", ERRORS: "r"}
        if self.logs_to_output:
            descriptors |= {OUTPUT: OUTPUT, ERRORS: ERRORS}
        descriptors |= dict(enumerate(sockets, FIRST_SOCKET))
        words = [*self.words, f"--number={number}", f"--sockets={len(sockets)}"]
        return cast(IReactorProcess, reactor).spawnProcess(
            protocol, words[0], words, self.environment, childFDs=descriptors
        )


class Worker(ProcessProtocol):
    """
    One of the workers: a process, and the next one when that has ended.
    """

    transport: IProcessTransport | None = None
    """The process, while there is one."""

    def __init__(
        self, number: int, command: WorkerCommand, sockets: Sequence[int], reactor: Reactor
    ) -> None:
        self._number = number
        self._command = command
        self._sockets = sockets
        self._reactor = reactor
        self._output = WorkerOutput(f"worker {number}")
        self._started = 0.0
        self._early_deaths = 0
        self._next_start: IDelayedCall | None = None
        self._stopped: Deferred[None] | None = None

    def start(self) -> None:
        """
        Start a process.
        """
        self._started = self._reactor.seconds()
        try:
            self._command.spawn(self._reactor, self, self._number, self._sockets)
        except OSError as error:
            self._start_again(f"can't be started: {error.strerror}")

    async def stop(self, limit_seconds: float) -> None:
        """
        Have it stop, and wait until it has; kill it after so many seconds.
        """
        if self._next_start is not None and self._next_start.active():
            self._next_start.cancel()
        if self.transport is None:
            return
        self._stopped = Deferred()
        self.transport.closeStdin()
        killing = self._reactor.callLater(limit_seconds, self._kill)
        await self._stopped
        if killing.active():
            killing.cancel()

    def _kill(self) -> None:
        _log.error("worker {number} does not stop, and is killed", number=self._number)
        if self.transport is not None:
            self.transport.signalProcess("KILL")

    # ProcessProtocol

    def connectionMade(self) -> None:
        pid = cast(IProcessTransport, self.transport).pid
        _log.info("worker {number} is the process {pid}", number=self._number, pid=pid)

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        self._output.take(childFD, data)

    def processEnded(self, reason: Failure) -> None:
        self._output.end()
        self.transport = None
        if self._stopped is None:
            self._start_again(_how_it_ended(reason))
        else:
            self._stopped.callback(None)

    def _start_again(self, what: str) -> None:
        if self._reactor.seconds() - self._started >= STEADY_SECONDS:
            self._early_deaths = 0
        # At once, then after 1, 2, 4, ... seconds. What breaks a start may be a file that is just
        # being written; a process for each try costs as much as a second of its work.
        deaths, self._early_deaths = self._early_deaths, min(self._early_deaths + 1, 10)
        wait_seconds = min(2.0 ** (deaths - 1), LONGEST_WAIT_SECONDS) if deaths else 0.0
        _log.error(
            "worker {number} {what}; the next one is started {when}",
            number=self._number,
            what=what,
            when=f"in {wait_seconds:g} s" if wait_seconds else "now",
        )
        self._next_start = self._reactor.callLater(wait_seconds, self.start)


def _how_it_ended(reason: Failure) -> str:
    ended = cast(ProcessDone | ProcessTerminated, reason.value)
    if ended.signal is None:
        return f"ended with status {ended.exitCode}"
    try:
        return f"was killed by {signal.Signals(ended.signal).name}"
    except ValueError:  # one of those for real time, which have no names
        return f"was killed by signal {ended.signal}"


class Supervisor(Service):
    """
    Opens the sockets, and keeps workers running.
    """

    def __init__(
        self,
        reactor: Reactor,
        listening: Listening,
        command: WorkerCommand,
        count: int,
        grace_seconds: float,
    ) -> None:
        self._reactor = reactor
        self._listening = listening
        self._command = command
        self._count = count
        self._grace_seconds = grace_seconds
        self._workers: list[Worker] = []

    def privilegedStartService(self) -> None:
        """
        Open the sockets, with the rights that the process was started with, and accept nobody.
        """
        super().privilegedStartService()
        self._listening.open(_WorkersFactory())
        for port in self._listening.ports:
            cast(FileDescriptor, port).stopReading()

    def startService(self) -> None:
        """
        Begin.
        """
        super().startService()
        self._reactor.callWhenRunning(self._start_workers)
        self._reactor.callWhenRunning(stop_at_sigterm, self._reactor)

    def _start_workers(self) -> None:
        sockets = [cast(FileDescriptor, port).fileno() for port in self._listening.ports]
        for number in range(1, self._count + 1):
            self._workers.append(Worker(number, self._command, sockets, self._reactor))
            self._workers[-1].start()

    def stopService(self) -> Deferred[None]:
        """
        Let nobody in, and have the workers stop, each as one process does.
        """
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        await self._listening.close()
        limit_seconds = self._grace_seconds + KILL_SECONDS
        await gatherResults(
            [Deferred.fromCoroutine(worker.stop(limit_seconds)) for worker in self._workers]
        )


class _WorkersFactory(Factory):
    """
    Makes nothing: whoever comes in is a worker's client.
    """

    noisy = False

    def buildProtocol(self, addr: IAddress | None) -> None:
        return None
