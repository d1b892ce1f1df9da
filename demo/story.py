"""
What a demo prints: steps, commands and what comes of them, in 80 columns.

I/O: writes to standard output, a line at a time, from any thread.
"""

from __future__ import annotations

import os
import sys
import textwrap
import threading

__all__ = ["Story"]

WIDTH = 80
BOLD, DIM, CYAN = "\033[1m", "\033[2m", "\033[36m"
PLAIN = "\033[0m"


class Story:
    """
    Tells what happens. Colours only where a terminal shows them (https://no-color.org).
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._colours = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        self._steps = 0

    def title(self, text: str) -> None:
        self._print(text, BOLD)
        self._print("=" * len(text), BOLD)

    def step(self, text: str) -> None:
        """
        Begin the next numbered step.
        """
        self._steps += 1
        self._print("")
        self._print(f"{self._steps}. {text}", BOLD)

    def say(self, text: str) -> None:
        """
        Prose, in lines of the terminal's width.
        """
        for line in textwrap.wrap(text, WIDTH - 3):
            self._print(f"   {line}")

    def command(self, *parts: str) -> None:
        """
        A command line that a reader could type, broken before a part that is too wide.
        """
        line = "   $"
        for part in parts:
            if len(f"{line} {part} \\") > WIDTH:
                self._print(f"{line} \\", CYAN)
                line = "      "
            line = f"{line} {part}"
        self._print(line, CYAN)

    def output(self, line: str) -> None:
        """
        A line that a command has printed.
        """
        self._print(f"   {line}".rstrip())

    def aside(self, who: str, line: str) -> None:
        """
        A line that a program beside the commands has logged, cut where it is too wide.
        """
        text = f"   {who:>10} | {line}"
        self._print(text if len(text) <= WIDTH else f"{text[: WIDTH - 1]}…", DIM)

    def close(self, text: str) -> None:
        """
        The last line.
        """
        self._print("")
        self._print(text, BOLD)

    def _print(self, line: str, style: str = "") -> None:
        with self._lock:
            print(f"{style}{line}{PLAIN}" if self._colours and style else line, flush=True)
