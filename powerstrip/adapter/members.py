"""
The members of a request's JSON, read as the engine reads them.

Sans-I/O: JSON values in, typed values out.

Their names are looked up as they are: the engine would take ``entrypoint`` for ``Entrypoint``, and
of two the last, but Powerstrip refuses such a body before a hook sees it.
"""

from __future__ import annotations

from powerstrip.adapter.json_text import Json, JsonObject, load

__all__ = ["Unreadable", "command_line", "load_object", "object_of", "objects", "text", "texts"]


class Unreadable(ValueError):
    """
    The engine refuses this itself, with an answer of its own.
    """


def load_object(body: str) -> JsonObject:
    """
    The members of a body.

    Raises:
        Unreadable: when the body is not an object.
        TooDeep: when it is nested too deep to be read here; the engine may read it.
    """
    try:
        value = load(body)
    except ValueError:
        raise Unreadable("not JSON") from None
    if value is None:
        raise Unreadable("no object")
    return object_of(value)


def object_of(value: Json) -> JsonObject:
    """
    An object, with no members where there is none.
    """
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Unreadable("not an object")
    return value


def objects(value: Json) -> list[JsonObject]:
    """
    A list of objects.
    """
    return [object_of(item) for item in _items(value)]


def text(value: Json) -> str:
    """
    A text. Null leaves a text of Go's as it is, which is empty.
    """
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Unreadable("not a text")
    return value


def texts(value: Json) -> tuple[str, ...]:
    """
    A list of texts.
    """
    return tuple(text(item) for item in _items(value))


def command_line(value: Json) -> tuple[str, ...] | None:
    """
    An ``Entrypoint`` or a ``Cmd``, or None for null: a bare text is a list of this one.

    So moby's ``StrSlice`` in ``api/types/strslice``.
    """
    if value is None:
        return None
    return (value,) if isinstance(value, str) else texts(value)


def _items(value: Json) -> list[Json]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise Unreadable("not a list")
    return value
