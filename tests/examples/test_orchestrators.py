"""
The document on orchestrators, which has their examples as they are.
"""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples" / "orchestrators"


@pytest.mark.parametrize("example", sorted(path.name for path in EXAMPLES.iterdir()))
def test_the_document_has_the_example_as_it_is(example: str) -> None:
    """
    A reader may copy it from there, to the letter.
    """
    document = (ROOT / "docs" / "orchestrators.md").read_text(encoding="utf-8")

    assert f"\n{(EXAMPLES / example).read_text(encoding='utf-8')}```\n" in document
