"""
Where adapters ask before each step of a move.

I/O: a UNIX socket, and a thread that answers.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

from attrs import frozen

__all__ = ["Asked", "Gate"]


@frozen
class Asked:
    """
    A step that a node is about to take.
    """

    node: str
    step: str
    name: str


class Gate:
    """
    Lets all go on, but calls somebody first.

    Args:
        arrived: Is called in a thread for each step; the step is taken when it returns.
    """

    def __init__(self, path: Path, arrived: Callable[[Asked], None]) -> None:
        self._arrived = arrived
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(64)
        threading.Thread(target=self._listen, daemon=True).start()

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _listen(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._answer, args=[connection], daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with closing(connection), suppress(OSError):
            line = connection.makefile("rb").readline()
            if line:
                self._arrived(Asked(**json.loads(line)))
