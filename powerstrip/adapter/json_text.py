"""
JSON whose untouched parts come out as they went in, whatever a hook changes beside them.

Sans-I/O: text to values and back. The order of members stays, and so does the spelling of numbers:
Python would make ``100000000000000000000.0`` of ``1e20`` and ``0`` of ``-0``, and the engine, which
reads a number into an integer or a float of its own choice, could take them for something else.
"""

from __future__ import annotations

import json
from typing import TypeAlias

from attrs import frozen

__all__ = ["Json", "JsonObject", "Number", "TooDeep", "dump", "load"]


@frozen
class Number:
    """
    A number as it is spelled, such as ``1.0`` or ``1e3``.
    """

    text: str


JsonObject: TypeAlias = "dict[str, Json]"
Json: TypeAlias = "JsonObject | list[Json] | str | Number | bool | None"


class TooDeep(Exception):
    """
    The JSON is nested too deep for Python, which does not say that it is no JSON.
    """


def load(text: str) -> Json:
    """
    Read JSON.

    Of a member that comes twice the last is taken. Powerstrip refuses such a body before any hook.

    Raises:
        ValueError: when the text is not one JSON value. ``NaN`` and ``Infinity`` are none.
        TooDeep: when it is nested too deep.
    """
    try:
        value: Json = json.loads(
            text, parse_int=Number, parse_float=Number, parse_constant=_refuse_constant
        )
    except RecursionError:
        raise TooDeep("the JSON is nested too deep") from None
    return value


def dump(value: Json) -> str:
    """
    Write JSON, in ASCII and with no space between its parts.

    Raises:
        TooDeep: when it is nested too deep.
    """
    parts: list[str] = []
    try:
        _write(value, parts)
    except RecursionError:
        raise TooDeep("the JSON is nested too deep") from None
    return "".join(parts)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _write(value: Json, parts: list[str]) -> None:
    if isinstance(value, dict):
        opening = "{"
        for name, member in value.items():
            parts.append(f"{opening}{json.dumps(name)}:")
            _write(member, parts)
            opening = ","
        parts.append("}" if value else "{}")
    elif isinstance(value, list):
        opening = "["
        for item in value:
            parts.append(opening)
            _write(item, parts)
            opening = ","
        parts.append("]" if value else "[]")
    else:
        parts.append(value.text if isinstance(value, Number) else json.dumps(value))
