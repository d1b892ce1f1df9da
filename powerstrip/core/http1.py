"""
HTTP/1.1 heads, and where each message's body ends: one strict reading of each.

Sans-I/O: bytes in, values out. What could be read in two ways is an error, since the engine would
read the same bytes again (RFC 9112, section 11.2: request smuggling). A body's bytes are counted,
not turned into objects: they go on as they came.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from typing import Protocol, TypeVar

from attrs import frozen

from powerstrip.errors import (
    DownstreamProtocolError,
    HeadTooLarge,
    PowerstripError,
    UpstreamProtocolError,
)

MAX_HEAD_BYTES = 1024 * 1024
"""The engine's own bound on a request head (Go's ``http.DefaultMaxHeaderBytes``)."""

_MAX_LINE_BYTES = 4096
"""The bound on a line between chunks, as in Go's ``net/http/internal`` ``maxLineLength``."""

_MAX_TRAILER_BYTES = 64 * 1024

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"  # RFC 9110, section 5.6.2
_FIELDS = (
    rb"(?:" + _TOKEN + rb":[^\x00-\x08\x0a-\x1f\x7f]*\r\n)*"
)  # no folded lines, no bare CR or LF
_REQUEST = re.compile(
    rb"(" + _TOKEN + rb") ([!-~\x80-\xff]+) HTTP/1\.([01])\r\n" + _FIELDS + rb"\r\n"
)
_RESPONSE = re.compile(
    rb"HTTP/1\.([01]) ([1-9][0-9][0-9])(?: [^\x00-\x08\x0a-\x1f\x7f]*)?\r\n" + _FIELDS + rb"\r\n"
)
_TRAILER = re.compile(rb"(?:" + _TOKEN + rb":[^\x00-\x08\x0a-\x1f\x7f]*)?")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\x00-\x08\x0a-\x1f\x7f]*)?")
_PLAIN_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})\r\n")
_LAST_CHUNK = b"0\r\n\r\n"
_TOKEN_START = re.compile(_TOKEN)
_REQUEST_LINE = re.compile(_TOKEN + rb" [!-~\x80-\xff]+ HTTP/1\.[01]\r\n")
_BARE_LF = re.compile(rb"(?<!\r)\n")

_SECRET = re.compile(rb"x-registry-|authorization|proxy-authorization|cookie|set-cookie")
_MAX_SEEN_HEADS = 256
_MAX_SEEN_BYTES = 1024

_HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n"  # RFC 9113, section 3.4


class Body(Protocol):
    """
    Where one message's body ends.
    """

    ended: bool
    """Whether the whole body has been taken."""

    payload_bytes: int
    """How many bytes the body had so far, without what frames it."""

    @property
    def length(self) -> int | None:
        """
        How many bytes are still to come, or None where only the bytes themselves tell.
        """

    def take(self, data: bytes) -> int:
        """
        Count how many of the bytes that come next belong to the body: all, until it ends.
        """


class LengthBody:
    """
    A body of a known number of bytes: none, for most requests.
    """

    __slots__ = ("ended", "length", "payload_bytes")

    def __init__(self, length: int) -> None:
        self.length = length
        self.payload_bytes = 0
        self.ended = length == 0

    def take(self, data: bytes) -> int:
        return self.skip(min(len(data), self.length))

    def skip(self, count: int) -> int:
        """
        Take bytes that are not seen here, because the kernel moves them.
        """
        self.length -= count
        self.payload_bytes += count
        self.ended = self.length == 0
        return count


NO_BODY = LengthBody(0)
"""That of most requests: there is nothing in it to count."""


class UntilCloseBody:
    """
    A response's body that ends with the connection (RFC 9112, section 6.3, rule 8).
    """

    __slots__ = ("ended", "payload_bytes")

    length = None

    def __init__(self) -> None:
        self.payload_bytes = 0
        self.ended = False

    def take(self, data: bytes) -> int:
        return self.skip(len(data))

    def skip(self, count: int) -> int:
        """
        Take bytes that are not seen here, because the kernel moves them.
        """
        self.payload_bytes += count
        return count


class _Line(Enum):
    """
    What a line between chunks is.
    """

    SIZE = "the size of the next chunk"
    CHUNK_END = "the end of a chunk"
    TRAILER = "a field of the trailer, or its end"


