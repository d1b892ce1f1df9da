"""
The configuration file, which is live: a change to it applies to the next request.

I/O: one ``stat`` for each time it is asked for; the file is read when that shows a change.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable

from twisted.logger import Logger

from powerstrip.core.config import Config
from powerstrip.core.yaml_nodes import MAX_CHARACTERS
from powerstrip.errors import ConfigError

RACY_SECONDS = 2.0
"""
How long a change is young: a second one might still leave the same time stamps.

Linux stamps files with the clock of its last tick, up to 10 ms old (``current_time`` in the
kernel's ``fs/inode.c``), ext3 and HFS+ have whole seconds, and FAT has every other second.
"""

_MAX_BYTES = 4 * MAX_CHARACTERS
"""A character of UTF-8 has four bytes at most."""

_log = Logger()


class ConfigFile:
    """
    Gives the configuration in force.

    A file that has become wrong, or has gone, leaves the last good one in force; the log says so,
    once for each change.
    """

    def __init__(
        self, path: str, *, log: Logger = _log, now_seconds: Callable[[], float] = time.time
    ) -> None:
        """
        Reads the file for the first time.

        Args:
            now_seconds: The clock of the time stamps of files.

        Raises:
            ConfigError: The file can't be read or used.
        """
        self.file = path
        self._path = os.path.abspath(path)  # the working directory of a daemon may change
        self._log = log
        self._now_seconds = now_seconds
        self._settled: tuple[int, ...] | None = None
        """The version of the file that was read last, unless it was young then."""

        self._last_look: bytes | str = b""
        """The content of the file, or why it can't be read."""

        self._is_good = True
        self._config = self._parse(self._read())

    @property
    def config(self) -> Config:
        """
        The configuration in force at this moment.
        """
        try:
            unchanged = _version(os.stat(self._path)) == self._settled
        except OSError:
            unchanged = False
        if not unchanged:
            self._look_again()
        return self._config

    def _look_again(self) -> None:
        """
        Reads the file, and acts where it is not as it was at the last look.
        """
        last_look = self._last_look
        try:
            content = self._read()
            if content == last_look:
                return
            self._config = self._parse(content)
        except ConfigError as exc:
            if self._last_look != last_look:
                self._is_good = False
                self._log.error(
                    "the last good configuration stays in force: {problems}", problems=str(exc)
                )
        else:
            verb = "has changed" if self._is_good else "is good again"
            self._is_good = True
            self._log.info("{file} {verb} and is in force", file=self.file, verb=verb)

    def _parse(self, content: bytes) -> Config:
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError as exc:
            line = content.count(b"\n", 0, exc.start) + 1
            raise ConfigError([f"{self.file}, line {line}: the file is not UTF-8"]) from exc
        return Config.parse(text, self.file)

    def _read(self) -> bytes:
        """
        Reads the file, and keeps what was found.

        Raises:
            ConfigError: There is no such file, or not one to read.
        """
        self._settled = None
        now_seconds = self._now_seconds()
        try:
            with open(self._path, "rb", opener=_open_at_once) as file:
                status = os.fstat(file.fileno())
                if not stat.S_ISREG(status.st_mode):
                    raise OSError("it is not a file")
                content = file.read(_MAX_BYTES + 1)
        except OSError as exc:
            self._last_look = f"{self.file}: can't be read: {exc.strerror or exc}"
            raise ConfigError([self._last_look]) from exc
        if not _is_young(status, now_seconds):
            self._settled = _version(status)
        self._last_look = content
        return content


def _open_at_once(path: str, flags: int) -> int:
    """
    Opens a file; a pipe too, without waiting for somebody to write into it.
    """
    return os.open(path, flags | os.O_NONBLOCK)


def _version(status: os.stat_result) -> tuple[int, ...]:
    """
    What tells one state of a file from another without reading it.

    The change time is in it as well, since no tool can set that: ``cp -p`` and ``touch -r`` bring
    a modification time with them.
    """
    return (
        status.st_mtime_ns,
        status.st_ctime_ns,
        status.st_size,
        status.st_ino,
        status.st_dev,
    )


def _is_young(status: os.stat_result, now_seconds: float) -> bool:
    """
    Whether the file may still change in a way that leaves its version as it is.

    It must then be read again, as Git does with index entries that are "racily clean" (git/git
    ``Documentation/technical/racy-git.txt``).
    """
    return any(
        abs(now_seconds - stamp) < RACY_SECONDS for stamp in (status.st_mtime, status.st_ctime)
    )
