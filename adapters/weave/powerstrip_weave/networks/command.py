"""
Runs a program to its end, and no longer than it may take.

I/O: a process, started by the reactor that is given.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Mapping, Sequence

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeoutError
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.interfaces import IReactorProcess, IReactorTime
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

OUTPUT_LIMIT_BYTES = 1024 * 1024
"""What is kept of each of the two outputs: far more than any list of containers or peers."""


class CommandReactor(IReactorProcess, IReactorTime):
    """
    What of the reactor is needed here.
    """


@frozen
class Outcome:
    """
    How a program ended, and what it said.
    """

    status: int | None
    """Its exit status, or None where a signal ended it."""

    output: str
    errors: str


class CommandTimeout(Exception):
    """
    The program was ended, since it took too long.
    """


async def run_command(
    reactor: CommandReactor,
    command: Sequence[str],
    environment: Mapping[str, str],
    timeout_seconds: float,
) -> Outcome:
    """
    Run a program.

    Raises:
        CommandTimeout: It has not ended in time. It is killed, with all that it has started.
    """
    run = _Run()
    # In a session of its own, so that it can be killed with its children: a shell script that is
    # killed alone leaves them running, with our pipes open.
    program = ["setsid", *command]
    reactor.spawnProcess(run, program[0], program, env=environment)
    try:
        return await run.ended.addTimeout(timeout_seconds, reactor)
    except DeferredTimeoutError:
        raise CommandTimeout from None


class _Run(ProcessProtocol):
    """
    Gathers what a program says until it ends.
    """

    def __init__(self) -> None:
        self.ended: Deferred[Outcome] = Deferred(self._kill)
        self._said = {1: bytearray(), 2: bytearray()}

    def connectionMade(self) -> None:
        """
        It has started. There is nothing for it to read.
        """
        assert self.transport is not None
        self.transport.closeStdin()

    def childDataReceived(self, descriptor: int, data: bytes) -> None:
        """
        It has said something.
        """
        said = self._said[descriptor]
        said += data[: OUTPUT_LIMIT_BYTES - len(said)]

    def processEnded(self, reason: Failure) -> None:
        """
        It has ended, and both outputs too.
        """
        end = reason.value
        assert isinstance(end, ProcessDone | ProcessTerminated)
        if not self.ended.called:
            output, errors = (bytes(said).decode(errors="replace") for said in self._said.values())
            self.ended.callback(Outcome(end.exitCode, output, errors))

    def _kill(self, _ended: Deferred[Outcome]) -> None:
        assert self.transport is not None
        pid = self.transport.pid  # None where only its outputs are open still
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
        self.transport.loseConnection()
