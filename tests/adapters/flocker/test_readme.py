"""
The adapter's README, where it repeats what stands in the code.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from powerstrip_flocker.errors import RequestError
from powerstrip_flocker.options import Options
from powerstrip_flocker.places import place_of

from demo.node import HOOKS
from powerstrip.core.config import Config

ADAPTER = Path(__file__).parents[3] / "adapters" / "flocker"
README = (ADAPTER / "README.md").read_text(encoding="utf-8")


def table(heading: str) -> list[tuple[str, str]]:
    """
    The two columns of the table whose head begins so.
    """
    _, _, below = README.partition(f"| {heading} |")
    rows = below.partition("\n\n")[0].splitlines()[2:]
    return [(first.strip(), second.strip()) for _, first, second, _ in (r.split("|") for r in rows)]


BINDS = [
    (source, "refused" in line)
    for line in README.partition("## What can be bound")[2].partition("\n\nNames")[0].splitlines()
    for source in re.findall(r"(?:-v |source=)(/[^:,]+)", line)
]


@pytest.mark.parametrize(("source", "is_refused"), BINDS)
def test_what_can_be_bound_is_so(source: str, is_refused: bool) -> None:
    """
    Each bind of the table is taken or refused, as it has it.
    """
    if is_refused:
        with pytest.raises(RequestError):
            place_of(source)
    else:
        assert (place_of(source) is not None) == source.startswith("/flocker/")


def source() -> str:
    """
    The text of all that says something, as it is when each sentence is on one line.
    """
    files = (ADAPTER / "powerstrip_flocker").rglob("*.py")
    text = "\n".join(path.read_text(encoding="utf-8") for path in files)
    return re.sub(r'"\n\s*f?"', "", text)


SENTENCES = [
    said
    for first, _ in table("what is said")
    for said in re.findall(r"`([^`]+)`", first)
    if not said.startswith("powerstrip: ")
]


@pytest.mark.parametrize("sentence", SENTENCES)
def test_what_goes_wrong_is_said_so(sentence: str) -> None:
    """
    Each sentence of the last table stands in the code.
    """
    parts = [part.strip(" :") for part in sentence.split("…")]

    assert [part for part in parts if part not in source()] == []


def shown(path: str) -> str:
    """
    The configuration that a document has.
    """
    text = (ADAPTER.parents[1] / path).read_text(encoding="utf-8")
    (yaml,) = re.findall(r"^```yaml\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert isinstance(yaml, str)
    return yaml


@pytest.mark.parametrize(
    "text",
    [
        shown("adapters/flocker/README.md"),
        shown("contrib/systemd/README.md"),
        shown("docs/containers.md"),
        HOOKS.format(flocker="http://flocker/flocker-adapter", weave="http://weave/extension"),
    ],
    ids=["README", "systemd", "containers", "demo"],
)
def test_the_configurations_have_no_mistakes(text: str) -> None:
    """
    A reader can start from them: a move may take as long as it does, and the adapter hears of what
    the engine refuses.
    """
    config = Config.parse(text, "adapters.yml")

    for target in (b"/v1.41/containers/create", b"/containers/x/start", b"/containers/x/restart"):
        hooks = config.hooks_for("POST", target)
        assert [hooks.pre[0].name, hooks.post[-1].name] == ["flocker", "flocker"]
        assert hooks.pre[0].timeout_seconds == 86400


def test_the_options_are_there() -> None:
    """
    The commands have options that the adapter takes, and the table has no other.
    """
    lines = re.sub(r"\\\n\s*", "", README)
    commands = re.findall(r"twistd .* powerstrip-flocker (-.*)", lines)

    assert len(commands) == 3
    for command in commands:
        Options().parseOptions(command.split())
    known = Options().getUsage()
    of_others = {"--mount", "--volumes-from", "--at", "--json", "--watch"}
    named = set(re.findall(r"`(--[a-z-]+)", README)) - of_others
    assert [option for option in sorted(named) if option not in known] == []


def test_links_lead_somewhere() -> None:
    """
    What it links to is in the tree.
    """
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", README)

    assert [link for link in links if not (ADAPTER / link).exists()] == []
