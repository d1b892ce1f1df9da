"""
Tables, as an adapter's command shows them.

Sans-I/O: rows in, lines out.
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["table"]


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    """
    Lines in columns, and an empty one below, or none at all where there is no row.
    """
    lines = [head, *rows]
    if len(lines) == 1:
        return []
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        *("   ".join(map(str.ljust, line, widths)).rstrip() for line in lines),
        "",
    ]
