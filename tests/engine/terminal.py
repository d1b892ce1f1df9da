"""
A terminal that a docker command runs on, and somebody who types there.
"""

from __future__ import annotations

import fcntl
import os
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.engine.commands import Resize, Type

LIMIT_SECONDS = 60
NUDGE_SECONDS = 0.5
"""
After so long a silence the size is told again: docker first sends the window's
size, and only when that is answered does it listen for news of another.
"""


def run_on_terminal(
    line: str, moves: Sequence[Type | Resize], work: Path, environment: Mapping[str, str]
) -> tuple[int, bytes]:
    """
    Run a bash line on a terminal of its own, and make the moves there.

    Returns:
        The exit status, and what was written to the terminal. The status is -1 when
        something to wait for has not come in time.
    """
    ours, theirs = os.openpty()
    resize(ours, 24, 80)
    process = subprocess.Popen(
        # The terminal must be the controlling one, else nobody hears of its resizing.
        ["setsid", "--ctty", "--wait", "bash", "-c", line],
        cwd=work,
        env=environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    screen = Screen(ours)
    try:
        for move in moves:
            screen.read_until(move.after)
            if isinstance(move, Type):
                os.write(ours, move.keys)
            else:
                resize(ours, move.rows, move.columns)
        screen.read_until(None)
        return process.wait(timeout=LIMIT_SECONDS), screen.written
    except TimeoutError as error:
        return -1, screen.written + f"\n{error}\n".encode()
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def resize(terminal: int, rows: int, columns: int) -> None:
    """
    Give a terminal's window another size.
    """
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


class Screen:
    """
    What has been written to a terminal.
    """

    def __init__(self, terminal: int) -> None:
        self._terminal = terminal
        self._seen = 0
        self.written = b""

    def read_until(self, pattern: str | None) -> None:
        """
        Read until something new matches; until the end where there is no pattern.
        """
        deadline = time.monotonic() + LIMIT_SECONDS
        while not self._finds(pattern):
            if time.monotonic() > deadline:
                raise TimeoutError(f"never shown: {pattern or 'the end'}")
            if not select.select([self._terminal], [], [], NUDGE_SECONDS)[0]:
                os.killpg(os.tcgetpgrp(self._terminal), signal.SIGWINCH)
                continue
            try:
                self.written += os.read(self._terminal, 65536)
            except OSError:  # EIO is a terminal's end of file
                if pattern is None:
                    return
                raise TimeoutError(f"ended without: {pattern}") from None

    def _finds(self, pattern: str | None) -> bool:
        found = pattern is not None and re.search(pattern.encode(), self.written[self._seen :])
        if found:
            self._seen += found.end()
        return bool(found)
