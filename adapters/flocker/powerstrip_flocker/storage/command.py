"""
Runs the commands of file systems, and reads what they say when they refuse.

I/O: processes, started by the reactor that is given. Nothing waits for them but coroutines.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from attrs import frozen
from twisted.internet.defer import CancelledError, DeferredQueue
from twisted.internet.interfaces import IReactorProcess, IReactorTime
from twisted.internet.utils import getProcessOutputAndValue

from powerstrip_flocker.errors import NoSpaceError, StorageError

__all__ = ["Commands", "StorageReactor", "refusal"]

_NO_SPACE = re.compile(
    r"no space left|out of space|quota exceeded|insufficient space", re.IGNORECASE
)
"""What `zfs`, `btrfs` and the C library (ENOSPC, EDQUOT) say when it is full."""


def refusal(said: str) -> StorageError:
    """
    The error for a command that has failed.

    Args:
        said: What it wrote to its standard error.
    """
    sentence = " ".join(said.split()) or "a command of the file system failed and said nothing"
    return NoSpaceError(sentence) if _NO_SPACE.search(said) else StorageError(sentence)


class StorageReactor(IReactorProcess, IReactorTime):
    """
    What of the reactor is needed here.
    """


@frozen
class Commands:
    """
    Commands as this host runs them.
    """

    reactor: StorageReactor
    enter: Sequence[str] = ()
    """What stands before each: the ``nsenter …`` that leads to where the file system is mounted."""

    def line(self, *command: str) -> Sequence[str]:
        """
        The whole line: in English, and with the programs that only root has in its path.
        """
        path = f"PATH={os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
        return (*self.enter, "env", "LC_ALL=C", path, *command)

    async def run(self, *command: str) -> str:
        """
        What a command writes to its standard output.

        What it does can't be taken back: who is cancelled meanwhile waits for its end all the same,
        so that nothing else is done to a dataset before. Cancelled again, it is left to itself.

        Raises:
            StorageError: It failed; with what it said.
        """
        program, *arguments = self.line(*command)
        ended: DeferredQueue[tuple[bytes, bytes, int]] = DeferredQueue()
        try:
            running = getProcessOutputAndValue(
                program, arguments, env=os.environ, reactor=self.reactor
            )
        except OSError as error:
            raise StorageError(f"{command[0]} can't be run: {error.strerror}") from error
        # Where a signal has ended it, a failure has the same three: no coroutine can be given that.
        running.addErrback(lambda failure: failure.value)
        running.addCallback(ended.put)
        try:
            output, errors, status = await ended.get()
        except CancelledError:
            await ended.get()
            raise
        if status != 0:
            raise refusal(os.fsdecode(errors))
        return os.fsdecode(output)
