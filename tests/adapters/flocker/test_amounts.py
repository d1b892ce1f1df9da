"""
Bytes and seconds as people read them.
"""

from __future__ import annotations

import pytest
from powerstrip_flocker.amounts import ago_text, rate_text, size_text, time_text


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (99.9 * 2**20, "99.9 MiB"),
        (99.96 * 2**20, "100 MiB"),
        (1023 * 2**30, "1023 GiB"),
        (2**50, "1.0 PiB"),
        (2**60, "1024 PiB"),
    ],
)
def test_a_size_is_three_figures_and_a_unit(size_bytes: float, text: str) -> None:
    """
    In powers of 1024, and never longer than 8 characters.
    """
    assert text == size_text(size_bytes)
    assert f"{text}/s" == rate_text(size_bytes)
    assert len(text) <= 8


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (35.4, "0:35"), (59.7, "1:00"), (3599.6, "1:00:00"), (86_400, "24:00:00")],
)
def test_a_length_of_time_is_as_on_a_clock(seconds: float, text: str) -> None:
    """
    With hours where there are any.
    """
    assert text == time_text(seconds)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-0.4, "0 s ago"),
        (35, "35 s ago"),
        (60, "1 minute ago"),
        (7199, "1 hour ago"),
        (7200, "2 hours ago"),
        (300_000, "3 days ago"),
    ],
)
def test_how_long_ago_is_told_about(seconds: float, text: str) -> None:
    """
    In the largest unit that fits; what clocks that differ put into the future is now.
    """
    assert text == ago_text(seconds)
