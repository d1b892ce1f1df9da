"""
Moves on a terminal, and elsewhere.
"""

from __future__ import annotations

from io import StringIO

from attrs import evolve
from powerstrip_flocker.bar import bar
from powerstrip_flocker.datasets.progress import Progress
from powerstrip_flocker.screen import Screen
from powerstrip_flocker.status import Departure

HALF = Progress("data", "node1", "node2", 1, 512, 1024, 16.0)
OTHER = evolve(HALF, name="other")
LEAVING = Departure("db", "node2", "node3")


class Terminal(StringIO):
    """
    What a terminal of 80 columns shows: the few sequences that are used, and no others.
    """

    def isatty(self) -> bool:
        return True

    def lines(self) -> list[str]:
        shown: list[str] = []
        at = 0
        for part in self.getvalue().replace("\x1b", "\n\x1b").split("\n"):
            if part.endswith("A") and part.startswith("\x1b["):
                at -= int(part[2:-1])
            elif part == "\x1b[J":
                del shown[at:]
            elif part.startswith("\x1b[2K"):
                shown[at : at + 1] = [part.removeprefix("\x1b[2K")]
                at += 1
            else:
                assert part == ""
        return shown


def test_a_terminal_shows_bars_in_place() -> None:
    """
    Each is drawn over the one before, however many there are now.
    """
    terminal = Terminal()
    screen = Screen(terminal, lambda: 80)
    more = evolve(HALF, sent_bytes=700)
    for moves in ([HALF], [HALF, OTHER, LEAVING], [more, LEAVING]):
        screen.show(moves)
        drawn = [bar(it, 80) if isinstance(it, Progress) else it.line() for it in moves]
        assert drawn == terminal.lines()
    screen.show([])
    assert terminal.lines() == []


def test_elsewhere_there_is_a_line_for_each_phase() -> None:
    """
    And another one in five seconds, with no sequence of a terminal.
    """
    now = [0.0]
    out = StringIO()
    screen = Screen(out, lambda: 80, lambda: now[0])
    rest = evolve(HALF, phase=2)
    for at in range(14):
        now[0] = at / 2
        screen.show([HALF, LEAVING] if at < 12 else [rest])
    assert out.getvalue().splitlines() == [
        HALF.line(),
        LEAVING.line(),
        HALF.line(),
        LEAVING.line(),
        rest.line(),
    ]
