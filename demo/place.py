"""
The directory of a demo: one demo at a time is in it, and it goes with the demo.

I/O: the directory and its lock. Standard library only.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

__all__ = ["Occupied", "end_quietly", "is_occupied", "own_place"]


SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What ends a demo."""


class Occupied(Exception):
    """
    Another demo is there; the text says so.
    """


@contextmanager
def own_place(directory: Path) -> Iterator[None]:
    """
    Have a directory for oneself, and remove it in the end.

    SIGINT, SIGTERM and SIGHUP end the block in good order: the first of them does, and what comes
    after it is ignored until all has gone.

    Raises:
        Occupied: when another process has it.
    """
    # None comes before there is what removes the directory.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        with _locked(directory), _ended_by_signals():
            try:
                signal.pthread_sigmask(signal.SIG_SETMASK, mask)
                yield
            finally:
                shutil.rmtree(directory)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(directory, os.O_RDONLY)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Occupied(f"another demo runs in {directory}") from None
        yield
    finally:
        os.close(lock)


def is_occupied(directory: Path) -> bool:
    """
    Whether a process has it for itself.
    """
    try:
        lock = os.open(directory, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def end_quietly() -> None:
    """
    Take no notice of signals any more: a second Ctrl-C must not leave an engine behind.
    """
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    previous = {number: signal.signal(number, _end) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _end(number: int, _frame: FrameType | None) -> None:
    end_quietly()
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + number)
