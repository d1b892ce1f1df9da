"""
What is read of a move from the flocker adapter's log.
"""

from __future__ import annotations

from demo.moved import moved

LOG = """\
2026-11-22T18:40:57+0000 [x#info] data1: node1 -> node2, phase 1 of 2: 3.0 MiB in 0.4 s, 7.5 MiB/s
2026-11-22T18:40:58+0000 [x#info] data1: node1 -> node2, phase 2 of 2: 624 B in 0.1 s, 6.1 KiB/s
2026-11-22T18:41:57+0000 [x#info] data1: node1 -> node2, phase 1 of 2: 1.2 of about 17.7 KiB, 1 B/s
2026-11-22T18:41:57+0000 [x#info] data1: node1 -> node2, phase 1 of 2: 17.7 KiB in 0.2 s, 88 KiB/s
2026-11-22T18:41:58+0000 [x#info] data1: node1 -> node2, phase 2 of 2: 624 B in 0.1 s, 6.1 KiB/s
"""


def test_last_move_is_told_by_its_phases_and_their_sum() -> None:
    """
    Earlier moves, and lines of a phase that goes on, are left out.
    """
    expected = ["18.3 KiB", "17.7 KiB in 0.2 s", "624 B in 0.1 s"]

    assert expected == moved(LOG)
