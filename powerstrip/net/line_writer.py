"""
Lines for the standard output, in the form that ``twistd`` gives to its log.

I/O: one ``write(2)`` for some lines. Twisted's own way to its log makes an event of each, which its
observers format: that takes longer than all else that an exchange in the pass lane needs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twisted.logger import formatTime


class LineWriter:
    """
    Writes lines.
    """

    def __init__(
        self, descriptor: int, now_seconds: Callable[[], float], system: str = "powerstrip#info"
    ) -> None:
        """
        Args:
            descriptor: A file that waits when it is full, as standard output does.
            now_seconds: The time of day.
            system: Who speaks, as the log shows it.
        """
        self._descriptor = descriptor
        self._now_seconds = now_seconds
        self._system = system
        self._second = -1
        self._prefix = ""
        """What a line of the present second begins with."""

    def write(self, lines: Sequence[str]) -> None:
        """
        Write lines, given without their ends.

        Raises:
            OSError: when it can't be written.
        """
        second = int(self._now_seconds())
        if second != self._second:
            self._second = second
            self._prefix = f"{formatTime(second)} [{self._system}] "
        prefix = self._prefix
        write_all(self._descriptor, "".join([f"{prefix}{line}\n" for line in lines]))


def write_all(descriptor: int, text: str) -> None:
    """
    Write text, at once if the file takes it so.

    Raises:
        OSError: when it can't be written.
    """
    data = text.encode("utf-8", "backslashreplace")
    written = os.write(descriptor, data)
    while written < len(data):  # a signal, in the middle of a write to a pipe
        data = data[written:]
        written = os.write(descriptor, data)


def logs_to_standard_output(twistd_options: Mapping[str, Any]) -> bool:
    """
    Whether ``twistd``, run with these options, writes its log to the standard output.
    """
    if twistd_options.get("syslog") or twistd_options.get("logger"):
        return False
    return bool(twistd_options.get("nodaemon")) and twistd_options.get("logfile") in (None, "", "-")


def standard_output_writer(now_seconds: Callable[[], float]) -> LineWriter:
    """
    Give what writes beside Twisted's log, and in its order, since that keeps nothing back.
    """
    assert sys.__stdout__ is not None
    return LineWriter(sys.__stdout__.fileno(), now_seconds)
