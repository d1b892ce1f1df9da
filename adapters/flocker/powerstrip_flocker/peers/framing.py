"""
What goes over the connection while a dataset is fetched: frames, each with a kind and a length.

``E`` says how many bytes are expected, as JSON; ``D`` is a part of the stream; ``.`` is a sign of
life; and ``T`` comes last, as JSON: the checksum of the stream, or an error. A stream without its
``T`` was cut.

Sans-I/O: bytes in, frames out.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from enum import Enum
from typing import Final

__all__ = ["Checksum", "FrameReader", "Kind", "frame_head"]

HEAD = struct.Struct(">cI")

MAX_SMALL_BYTES = 64 * 1024
"""Of what is not a part of the stream."""

Checksum: Final = hashlib.sha256
"""
Machines of today compute it in hardware, at two to three times the speed of BLAKE2b. TLS checks
what it carries; this holds without TLS as well, and for what each side does with it.
"""


class Kind(Enum):
    """
    The kinds of frames.
    """

    EXPECTED = b"E"
    DATA = b"D"
    ALIVE = b"."
    TRAILER = b"T"


def frame_head(kind: Kind, length: int = 0) -> bytes:
    """
    What goes before a frame's content.
    """
    return HEAD.pack(kind.value, length)


class FrameReader:
    """
    Reads frames from bytes as they come.
    """

    def __init__(self) -> None:
        self._head = b""
        self._kind = Kind.ALIVE
        self._left = 0
        self._content = b""

    def feed(self, data: bytes) -> Iterator[tuple[Kind, bytes]]:
        """
        Give what is in it: data in pieces as they came, all else whole.

        Raises:
            ValueError: when these are no such frames.
        """
        at, end = 0, len(data)
        while at < end:
            if not self._left:
                at = self._read_head(data, at)
                if self._left or len(self._head) < HEAD.size:
                    continue
            taken = min(self._left, end - at)
            piece = data if taken == end else data[at : at + taken]
            at += taken
            self._left -= taken
            if self._kind is Kind.DATA:
                if piece:
                    yield self._kind, piece
                continue
            self._content += piece
            if not self._left:
                content, self._content = self._content, b""
                yield self._kind, content

    def _read_head(self, data: bytes, at: int) -> int:
        if len(self._head) == HEAD.size:
            self._head = b""
        taken = data[at : at + HEAD.size - len(self._head)]
        self._head += taken
        if len(self._head) == HEAD.size:
            kind, self._left = HEAD.unpack(self._head)
            self._kind = Kind(kind)
            if self._kind is not Kind.DATA and self._left > MAX_SMALL_BYTES:
                raise ValueError(f"a frame of {self._left} bytes")
        return at + len(taken)
