"""
Tables as a command shows them.
"""

from __future__ import annotations

from powerstrip.adapter.tables import table


def test_columns_are_as_wide_as_what_stands_in_them() -> None:
    """
    The head counts too; nothing stands behind the last one.
    """
    assert table(("NAME", "X"), [("a", "12"), ("longer", "")]) == [
        "NAME     X",
        "a        12",
        "longer",
        "",
    ]


def test_a_table_without_rows_is_nothing() -> None:
    """
    Not even a head.
    """
    assert table(("NAME", "X"), []) == []
