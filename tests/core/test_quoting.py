"""
How sentences show other people's text.
"""

from __future__ import annotations

import pytest

from powerstrip.core.quoting import quoted


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("weave", '"weave"'),
        ("", '""'),
        ("é…", '"é…"'),
        ("a\nb\x1b[1m\ud800\u2028", r'"a\nb\x1b[1m\ud800\u2028"'),
        ("x" * 80, f'"{"x" * 80}"'),
        ("x" * 81, f'"{"x" * 79}…"'),
        ("http://me:secret@host/x", '"http://***@host/x"'),
        ("http://me:se@c/r:et@host", '"http://***@host"'),
        ("me:secret@host", '"***@host"'),
        ("http://host/?token=secret", '"http://host/?…"'),
        ("GET /a?", '"GET /a?"'),
    ],
)
def test_a_text_is_shown_on_one_line_without_its_secrets(text: str, expected: str) -> None:
    """
    Cut where it is long.
    """
    assert quoted(text) == expected
