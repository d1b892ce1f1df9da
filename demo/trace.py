"""
What the demo shows of the lines that ``powerstrip --trace`` logs.

Sans-I/O: lines in, some of them out, shorter.
"""

from __future__ import annotations

import re
from collections.abc import Callable

__all__ = ["TraceReader"]

LINE = re.compile(r"\t  (?P<arrow>->|<-|--) (?P<text>.*)")
START_LINE = re.compile(r"([A-Z]+ \S+) HTTP/1\.1|HTTP/1\.1 (\d.*)")
CONTAINER = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{52}\b")
HOOK = re.compile(r"(pre|post)-hook ")


class TraceReader:
    """
    Picks the first lines of heads, and what hooks did; leaves out headers and pings.
    """

    def __init__(self, show: Callable[[str], None]) -> None:
        self._show = show
        self._pinged = False

    def read(self, line: str) -> None:
        """
        Show a line, or leave it out.
        """
        found = LINE.fullmatch(line)
        if found is None:
            return
        arrow, text = found["arrow"], CONTAINER.sub(r"\1", found["text"])
        if arrow == "--":
            self._show(f"   {text}" if HOOK.match(text) else f"      {text}")
            return
        start_line = START_LINE.fullmatch(text)
        if start_line is not None:
            self._show_start_line(arrow, start_line[1] or start_line[2])

    def _show_start_line(self, arrow: str, text: str) -> None:
        answers_ping = self._pinged and arrow == "<-"
        self._pinged = text == "HEAD /_ping"
        if not self._pinged and not answers_ping:
            self._show(f"{arrow} {text}")
