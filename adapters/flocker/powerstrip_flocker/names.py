"""
The names that datasets can have.

Sans-I/O: text in, a sentence where it is no name.
"""

from __future__ import annotations

import re

from powerstrip_flocker.errors import RequestError

__all__ = ["MAX_CHARACTERS", "check_name"]

MAX_CHARACTERS = 64
"""A name is a part of the names of pools' datasets, of paths and of the ledger's keys, which all
have bounds of their own: 255 bytes for a whole dataset of ZFS with its pool and its snapshot."""

_NAME = re.compile(r"[A-Za-z0-9._-]+")


def check_name(name: str) -> None:
    """
    Refuses what can't be the name of a dataset.

    Raises:
        RequestError: The sentence says why not.
    """
    if not name:
        raise RequestError("a dataset must have a name, as in /flocker/NAME")
    if len(name) > MAX_CHARACTERS:
        shown = repr(f"{name[:20]}…")
        what = f"it has {len(name)} characters, and {MAX_CHARACTERS} are the most"
    elif not _NAME.fullmatch(name):
        shown = repr(name)
        what = "it may have letters of ASCII, digits, '.', '_' and '-' only"
    elif name == "." or ".." in name:
        shown = repr(name)
        what = "it may have no '..' and not be '.'"
    else:
        return
    raise RequestError(f"{shown} can't be the name of a dataset: {what}")
