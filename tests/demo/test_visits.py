"""
What is made of the visitor's notes.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parents[2] / "demo" / "visits.awk"


def read_visits(*notes: str) -> str:
    """
    What the program says of notes: how many, before, after, seconds without one, and forgotten.
    """
    command = ["awk", "-f", str(PROGRAM)]
    text = "".join(f"{note}\n" for note in notes)
    return subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("notes", [(), ("100.00 1",)])
def test_one_visit_says_nothing(notes: tuple[str, ...]) -> None:
    """
    There is no time between visits where there is one visit.
    """
    assert read_visits(*notes) == ""


def test_longest_silence_is_told_with_the_numbers_around_it() -> None:
    """
    The longest time between two visits is found wherever it is.
    """
    notes = ("100.00 7", "100.10 8", "102.35 9", "102.40 10")

    assert read_visits(*notes) == "4 8 9 2.25 0\n"


def test_numbers_of_other_visitors_may_be_missing() -> None:
    """
    A number that the visitor has not seen is one that somebody else was told.
    """
    assert read_visits("100.00 1", "100.10 2", "101.10 9") == "3 2 9 1.00 0\n"


@pytest.mark.parametrize(
    ("numbers", "forgotten"),
    [((8, 9, 9), 1), ((8, 9, 8), 2), ((8, 9, 1), 9), ((8, 9, 8, 9, 10), 2), ((9, 8, 7), 4)],
)
def test_each_visit_that_was_counted_again_was_forgotten(
    numbers: tuple[int, ...], forgotten: int
) -> None:
    """
    A number that comes a second time means that the database has lost what it had acknowledged.
    """
    notes = (f"{100 + second} {number}" for second, number in enumerate(numbers))

    assert forgotten == int(read_visits(*notes).split()[-1])
