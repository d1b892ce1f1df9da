"""
Runs the commands of file systems, and reads what they say when they refuse.

I/O: processes, started by the reactor that is given. Nothing waits for them but coroutines.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from attrs import frozen
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

        Raises:
            StorageError: It failed; with what it said.
        """
        program, *arguments = self.line(*command)
        output, errors, status = await getProcessOutputAndValue(
            program, arguments, env=os.environ, reactor=self.reactor
        )
        if status != 0:
            raise refusal(os.fsdecode(errors))
        return os.fsdecode(output)
