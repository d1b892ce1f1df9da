"""
What looks like a secret, and must not be seen in a log.

Sans-I/O: text in, the same text with ``***`` in it out. Names decide: nothing else tells a password
from another word. Where in doubt, too much is hidden.
"""

from __future__ import annotations

import re
from urllib.parse import unquote_plus

HIDDEN = "***"

_WORDS = "pass|pwd|secret|token|key|auth|credential"
_NAME = re.compile(_WORDS, re.IGNORECASE)

_EXACT_NAMES = frozenset({"data", "buildargs", "cookie", "set-cookie", "x-registry-config"})
"""``Data`` is the content of a secret or a config of Docker's."""

# The bounds keep the searches linear: a text may be a megabyte of "keykeykey".
_ASSIGNMENT = re.compile(
    rf"((?:{_WORDS})[\w.-]{{0,64}}[\\\"']{{0,4}}\s{{0,8}}[=:]"
    rf"|--?[\w-]{{0,64}}(?:{_WORDS})[\w-]{{0,64}}\s).+",
    re.IGNORECASE | re.DOTALL,
)
"""``DB_PASSWORD=…``, ``"password": …``, ``Authorization: …`` or ``--api-token …``."""

_OPTION = re.compile(rf"-[\w-]{{0,64}}(?:{_WORDS})[\w-]{{0,64}}", re.IGNORECASE)

_USER_INFO = re.compile(r"://[^/\s]{1,2000}@")

_PARAMETER = re.compile(r"([?&;])([^=&;\s]*)=([^&\s]*)")


def names_secret(name: str) -> bool:
    """
    Whether the value that has this name is to be hidden.
    """
    return name.lower() in _EXACT_NAMES or _NAME.search(name) is not None


def precedes_secret(word: object) -> bool:
    """
    Whether the word after this one is to be hidden, as in ``--password x``.
    """
    return isinstance(word, str) and _OPTION.fullmatch(word) is not None


def redacted(text: str) -> str:
    """
    Hides what follows the name of a secret, to the end of the text, and the passwords of URLs.
    """
    return _USER_INFO.sub(f"://{HIDDEN}@", _ASSIGNMENT.sub(rf"\1{HIDDEN}", text))


def redacted_url(text: str) -> str:
    """
    Hides passwords, and the parameters that have the name of a secret or hold one.
    """
    return _USER_INFO.sub(f"://{HIDDEN}@", _PARAMETER.sub(_redacted_parameter, text))


def _redacted_parameter(found: re.Match[str]) -> str:
    separator, name, value = found.groups()
    decoded = unquote_plus(value)
    if names_secret(unquote_plus(name)) or redacted(decoded) != decoded:
        value = HIDDEN
    return f"{separator}{name}={value}"
