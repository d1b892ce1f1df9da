"""
A command that sends or receives: it runs in a group of its own, and is killed as a whole.

I/O: a process.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IProcessTransport
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from powerstrip_flocker.errors import StorageError
from powerstrip_flocker.peers.reactor import PeerReactor
from powerstrip_flocker.storage.command import refusal

__all__ = ["Command", "widen"]

PIPE_BYTES = 1024 * 1024
"""As large as Linux lets everybody have a pipe (``/proc/sys/fs/pipe-max-size``)."""

SAID_BYTES = 4096
"""How much of what it says is kept."""


class Command(ProcessProtocol):
    """
    A command, from its start to its end.

    It has ended when all its processes have: each has its standard error, and that is read until
    the last has closed it.
    """

    def __init__(self, on_hang_up: Callable[[], None] | None = None) -> None:
        """
        Args:
            on_hang_up: Is called when it reads its standard input no more, before that was closed.
        """
        self._on_hang_up = on_hang_up
        self._said = b""
        self._status: int | None = None
        self._waiting: list[Deferred[None]] = []
        self._is_input_closed = False
        self._process: IProcessTransport

    def start(
        self, reactor: PeerReactor, line: Sequence[str], descriptors: Mapping[int, int | str]
    ) -> IProcessTransport:
        """
        Start it.

        Args:
            descriptors: As for `spawnProcess`, beside standard error.

        Raises:
            StorageError: when it can't be.
        """
        grouped = ("setsid", *line)
        try:
            self._process = reactor.spawnProcess(
                self,
                grouped[0],
                grouped,
                env=cast(Any, os.environ),
                childFDs={**descriptors, 2: "r"},
            )
        except OSError as error:
            raise StorageError(f"{line[0]} can't be run: {error.strerror}") from error
        return self._process

    def kill(self) -> None:
        """
        Have it end at once. It sees no end of its input before.
        """
        self._on_hang_up = None
        if self._status is not None:
            return
        pid = self._process.pid
        # Until `setsid` has run there is no such group, but the process itself.
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
        with contextlib.suppress(ProcessExitedAlready):
            self._process.signalProcess("KILL")
        # zfs-fuse reads what its client was given, and goes on with it until it ends.
        self._process.unregisterProducer()  # type: ignore[attr-defined]
        self._process.closeStdin()

    def close_input(self) -> None:
        """
        Let it see the end of its input, when all that was written has been read.
        """
        self._is_input_closed = True
        self._process.closeStdin()

    async def ended(self) -> None:
        """
        Wait until it has ended.
        """
        if self._status is None:
            waiting = Deferred[None]()
            self._waiting.append(waiting)
            await waiting

    @property
    def failure(self) -> StorageError | None:
        """
        Why it has ended, or None where it has done what it should.
        """
        return None if self._status == 0 else refusal(os.fsdecode(self._said))

    # IProcessProtocol

    def errReceived(self, data: bytes) -> None:
        self._said = (self._said + data)[-SAID_BYTES:]

    def childConnectionLost(self, childFD: int) -> None:
        if childFD == 0 and not self._is_input_closed and self._on_hang_up is not None:
            self._on_hang_up()

    def processEnded(self, reason: Failure) -> None:
        exit_code = getattr(reason.value, "exitCode", None)
        self._status = -1 if exit_code is None else exit_code
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            if not each.called:
                each.callback(None)


def widen(descriptor: int) -> None:
    """
    Let a pipe hold more than Linux's 64 KiB, where that is allowed.
    """
    with contextlib.suppress(OSError):
        fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
