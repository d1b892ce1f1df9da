"""
How much the last move to a node has sent: read from the log of its flocker adapter.

``python -m demo.moved LOG`` is what ``POWERSTRIP_MOVED`` of ``run.sh`` can be: it prints all that
was sent, what of it while the database ran, and what while it was stopped.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from powerstrip_flocker.amounts import size_text

PHASE = re.compile(r"phase ([12]) of 2: (\S+) (\S*B) in (\S+ s)")

UNIT_BYTES = {unit: 1024**power for power, unit in enumerate(("B", "KiB", "MiB", "GiB", "TiB"))}


def moved(log: str) -> list[str]:
    """
    What the last move and its two phases were.

    Args:
        log: The adapter's lines. There was a move to the node that it runs on.
    """
    phases = {number: (size, unit, time) for number, size, unit, time in PHASE.findall(log)}
    total_bytes = sum(float(size) * UNIT_BYTES[unit] for size, unit, _ in phases.values())
    told = [f"{size} {unit} in {time}" for _, (size, unit, time) in sorted(phases.items())]
    return [size_text(total_bytes), *told]


if __name__ == "__main__":
    print(*moved(Path(sys.argv[1]).read_text()), sep="\n")
