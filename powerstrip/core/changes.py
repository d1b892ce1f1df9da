"""
What the trace shows of an exchange: its heads, and what each hook changed in a body.

Sans-I/O: bytes and texts in, lines out, with no secret in them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from difflib import SequenceMatcher
from itertools import islice, zip_longest

from attrs import frozen

from powerstrip.core.quoting import cut, printable
from powerstrip.core.secrets import HIDDEN, names_secret, precedes_secret, redacted, redacted_url

MAX_LINES = 50
MAX_VALUE_CHARACTERS = 200
MAX_HEAD_LINE_CHARACTERS = 1000

MAX_ITEMS = 500
"""A list that is longer is not compared item by item: that takes the square of its length."""

_MAX_NAME_CHARACTERS = 80

_MAX_READ_CHARACTERS = 4000
"""
How much of a text is searched for secrets.

A password that is cut in two, and so not known as one, ends far behind what is shown.
"""

_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


@frozen
class _Leaf:
    """
    What has no members, or none to be shown.
    """

    json: str
    """What tells it from another. Python's own values do not: to it, ``1`` is ``true``."""

    shown: str


_Tree = dict[str, "_Tree"] | list["_Tree"] | _Leaf

_NONE = _Leaf("", "(none)")


def changed_members(before: str | None, after: str | None) -> list[str]:
    """
    Compares two bodies.

    Returns:
        Lines such as ``HostConfig.Binds[0]: "/a:/data" -> "/b:/data"``; none where nothing changed.
    """
    if before == after:
        return []
    try:
        old, new = _parsed(before), _parsed(after)
        if isinstance(old, _Leaf) or isinstance(new, _Leaf) or type(old) is not type(new):
            return [f"the body: {_size(before)} -> {_size(after)}"]
        lines = list(islice(_differences("", old, new), MAX_LINES + 1))
    except RecursionError:
        return ["the body: too deep to be compared"]
    if len(lines) > MAX_LINES:
        lines[MAX_LINES:] = ["and more"]
    return lines or ["no member, only how the JSON is written"]


def redacted_head(head: bytes) -> str:
    """
    Shows the head of a request or of a response, without what follows it.
    """
    text = head.partition(b"\r\n\r\n")[0].decode("utf-8", "backslashreplace")
    lines = [_redacted_line(line) for line in text.split("\r\n")]
    return "\n".join(printable(cut(line, MAX_HEAD_LINE_CHARACTERS)) for line in lines if line)


def _redacted_line(line: str) -> str:
    """
    Shows a start line or a header.

    Neither holds a bare line feed or goes on in a next line: no head with such is ever taken.
    """
    name, colon, _ = line.partition(":")
    if colon and " " not in name and names_secret(name):
        return f"{name}: {HIDDEN}"
    return redacted_url(line[:_MAX_READ_CHARACTERS])


def _parsed(body: str | None) -> _Tree:
    try:
        return _tree(json.loads(body or ""))
    except ValueError:
        return _NONE


def _tree(value: object, is_secret: bool = False) -> _Tree:
    if is_secret:
        return _Leaf(json.dumps(value), HIDDEN)
    if isinstance(value, dict):
        return {name: _tree(member, names_secret(name)) for name, member in value.items()}
    if isinstance(value, list):
        befores = [None, *value]
        return [
            _tree(item, precedes_secret(before))
            for before, item in zip(befores, value, strict=False)
        ]
    if isinstance(value, str):
        return _Leaf(json.dumps(value), _quoted(redacted(value[:_MAX_READ_CHARACTERS])))
    return _Leaf(json.dumps(value), json.dumps(value))


def _size(body: str | None) -> str:
    if body is None:
        return "none"
    return f"{len(body.encode('utf-8', 'surrogatepass'))} bytes"


def _differences(path: str, before: _Tree, after: _Tree) -> Iterator[str]:
    if before == after:
        return
    if isinstance(before, dict) and isinstance(after, dict):
        for name in {**before, **after}:
            old, new = before.get(name, _NONE), after.get(name, _NONE)
            yield from _differences(_member(path, name), old, new)
    elif isinstance(before, list) and isinstance(after, list):
        yield from _differences_of_lists(path, before, after)
    else:
        yield f"{path}: {_shown(before)} -> {_shown(after)}"


def _differences_of_lists(path: str, before: list[_Tree], after: list[_Tree]) -> Iterator[str]:
    """
    Finds what is the same in both, so that an item put in front is one difference.
    """
    if max(len(before), len(after)) > MAX_ITEMS:
        yield f"{path}: {len(before)} items -> {len(after)} items"
        return
    matcher = SequenceMatcher(None, [repr(it) for it in before], [repr(it) for it in after])
    for kind, start, end, new_start, new_end in matcher.get_opcodes():
        if kind == "equal":
            continue
        items = zip_longest(before[start:end], after[new_start:new_end], fillvalue=_NONE)
        first = start if kind == "delete" else new_start
        for index, (old, new) in enumerate(items, first):
            yield from _differences(f"{path}[{index}]", old, new)


def _member(path: str, name: str) -> str:
    if not _PLAIN_NAME.fullmatch(name) or len(name) > _MAX_NAME_CHARACTERS:
        return f"{path}[{_quoted(cut(name, _MAX_NAME_CHARACTERS))}]"
    return f"{path}.{name}" if path else name


def _shown(tree: _Tree) -> str:
    return cut(_text(tree), MAX_VALUE_CHARACTERS)


def _text(tree: _Tree) -> str:
    if isinstance(tree, _Leaf):
        return tree.shown
    if isinstance(tree, list):
        return f"[{', '.join(map(_text, tree))}]"
    return f"{{{', '.join(f'{_quoted(name)}: {_text(value)}' for name, value in tree.items())}}}"


def _quoted(text: str) -> str:
    return printable(json.dumps(text, ensure_ascii=False))
