"""
How workers log: to the standard output that they share, or through their parent.

I/O: an event is one ``write(2)``, so that those of several workers do not mix.

Where twistd logs to the standard output, each worker writes there by itself. Any other log has one
writer, the parent: it alone can rotate a log file, and knows what ``--syslog`` and ``--logger``
say. That takes the parent about 20 us for each event, which the workers are spared.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence

from twisted.logger import (
    ILogObserver,
    LogEvent,
    Logger,
    LogLevel,
    eventAsText,
    formatEventAsClassicLogText,
)
from zope.interface import implementer

from powerstrip.net.line_writer import LineWriter, write_all

OUTPUT = 1
"""The descriptor that workers write their log to."""

ERRORS = 2
"""That of Python itself, when all else fails."""

_log = Logger(namespace="powerstrip")


@implementer(ILogObserver)
class OutputLog:
    """
    Writes a worker's events to the log itself, as twistd would write them.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self.write_lines = LineWriter(OUTPUT, time.time, f"{name} powerstrip#info").write

    def __call__(self, event: LogEvent) -> None:
        event = {**event, "log_system": f"{self._name} {_system(event)}"}
        text = formatEventAsClassicLogText(event)
        if text is not None:
            write_all(OUTPUT, text)


@implementer(ILogObserver)
class ParentLog:
    """
    Writes a worker's events for its parent to log: each is a line of JSON.
    """

    def write_lines(self, lines: Sequence[str]) -> None:
        """
        Write lines that are no events.
        """
        for line in lines:
            _send("info", "powerstrip#info", line)

    def __call__(self, event: LogEvent) -> None:
        text = eventAsText(event, includeTimestamp=False, includeSystem=False)
        if text:
            _send(_level(event), _system(event), text)


class WorkerOutput:
    """
    Logs what comes from a worker, in pieces.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._rests: dict[int, bytes] = {}

    def take(self, descriptor: int, data: bytes) -> None:
        """
        Take the next bytes that the worker has written.

        Args:
            descriptor: The worker's, on which it has written them.
        """
        *lines, rest = (self._rests.get(descriptor, b"") + data).split(b"\n")
        self._rests[descriptor] = rest
        for line in lines:
            self._tell(descriptor, line)

    def end(self) -> None:
        """
        Log what the worker has left unended, as it may if it was killed.
        """
        rests, self._rests = self._rests, {}
        for descriptor, line in rests.items():
            if line:
                self._tell(descriptor, line)

    def _tell(self, descriptor: int, line: bytes) -> None:
        level, system, text = "error", "stderr", line.decode("utf-8", "backslashreplace")
        if descriptor == OUTPUT:
            level, system, text = _read(text)
        _log.emit(
            LogLevel.lookupByName(level), "{text}", text=text, log_system=f"{self._name} {system}"
        )


def _send(level: str, system: str, text: str) -> None:
    write_all(OUTPUT, json.dumps([level, system, text]) + "\n")


def _read(line: str) -> tuple[str, str, str]:
    try:
        level, system, text = json.loads(line)
    except ValueError:  # half a line, of a worker that was killed
        return "error", "-", line
    return level, system, text


def _level(event: LogEvent) -> str:
    level = event.get("log_level")
    return "info" if level is None else str(level.name)


def _system(event: LogEvent) -> str:
    """
    Who speaks, as Twisted shows it.
    """
    system = event.get("log_system")
    return str(system or f"{event.get('log_namespace', '-')}#{_level(event)}")
