"""
How much the last move to a node has sent: read from the log of its flocker adapter.

``python -m demo.moved LOG`` is what ``POWERSTRIP_MOVED`` of ``run.sh`` can be.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

PHASE = re.compile(r"phase ([12]) of 2: (\S+ \S+) in (\S+ s)")


def moved(log: str) -> str:
    """
    What the two phases of the last move were.

    Args:
        log: The adapter's lines. There was a move to the node that it runs on.
    """
    phases = PHASE.findall(log)
    sent = {number: f"{size} in {time}" for number, size, time in phases}
    return f"{sent['1']}, and {sent['2']} while the database was stopped"


if __name__ == "__main__":
    print(moved(Path(sys.argv[1]).read_text()))
