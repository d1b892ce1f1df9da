"""
What a container runs of its image and of the request.

The whole table is compared with the engine's own in test_commands_as_engine.py.
"""

from __future__ import annotations

import pytest
from powerstrip_weave.command import Command

IMAGE = Command(("/entry", "x"), ("command", "y"))


@pytest.mark.parametrize(
    ("entrypoint", "cmd", "expected"),
    [
        (None, None, IMAGE),
        (None, (), IMAGE),
        (None, ("c",), Command(("/entry", "x"), ("c",))),
        ((), None, Command((), ("command", "y"))),
        ((), ("c",), Command((), ("c",))),
        (("",), None, Command()),
        (("",), ("c",), Command((), ("c",))),
        (("e",), None, Command(("e",))),
        (("e",), ("c",), Command(("e",), ("c",))),
        (("", "e"), ("",), Command(("", "e"), ("",))),
    ],
)
def test_a_request_overrides_its_image(
    entrypoint: tuple[str, ...] | None, cmd: tuple[str, ...] | None, expected: Command
) -> None:
    """
    An entry point of the request drops the image's command, an empty one does not.
    """
    assert expected == IMAGE.overridden(entrypoint, cmd)


def test_an_empty_entry_point_of_an_image_is_none() -> None:
    """
    The engine forgets an entry point ``[""]`` wherever it is from.
    """
    assert Command((), ("c",)) == Command(("",), ("c",)).overridden(None, None)


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (Command(("w", "e"), ("c",)), Command(("e",), ("c",))),
        (Command(("w",), ("c",)), Command((), ("c",))),
        (Command(("w", "w", "e"), ("w",)), Command(("e",), ("w",))),
        (Command(("w",), ("w", "c", "w")), Command((), ("c", "w"))),
        (Command((), ("w", "c")), Command((), ("c",))),
        (Command(("w",)), Command()),
        (Command(("e", "w"), ("w",)), Command(("e", "w"), ("w",))),
    ],
)
def test_a_program_is_taken_away_from_the_beginning(command: Command, expected: Command) -> None:
    """
    Only a program that runs the rest goes, not an argument that is called the same.
    """
    assert expected == command.without("w")
