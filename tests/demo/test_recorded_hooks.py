"""
The examples in the reference of the hook protocol, against what is sent today.
"""

from __future__ import annotations

import re

import pytest

from demo.engine import why_not
from demo.record_hooks import DOCUMENT, EXAMPLE, record

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]


def without_changing_parts(example: str) -> str:
    """
    An example without what is another with each run or each engine: texts, lengths and ports.
    """
    text = re.sub(r'"Body": ".+"', '"Body": "TEXT"', example)
    text = re.sub(r'^\{"(Id|message)".*$', r"\1", text, flags=re.MULTILINE)
    return re.sub(r"(Content-Length: |127\.0\.0\.1:)\d+", r"\1N", text)


def test_reference_shows_what_is_sent() -> None:
    """
    Each recorded example has the members, the nulls and the heads of one that is recorded now.
    """
    recorded = {name: without_changing_parts(text) for name, text in record().items()}

    shown = {
        found["name"]: without_changing_parts(found["text"])
        for found in EXAMPLE.finditer(DOCUMENT.read_text(encoding="utf-8"))
    }

    assert recorded == shown
