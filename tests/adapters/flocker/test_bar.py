"""
The bar of a move.
"""

from __future__ import annotations

from itertools import pairwise

import pytest
from attrs import evolve
from powerstrip_flocker.bar import bar
from powerstrip_flocker.datasets.progress import Progress

MIB = 2**20
HALF = Progress("data", "node1", "node2", 1, 512 * MIB, 1024 * MIB, 16.0)
UNKNOWN = evolve(HALF, expected_bytes=None)


def test_a_bar_fills_eighty_columns() -> None:
    """
    What, which phase, how much of it, how much, how fast, and how long still.
    """
    drawn = "data to node2 1/2 [=============>             ]  50%  512 MiB 32.0 MiB/s    0:16"
    assert drawn == bar(HALF, 80)


@pytest.mark.parametrize("columns", [60, 80, 200])
@pytest.mark.parametrize("sent_bytes", [0, 1, 512 * MIB, 1024 * MIB, 1025 * MIB])
@pytest.mark.parametrize("move", [HALF, UNKNOWN, evolve(HALF, name="x" * 64, target="y" * 64)])
def test_a_bar_is_as_wide_as_its_place(move: Progress, sent_bytes: int, columns: int) -> None:
    """
    However far it is, so that nothing of the line before is left.
    """
    drawn = bar(evolve(move, sent_bytes=sent_bytes), columns)
    assert len(drawn) == columns
    assert drawn.isascii()


@pytest.mark.parametrize("columns", range(1, 60))
def test_a_narrow_terminal_has_no_second_line(columns: int) -> None:
    """
    What doesn't fit is left out.
    """
    assert len(bar(HALF, columns)) == columns


def test_a_bar_that_is_full_has_no_head() -> None:
    """
    More than what was expected is all of it.
    """
    drawn = bar(evolve(HALF, sent_bytes=2000 * MIB), 80)
    inner = drawn[drawn.index("[") + 1 : drawn.index("]")]
    assert set(inner) == {"="}
    assert "100%" in drawn


def test_nothing_sent_is_nothing_drawn() -> None:
    """
    No percentage is made up, nor an end.
    """
    drawn = bar(evolve(HALF, sent_bytes=0, expected_bytes=None, elapsed_seconds=0.0), 80)
    assert "%" not in drawn
    assert "0 B" in drawn


def test_a_move_of_unknown_length_goes_to_and_fro() -> None:
    """
    That it goes on can be seen, and that nobody knows how far it is.
    """
    places = [bar(evolve(UNKNOWN, elapsed_seconds=at / 4), 80).index("<=>") for at in range(1, 60)]
    assert all(abs(one - other) <= 1 for one, other in pairwise(places))
    assert len(set(places)) > 10


def test_a_phase_is_told_in_a_line_too() -> None:
    """
    For a log, or where there is no terminal.
    """
    what = "data: node1 -> node2, phase 1 of 2: "
    assert HALF.line() == f"{what}512 MiB of about 1.0 GiB, 32.0 MiB/s, 0:16 to go"
    assert UNKNOWN.line() == f"{what}512 MiB, 32.0 MiB/s"
    assert HALF.end_line() == f"{what}512 MiB in 16.0 s, 32.0 MiB/s"
