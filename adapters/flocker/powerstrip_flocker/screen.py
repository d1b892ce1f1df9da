"""
Where moves are shown while they go on: bars on a terminal, lines elsewhere.

I/O: writes to a stream of text.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from typing import TextIO

from attrs import define, field

from powerstrip_flocker.bar import bar
from powerstrip_flocker.datasets.progress import LOG_SECONDS, Progress
from powerstrip_flocker.status import Departure

__all__ = ["Screen", "terminal_columns"]


def terminal_columns() -> int:
    """
    How wide the terminal is: 80 where it doesn't say.
    """
    return shutil.get_terminal_size((80, 24)).columns


@define
class Screen:
    """
    Shows the same moves again and again.
    """

    out: TextIO
    columns: Callable[[], int] = terminal_columns
    seconds: Callable[[], float] = time.monotonic

    _drawn: int = field(default=0, init=False)
    """How many lines are to be drawn over."""

    _said: dict[tuple[str, int], float] = field(factory=dict, init=False)
    """When a line of a phase was written last."""

    def show(self, moves: Sequence[Progress | Departure]) -> None:
        """
        Show how far they are now. Where no terminal is, each phase has a line when it begins, and
        one in five seconds.
        """
        if self.out.isatty():
            self._draw([self._drawing(it) for it in moves])
            return
        for move in moves:
            key = (move.name, move.phase if isinstance(move, Progress) else 0)
            if self.seconds() >= self._said.get(key, -LOG_SECONDS) + LOG_SECONDS:
                self._said[key] = self.seconds()
                print(move.line(), file=self.out, flush=True)

    def _drawing(self, move: Progress | Departure) -> str:
        if isinstance(move, Progress):
            return bar(move, self.columns())
        return move.line()[: self.columns()]

    def _draw(self, lines: Sequence[str]) -> None:
        up = f"\x1b[{self._drawn}A" if self._drawn else ""
        # Each line is cleared before it is drawn: behind one of full width there is no place from
        # where it could be. Below the last, what was drawn before goes.
        self.out.write(up + "".join(f"\x1b[2K{line}\n" for line in lines) + "\x1b[J")
        self.out.flush()
        self._drawn = len(lines)
