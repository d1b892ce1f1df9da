"""
The documents that a newcomer reads, where they repeat what stands elsewhere.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from powerstrip.core.config import Config

ROOT = Path(__file__).parents[2]
DOCUMENTS = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "examples/README.md"]
DOCUMENTS += sorted(str(page.relative_to(ROOT)) for page in ROOT.glob("docs/*.md"))


def blocks(document: str, language: str) -> list[str]:
    """
    The texts of all code blocks of one language.
    """
    text = (ROOT / document).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def test_readme_has_the_example_as_it_is() -> None:
    """
    The adapter in the README is examples/label.py, to the letter.
    """
    expected = (ROOT / "examples" / "label.py").read_text(encoding="utf-8")

    assert [expected] == blocks("README.md", "python")


def test_readme_has_a_configuration_without_mistakes() -> None:
    """
    A reader can start from the configuration in the README.
    """
    (text,) = blocks("README.md", "yaml")

    Config.parse(text, "README.md")


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document: str) -> None:
    """
    What a document links to is in the tree.
    """
    text = (ROOT / document).read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", text)

    missing = [link for link in links if not (ROOT / document).parent.joinpath(link).exists()]

    expected: list[str] = []
    assert expected == missing