class ChunkedBody:
    """
    A body in chunks (RFC 9112, section 7.1), of which only the lines between them are read.

    Lines end with CRLF and nothing else: a bare LF there has been a way to smuggle requests past
    proxies (CVE-2025-22871 in Go's own reader).
    """

    __slots__ = (
        "_awaits",
        "_chunk",
        "_error",
        "_line",
        "_trailer",
        "ended",
        "payload_bytes",
    )

    length = None

    def __init__(self, error: type[PowerstripError]) -> None:
        self.ended = False
        self.payload_bytes = 0
        self._error = error
        self._line = b""  # what has come of the line that is being read
        self._chunk = 0  # bytes of the present chunk's data that are still to come
        self._awaits = _Line.SIZE
        self._trailer = 0

    def take(self, data: bytes) -> int:
        """
        Count how many of the bytes that come next belong to the body.

        Raises:
            PowerstripError: of the type given, for framing with more than one reading.
        """
        available = len(data)
        is_between = self._awaits is _Line.SIZE and not self._chunk and not self._line
        position = self._take_whole_chunks(data) if is_between else 0
        while position < available and not self.ended:
            if self._chunk:
                step = min(self._chunk, available - position)
                self._chunk -= step
                self.payload_bytes += step
                position += step
                continue
            newline = data.find(b"\n", position)
            end = available if newline < 0 else newline + 1
            self._line += data[position:end]
            position = end
            if len(self._line) > _MAX_LINE_BYTES:
                raise self._error("a line between chunks is too long")
            if newline >= 0:
                line, self._line = self._line, b""
                if line[-2:] != b"\r\n":
                    raise self._error("a line between chunks does not end with CR LF")
                self._read_line(line[:-2])
        return position

    def _take_whole_chunks(self, data: bytes) -> int:
        """
        Count the chunks that are here to their ends, as far as nothing about them is unusual.
        """
        position = 0
        while (match := _PLAIN_SIZE_LINE.match(data, position)) is not None:
            size, start = int(match[1], 16), match.end()
            end = start + size
            if data[end : end + 2] != b"\r\n":  # not all here, or trailers, or an error
                break
            self.payload_bytes += size
            position = end + 2
            if not size or data.startswith(_LAST_CHUNK, position):
                position += len(_LAST_CHUNK) if size else 0
                self.ended = True
                break
        return position

    def _read_line(self, line: bytes) -> None:
        if self._awaits is _Line.SIZE:
            match = _CHUNK_SIZE.fullmatch(line)
            if match is None:
                raise self._error("a chunk's size is malformed")
            self._chunk = int(match[1], 16)
            self._awaits = _Line.CHUNK_END if self._chunk else _Line.TRAILER
        elif self._awaits is _Line.CHUNK_END:
            if line:
                raise self._error("a chunk is longer than its size")
            self._awaits = _Line.SIZE
        else:
            self._trailer += len(line)
            if not _TRAILER.fullmatch(line) or self._trailer > _MAX_TRAILER_BYTES:
                raise self._error("the trailer of a chunked body is malformed")
            self.ended = not line


def decode_chunked(raw: bytes) -> bytes:
    """
    Take the chunks out of a chunked body that `ChunkedBody` has taken to its end.
    """
    chunks: list[bytes] = []
    position = 0
    while True:
        newline = raw.index(b"\n", position)
        match = _CHUNK_SIZE.match(raw, position)
        assert match is not None
        size = int(match[1], 16)
        if not size:
            return b"".join(chunks)
        chunks.append(raw[newline + 1 : newline + 1 + size])
        position = newline + 1 + size + 2


@frozen
class Head:
    """
    A start line and its header fields.
    """

    raw: bytes
    """The head as it came, with the empty line that ends it."""

    fields: tuple[tuple[bytes, bytes], ...]
    """Names in lower case, and values without the white space around them, in order."""

    length: int | None
    """What Content-Length says."""

    is_chunked: bool
    """Whether Transfer-Encoding says so: then there is no length."""

    def value(self, name: bytes) -> bytes | None:
        """
        The first field of this (lower-case) name, or None.
        """
        return next((value for field, value in self.fields if field == name), None)

    def values(self, name: bytes) -> list[bytes]:
        """
        All fields of this (lower-case) name, in order.
        """
        return [value for field, value in self.fields if field == name]

    def tokens(self, name: bytes) -> frozenset[bytes]:
        """
        The elements of a list such as ``Connection: keep-alive, Upgrade``, in lower case.
        """
        return _tokens(self.fields, name)

    def rewritten(self, start_line: bytes, changes: Mapping[bytes, bytes | None]) -> bytes:
        """
        Change the start line and some fields: all else stays as it came, in order.

        Args:
            start_line: Without CRLF.
            changes: By lower-case name, the new value, or None to leave the field out. A changed
                field stands where the first of its name stood, or at the end.
        """
        lines = [start_line]
        pending = {name: value for name, value in changes.items() if value is not None}
        for (name, _), line in zip(self.fields, self.raw[:-4].split(b"\r\n")[1:], strict=True):
            if name not in changes:
                lines.append(line)
            elif name in pending:
                lines.append(line[: len(name)] + b": " + pending.pop(name))
        lines += [name.title() + b": " + value for name, value in pending.items()]
        return b"\r\n".join(lines) + b"\r\n\r\n"

    @property
    def start_line(self) -> bytes:
        """
        The first line, without CRLF.
        """
        return self.raw[: self.raw.index(b"\r\n")]


