"""
Moves that many tests make.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any, TypeVar

from powerstrip.core.http1 import Body

T = TypeVar("T")
FindEnd = Callable[[bytes | bytearray, int], int]


def split_everywhere(data: bytes) -> Iterator[list[bytes]]:
    """
    The ways in which bytes may come: whole, byte by byte, and cut in two at each place.
    """
    yield [data]
    yield [data[place : place + 1] for place in range(len(data))]
    for place in range(1, len(data)):
        yield [data[:place], data[place:]]


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    """
    The pieces of some bytes that are cut at some places.
    """
    edges = [0, *sorted(min(place, len(data)) for place in places), len(data)]
    return [data[begin:end] for begin, end in pairwise(edges) if begin < end]


def feed(find_end: FindEnd, pieces: Sequence[bytes]) -> int:
    """
    Look for the end of a head as a reader does, with each piece that comes.
    """
    data = bytearray()
    for piece in pieces:
        looked = len(data)
        data += piece
        end = find_end(data, looked)
        if end >= 0:
            return end
    return -1


def take(body: Body, pieces: Iterable[bytes]) -> int:
    """
    Give a body what comes, until it has ended, and count what it takes.
    """
    taken = 0
    for piece in pieces:
        count = body.take(piece)
        taken += count
        assert body.ended or count == len(piece)
    return taken


def chunked(*chunks: bytes, extension: bytes = b"", trailer: bytes = b"") -> bytes:
    """
    A body in these chunks, none of which may be empty.

    Args:
        extension: Stands behind each size.
        trailer: Whole lines, with their CRLF.
    """
    parts = [b"%x%s\r\n%s\r\n" % (len(chunk), extension, chunk) for chunk in chunks]
    return b"".join([*parts, b"0", extension, b"\r\n", trailer, b"\r\n"])


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """
    What a coroutine returns that waits for nothing.
    """
    try:
        coroutine.send(None)
    except StopIteration as stop:
        value: T = stop.value
        return value
    coroutine.close()
    raise AssertionError("the coroutine waits for something")
