"""
How a sentence shows a piece of a text that somebody else wrote.

Sans-I/O: text in, text out.
"""

from __future__ import annotations

import re

_SHOWN_CHARACTERS = 80


def quoted(text: str) -> str:
    """
    Shows a text on one line, cut, and never with the password or the query of a URL in it.
    """
    text = re.sub(r"^((?:[\w+.-]+:)?//)?.*@", r"\1***@", text, flags=re.DOTALL)
    if "://" in text:
        text = re.sub(r"\?.+", "?…", text, flags=re.DOTALL)
    return f'"{printable(cut(text, _SHOWN_CHARACTERS))}"'


def cut(text: str, characters: int) -> str:
    """
    Leaves out the end of a text that has more than so many characters.
    """
    return text if len(text) <= characters else text[: characters - 1] + "…"


def printable(text: str) -> str:
    """
    Escapes what could break a line of a log, or a terminal.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