@frozen
class RequestHead(Head):
    """
    The head of a request, read without a doubt.
    """

    method: str
    target: bytes
    """The request-target as it came, with its query."""

    minor_version: int

    @classmethod
    def parse(cls, raw: bytes) -> RequestHead:
        """
        Read a whole head.

        Raises:
            DownstreamProtocolError: for all that is not one clear request, such as a head with two
                lengths, or with a length and a transfer coding (RFC 9112, section 6.3).
        """
        seen = _seen_requests.get(raw)
        if seen is not None:
            return seen
        match = _REQUEST.fullmatch(raw)
        if match is None:
            raise DownstreamProtocolError(_what_is_wrong(raw))
        fields = _fields(raw)
        length, is_chunked = _framing(fields, DownstreamProtocolError)
        minor_version = match[3][0] - ord("0")
        if minor_version == 0 and is_chunked:
            raise DownstreamProtocolError("HTTP/1.0 has no Transfer-Encoding")
        head = cls(
            raw=raw,
            fields=fields,
            length=length,
            is_chunked=is_chunked,
            method=match[1].decode("ascii"),
            target=match[2],
            minor_version=minor_version,
        )
        _remember(_seen_requests, head)
        return head

    def body(self) -> LengthBody | ChunkedBody:
        """
        A fresh reading of where this request's body ends.
        """
        if self.is_chunked:
            return ChunkedBody(DownstreamProtocolError)
        return LengthBody(self.length) if self.length else NO_BODY

    @property
    def expects_continue(self) -> bool:
        """
        Whether the client holds its body back for a ``100 Continue`` (RFC 9110, section 10.1.1).
        """
        return b"100-continue" in self.tokens(b"expect")


@frozen
class ResponseHead(Head):
    """
    The head of a response, read without a doubt.
    """

    minor_version: int
    status: int
    closes: bool
    """Whether the engine closes the connection after this answer."""

    @classmethod
    def parse(cls, raw: bytes) -> ResponseHead:
        """
        Read a whole head.

        Raises:
            UpstreamProtocolError: for what is not an HTTP/1.1 response.
        """
        seen = _seen_responses.get(raw)
        if seen is not None:
            return seen
        match = _RESPONSE.fullmatch(raw)
        if match is None:
            raise UpstreamProtocolError("the engine's answer is not an HTTP/1.1 response")
        fields = _fields(raw)
        length, is_chunked = _framing(fields, UpstreamProtocolError)
        minor_version = match[1][0] - ord("0")
        options = _tokens(fields, b"connection")
        head = cls(
            raw=raw,
            fields=fields,
            length=length,
            is_chunked=is_chunked,
            minor_version=minor_version,
            status=int(match[2]),
            closes=b"close" in options or (minor_version == 0 and b"keep-alive" not in options),
        )
        _remember(_seen_responses, head)
        return head

    def body(self, method: str) -> LengthBody | ChunkedBody | UntilCloseBody:
        """
        A fresh reading of where the body of this answer ends (RFC 9112, section 6.3).

        Args:
            method: That of the request: an answer to HEAD has no body.
        """
        if method == "HEAD" or self.status in (204, 304) or self.status < 200:
            return NO_BODY
        if self.is_chunked:
            return ChunkedBody(UpstreamProtocolError)
        return UntilCloseBody() if self.length is None else LengthBody(self.length)

    @property
    def is_interim(self) -> bool:
        """
        Whether another head follows for the same request, as after ``100 Continue``.
        """
        return 100 <= self.status < 200 and self.status != 101


