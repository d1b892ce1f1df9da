"""
The bound on silence: a call may take as long as it likes, while the other side gives signs of life.

I/O: the reactor's time.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

__all__ = ["BrokenOff", "Silence"]


class BrokenOff(Exception):
    """
    The other side's answer has not come whole; the text says how.
    """


class Silence:
    """
    Ends what waits for a side that has said nothing for too long.
    """

    def __init__(
        self, clock: IReactorTime, limit_seconds: float, on_end: Callable[[], object]
    ) -> None:
        self.is_over = False
        """Whether it has been too long."""

        self._clock = clock
        self._limit_seconds = limit_seconds
        self._on_end = on_end
        self._waiting: IDelayedCall | None = None
        self.listen()

    def heard(self) -> None:
        """
        There was a sign of life.
        """
        if self._waiting is not None:
            self._waiting.reset(self._limit_seconds)

    def hold(self) -> None:
        """
        Nobody listens for now.
        """
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def listen(self) -> None:
        """
        Listen again, from now on.
        """
        if self._waiting is None and not self.is_over:
            self._waiting = self._clock.callLater(self._limit_seconds, self._end)

    def _end(self) -> None:
        self._waiting = None
        self.is_over = True
        self._on_end()
