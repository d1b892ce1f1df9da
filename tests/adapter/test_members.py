"""
The members of a request, as an adapter reads them.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from powerstrip.adapter.json_text import Json, Number, TooDeep
from powerstrip.adapter.members import (
    Unreadable,
    command_line,
    load_object,
    object_of,
    objects,
    text,
    texts,
)


@pytest.mark.parametrize(
    ("read", "value", "expected"),
    [
        (object_of, None, {}),
        (object_of, {"a": True}, {"a": True}),
        (objects, None, []),
        (objects, [None, {"a": "b"}], [{}, {"a": "b"}]),
        (text, None, ""),
        (text, "a", "a"),
        (texts, None, ()),
        (texts, ["a", None], ("a", "")),
        (command_line, None, None),
        (command_line, [], ()),
        (command_line, "a b", ("a b",)),
        (command_line, ["a", "b"], ("a", "b")),
    ],
)
def test_null_is_what_it_is_to_the_engine(
    read: Callable[[Json], object], value: Json, expected: object
) -> None:
    """
    Null is the empty value of each type, and a command line alone can be absent.
    """
    assert expected == read(value)


@pytest.mark.parametrize(
    ("read", "value"),
    [
        (object_of, []),
        (objects, {}),
        (objects, ["a"]),
        (text, Number("1")),
        (texts, "a"),
        (texts, [["a"]]),
        (command_line, True),
        (command_line, {}),
        (load_object, ""),
        (load_object, "null"),
        (load_object, "[]"),
        (load_object, "{} {}"),
    ],
)
def test_what_the_engine_refuses_is_unreadable(read: Callable[[Json], object], value: Json) -> None:
    """
    A value of another type than the engine's is an error, and not taken for nothing.
    """
    with pytest.raises(Unreadable):
        read(value)


def test_a_body_s_members_are_read() -> None:
    """
    Numbers keep their spelling.
    """
    assert {"a": Number("1e3")} == load_object('{"a": 1e3}')


def test_what_is_too_deep_is_not_taken_for_unreadable() -> None:
    """
    The engine could read it.
    """
    with pytest.raises(TooDeep):
        load_object("[" * 100_000 + "]" * 100_000)
