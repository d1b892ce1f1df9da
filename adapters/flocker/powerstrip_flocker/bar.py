"""
The bar that shows how far a move is.

Sans-I/O: a value in, a line of text out, in ASCII, which each terminal has.
"""

from __future__ import annotations

from powerstrip_flocker.amounts import rate_text, size_text, time_text
from powerstrip_flocker.datasets.progress import Progress

__all__ = ["bar"]

LABEL_COLUMNS = 32
"""How much of a line the name may take, which has 64 characters at most."""

MIN_BAR_COLUMNS = 8


def bar(progress: Progress, columns: int) -> str:
    """
    Draw it, as wide as there are columns: what, which phase, how much, how fast, how long still.

    In 80 columns::

        data to node2 1/2 [=============>             ]  50%  512 MiB 32.0 MiB/s    0:16
    """
    label = f"{_shortened(progress)} {progress.phase}/2"
    figures = _figures(progress)
    inner_columns = columns - len(label) - len(figures) - 3
    if inner_columns < MIN_BAR_COLUMNS:
        return f"{label}{figures}"[:columns].ljust(columns)
    return f"{label} [{_inner(progress, inner_columns)}]{figures}"


def _figures(progress: Progress) -> str:
    fraction, remaining = _fraction(progress), progress.remaining_seconds
    percent = "" if fraction is None else f"{int(fraction * 100)}%"
    rest = "" if remaining is None else time_text(remaining)
    size, rate = size_text(progress.sent_bytes), rate_text(progress.bytes_per_second)
    return f" {percent:>4} {size:>8} {rate:>10} {rest:>7}"


def _inner(progress: Progress, columns: int) -> str:
    fraction = _fraction(progress)
    if fraction is None:
        # Nobody knows how far it is, but that it lives can be seen: it goes to and fro.
        way = columns - 3
        place = int(progress.elapsed_seconds * 4) % (2 * way)
        return (" " * min(place, 2 * way - place) + "<=>").ljust(columns)
    done = int(fraction * columns)
    head = ">" if done < columns else ""
    return ("=" * done + head).ljust(columns)


def _fraction(progress: Progress) -> float | None:
    if not progress.expected_bytes:
        return None
    # What is expected is an estimate: more may come.
    return min(1.0, progress.sent_bytes / progress.expected_bytes)


def _shortened(progress: Progress) -> str:
    to = f" to {progress.target}"
    label = progress.name + to
    if len(label) <= LABEL_COLUMNS:
        return label
    name_columns = max(LABEL_COLUMNS - len(to), 8)
    return f"{progress.name[: name_columns - 2]}..{to}"[: LABEL_COLUMNS + 8]