_seen_requests: dict[bytes, RequestHead] = {}
_seen_responses: dict[bytes, ResponseHead] = {}
"""Heads that came lately. Many clients poll: the same bytes come again and again."""

_HeadT = TypeVar("_HeadT", bound=Head)


def _remember(seen: dict[bytes, _HeadT], head: _HeadT) -> None:
    if len(head.raw) > _MAX_SEEN_BYTES or any(_SECRET.match(name) for name, _ in head.fields):
        return
    if len(seen) >= _MAX_SEEN_HEADS:
        seen.clear()
    seen[head.raw] = head


def find_request_end(data: bytes | bytearray, start: int = 0) -> int:
    """
    Where a request's head ends, or -1 while it is not all there.

    Args:
        data: What has come.
        start: How much of it has been looked at before.

    Raises:
        DownstreamProtocolError: as soon as what has come can't become a head, since its sender may
            be waiting for an answer.
        HeadTooLarge: when the head is over `MAX_HEAD_BYTES`.
    """
    end = data.find(b"\r\n\r\n", max(0, start - 3))
    if 0 <= end <= MAX_HEAD_BYTES - 4:
        return end + 4
    if end >= 0 or len(data) >= MAX_HEAD_BYTES:
        raise HeadTooLarge(f"the request's head is over {MAX_HEAD_BYTES} bytes")
    # Once each, however slowly the rest comes: what begins the head, and its first line.
    has_line = b"\n" in data
    is_new = not start or (has_line and data.find(b"\n", 0, start) < 0)
    beginning = _REQUEST_LINE if has_line else _TOKEN_START
    if (is_new and not beginning.match(data)) or _BARE_LF.search(data, start):
        raise DownstreamProtocolError(_what_is_wrong(bytes(data)))
    return -1


def find_response_end(data: bytes | bytearray, start: int = 0) -> int:
    """
    Where a response's head ends, or -1 while it is not all there.

    Args:
        data: What has come.
        start: How much of it has been looked at before.

    Raises:
        UpstreamProtocolError: as soon as what has come can't become a head.
    """
    end = data.find(b"\r\n\r\n", max(0, start - 3))
    if 0 <= end <= MAX_HEAD_BYTES - 4:
        return end + 4
    if end >= 0 or len(data) >= MAX_HEAD_BYTES or not b"HTTP/1.".startswith(data[:7]):
        raise UpstreamProtocolError("the engine's answer is not an HTTP/1.1 response")
    return -1


_Fields = tuple[tuple[bytes, bytes], ...]


def _fields(raw: bytes) -> _Fields:
    lines = raw[:-4].split(b"\r\n")[1:]
    parts = (line.partition(b":") for line in lines)
    return tuple((name.lower(), value.strip(b" \t")) for name, _, value in parts)


def _tokens(fields: _Fields, name: bytes) -> frozenset[bytes]:
    values = [value for field, value in fields if field == name]
    return frozenset(token.strip(b" \t").lower() for value in values for token in value.split(b","))


def _framing(fields: _Fields, error: type[PowerstripError]) -> tuple[int | None, bool]:
    lengths = [value for name, value in fields if name == b"content-length"]
    codings = [value for name, value in fields if name == b"transfer-encoding"]
    if len(lengths) > 1:
        raise error("the head has more than one Content-Length")
    if lengths and codings:
        raise error("the head has both Content-Length and Transfer-Encoding")
    # At most what fits an int64, as in Go; `isdigit` on bytes is ASCII's digits alone.
    if lengths and not (lengths[0].isdigit() and len(lengths[0]) <= 18):
        raise error("Content-Length is not a number of bytes")
    if codings and [coding.lower() for coding in codings] != [b"chunked"]:
        raise error("the only Transfer-Encoding is chunked")
    return int(lengths[0]) if lengths else None, bool(codings)


def _what_is_wrong(data: bytes) -> str:
    if data.startswith(_HTTP2_PREFACE[: max(len(data), 3)]):
        return "HTTP/2 is not spoken here: hooks read HTTP/1.1"
    if data[:2] == b"\x16\x03":
        return "this is a TLS handshake, and TLS is not spoken here"
    if not _REQUEST_LINE.match(data):
        return "malformed HTTP request line"
    if _BARE_LF.search(data):
        return "a line of the request's head does not end with CR LF"
    for line in data.split(b"\r\n"):
        if line[:1] in (b" ", b"\t"):
            return "a header field is folded over two lines"
    return "malformed header field"
