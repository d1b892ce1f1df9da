"""
The adapter's README, where it repeats what stands in the code.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from powerstrip_weave.addresses import requested_addresses
from powerstrip_weave.errors import AddressError
from powerstrip_weave.service import Options

from powerstrip.core.config import Config

ADAPTER = Path(__file__).parents[3] / "adapters" / "weave"
README = (ADAPTER / "README.md").read_text(encoding="utf-8")


def table(heading: str) -> list[tuple[str, str]]:
    """
    The two columns of the table whose head begins so.
    """
    _, _, below = README.partition(f"| {heading} |")
    rows = below.partition("\n\n")[0].splitlines()[2:]
    return [(first.strip(), second.strip()) for _, first, second, _ in (r.split("|") for r in rows)]


SPELLINGS = [
    (said, meaning)
    for first, meaning in table("`WEAVE_CIDR`")
    for said in re.findall(r"`([^`]+)`", first)
]


@pytest.mark.parametrize(("said", "meaning"), SPELLINGS)
def test_what_weave_cidr_may_say_is_so(said: str, meaning: str) -> None:
    """
    Each spelling of the table is refused, taken, or taken for none, as it has it.
    """
    environment = [f"WEAVE_CIDR={said}"]
    if meaning.startswith("refused"):
        with pytest.raises(AddressError):
            requested_addresses(environment)
    elif meaning.startswith("no address"):
        assert requested_addresses(environment) is None
    else:
        assert len(requested_addresses(environment) or ()) == len(re.split(r"[ ,]", said))


def source() -> str:
    """
    The text of all that says something, as it is when each sentence is on one line.
    """
    files = [*(ADAPTER / "powerstrip_weave").rglob("*.py"), *ADAPTER.glob("wait-for-weave/*.c")]
    text = "\n".join(path.read_text(encoding="utf-8") for path in files)
    return re.sub(r'"\n\s*f?"', "", text)


ELSEWHERE = ("weave status: ", "powerstrip: ", "never")
"""Of Weave Net, of Powerstrip, and no sentence."""

SENTENCES = [
    said
    for first, _ in table("what is said")
    for said in re.findall(r"`([^`]+)`", first)
    if not said.startswith(ELSEWHERE)
]


@pytest.mark.parametrize("sentence", SENTENCES)
def test_what_goes_wrong_is_said_so(sentence: str) -> None:
    """
    Each sentence of the last table stands in the code.
    """
    parts = [part.strip(" :") for part in sentence.split("…")]

    assert [part for part in parts if part not in source()] == []


def test_the_configuration_has_no_mistakes() -> None:
    """
    A reader can start from the configuration.
    """
    (text,) = re.findall(r"^```yaml\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)

    Config.parse(text, "README.md")


def test_the_options_are_there() -> None:
    """
    The commands have options that the adapter takes.
    """
    lines = re.sub(r"\\\n\s*", "", README)
    commands = re.findall(r"twistd .* powerstrip-weave (-.*)", lines)
    commands += re.findall(r"bind-nonrecursive powerstrip-weave (-.*)", lines)

    assert len(commands) == 3
    for command in commands:
        Options().parseOptions(command.split())


def test_links_lead_somewhere() -> None:
    """
    What it links to is in the tree.
    """
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", README)

    assert [link for link in links if not (ADAPTER / link).exists()] == []
