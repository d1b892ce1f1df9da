"""
What is taken for a request has one reading only.

Requests that are good, and such as were damaged, are read by powerstrip, by h11, and by a model
that is as plain as can be.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import h11
from attrs import frozen
from hypothesis import example, given, settings
from hypothesis import strategies as st

from powerstrip.core.http1 import (
    ChunkedBody,
    RequestHead,
    ResponseHead,
    decode_chunked,
    find_request_end,
    find_response_end,
)
from powerstrip.errors import DownstreamProtocolError, UpstreamProtocolError
from tests.helpers import chunked, cut, feed, take

TOKEN = frozenset(b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
Fields = tuple[tuple[bytes, bytes], ...]


@frozen
class Reading:
    """
    What one reader makes of what a client sends: the first request, and what is left.
    """

    method: bytes
    target: bytes
    fields: Fields
    payload: bytes
    left: bytes


def our_reading(sent: bytes, cuts: Iterable[int] = ()) -> Reading | None:
    """
    What powerstrip reads: None where it refuses, or where more would have to come.
    """
    try:
        end = feed(find_request_end, cut(sent, cuts))
        if end < 0:
            return None
        head = RequestHead.parse(sent[:end])
        body = head.body()
        taken = end + take(body, cut(sent[end:], cuts))
    except DownstreamProtocolError:
        return None
    if not body.ended:
        return None
    payload = sent[end:taken]
    if isinstance(body, ChunkedBody):
        payload = decode_chunked(payload)
    assert len(payload) == body.payload_bytes
    return Reading(head.method.encode(), head.target, head.fields, payload, sent[taken:])


class UnclearError(Exception):
    """
    There is no reading, or not one only.
    """


def plain_reading(sent: bytes) -> Reading | None:
    """
    What RFC 9112 says, byte by byte and with no leniency: None where there is no clear reading.
    """
    try:
        head, left = _cut_at(sent, b"\r\n\r\n")
        line, *lines = head.split(b"\r\n")
        method, target, version = _three(line.split(b" "))
        _check(set(method) <= TOKEN and method and target)
        _check(all(byte > 32 and byte != 127 for byte in target))
        _check(version in (b"HTTP/1.0", b"HTTP/1.1"))
        fields = tuple(_plain_field(line) for line in lines)
        lengths = [value for name, value in fields if name == b"content-length"]
        codings = [value.lower() for name, value in fields if name == b"transfer-encoding"]
        _check(len(lengths) + len(codings) <= 1)
        if codings:
            _check(codings == [b"chunked"] and version == b"HTTP/1.1")
            payload, left = _plain_chunks(left)
        else:
            digits = lengths[0] if lengths else b"0"
            _check(digits and set(digits) <= set(b"0123456789") and len(digits) <= 18)
            _check(int(digits) <= len(left))
            payload, left = left[: int(digits)], left[int(digits) :]
    except UnclearError:
        return None
    return Reading(method, target, fields, payload, left)


def _plain_chunks(data: bytes) -> tuple[bytes, bytes]:
    payload = b""
    while True:
        line, data = _cut_at(data, b"\r\n")
        size, _, extension = line.partition(b";")
        size = size.rstrip(b" \t")
        _check(size and set(size) <= set(b"0123456789abcdefABCDEF") and len(size) <= 15)
        _check_text(extension)
        if not int(size, 16):
            break
        _check(data[int(size, 16) :][:2] == b"\r\n")
        payload, data = payload + data[: int(size, 16)], data[int(size, 16) + 2 :]
    while True:
        line, data = _cut_at(data, b"\r\n")
        if not line:
            return payload, data
        _plain_field(line)


def _plain_field(line: bytes) -> tuple[bytes, bytes]:
    name, value = _cut_at(line, b":")
    _check(name and set(name) <= TOKEN)
    _check_text(value)
    return name.lower(), value.strip(b" \t")


def _cut_at(data: bytes, mark: bytes) -> tuple[bytes, bytes]:
    before, found, after = data.partition(mark)
    _check(found)
    return before, after


def _three(parts: list[bytes]) -> list[bytes]:
    _check(len(parts) == 3)
    return parts


def _check_text(text: bytes) -> None:
    _check(all((byte >= 32 and byte != 127) or byte == 9 for byte in text))


def _check(holds: object) -> None:
    if not holds:
        raise UnclearError


def h11_reading(sent: bytes) -> Reading:
    """
    What h11 reads.
    """
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(sent)
    first = connection.next_event()
    assert isinstance(first, h11.Request)
    payload = b""
    while isinstance(event := connection.next_event(), h11.Data):
        payload += event.data
    assert isinstance(event, h11.EndOfMessage)
    fields = tuple(first.headers)
    return Reading(first.method, first.target, fields, payload, connection.trailing_data[0])


def _as_h11(reading: Reading) -> Reading:
    # h11 gives the name of a transfer coding in lower case.
    fields = tuple(
        (name, value.lower() if name == b"transfer-encoding" else value)
        for name, value in reading.fields
    )
    return Reading(reading.method, reading.target, fields, reading.payload, reading.left)


METHODS = st.sampled_from([b"GET", b"POST", b"HEAD", b"delete", b"M-SEARCH"])
TARGETS = st.sampled_from([b"/", b"*", b"/containers/create?name=x", b"http://x/y", b'/"{|}\\^'])
NAMES = st.text(bytes(sorted(TOKEN)).decode(), min_size=1, max_size=9).map(str.encode)
VALUES = st.sampled_from([b"", b"x", b"a, b", b"a\tb", b'"q"', b"caf\xc3\xa9", b":", b"0"])
CUTS = st.lists(st.integers(0, 200), max_size=4)
SPACES = st.sampled_from([b"", b" ", b"\t", b" \t "])
PAYLOADS = st.sampled_from(
    [
        b"",
        b"Content-Length: 5\r\n|hello",
        b"content-length:00\t\r\n|",
        b"Transfer-Encoding: chunked\r\n|" + chunked(b"hello", b"\r\n0\r\n\r\n"),
        b"TRANSFER-ENCODING:Chunked\r\n|" + chunked(b"x", extension=b";a", trailer=b"X: y\r\n"),
    ]
)
FRAMING_NAMES = (b"content-length", b"transfer-encoding", b"host")


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """
    A good request with its body, and what follows it.
    """
    fields = b""
    for _ in range(draw(st.integers(0, 3))):
        name = draw(NAMES.filter(lambda name: name.lower() not in FRAMING_NAMES))
        fields += name + b":" + draw(SPACES) + draw(VALUES) + draw(SPACES) + b"\r\n"
    framing, _, body = draw(PAYLOADS).partition(b"|")
    line = draw(METHODS) + b" " + draw(TARGETS) + b" HTTP/1.1\r\n"
    left = draw(st.sampled_from([b"", b"GET /", b"\r\n"]))
    return line + b"Host: docker\r\n" + fields + framing + b"\r\n" + body + left


TOO_MUCH_FOR_H11 = re.compile(
    rb"[0-9A-Fa-f][ \t]+;|\r\n0[^\n]*\n(?:[^\n]+\n)*(?:content-length|transfer-encoding):",
    re.IGNORECASE,
)
"""A space before a chunk's extension; a trailer with a field that frames, which means nothing."""

EDITS = st.sampled_from(
    [
        *(b"", b"\r", b"\n", b"\r\n", b" ", b"\t", b":", b",", b"\0", b"\x7f", b"\xa0"),
        *(b";", b"0", b"5"),
        b"\r\nContent-Length: 5",
        b"\r\nTransfer-Encoding: chunked",
        b"\r\n\r\n",
        b"+",
        b"x",
        b"\x0b",
    ]
)


@st.composite
def damaged_requests(draw: st.DrawFn) -> bytes:
    """
    A good request into which something was put, or out of which something was taken.
    """
    sent = draw(requests())
    for _ in range(draw(st.integers(1, 2))):
        place = draw(st.integers(0, len(sent)))
        sent = sent[:place] + draw(EDITS) + sent[place + draw(st.integers(0, 2)) :]
    return sent


@given(requests(), CUTS)
def test_a_good_request_has_one_reading(sent: bytes, cuts: list[int]) -> None:
    """
    Which is that of h11 as well, and of the plainest of readers.
    """
    ours = our_reading(sent, cuts)
    assert ours == plain_reading(sent)
    assert ours is not None
    assert _as_h11(ours) == h11_reading(sent)


@settings(max_examples=200)
@given(damaged_requests(), CUTS)
@example(b"GET / HTTP/1.1\r\nHost: x\r\nX: y\r\n z\r\n\r\n", [])
@example(b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding:\r\n chunked\r\n\r\n", [])
@example(b"GET / HTTP/1.1\r\nHost: x\r\n\rX: y\r\n\r\n", [])
def test_a_damaged_request_has_one_reading_or_is_refused(sent: bytes, cuts: list[int]) -> None:
    """
    What is taken means the same to h11, which refuses some that are good.
    """
    ours = our_reading(sent, cuts)
    assert ours == plain_reading(sent)
    if ours is None:
        return
    try:
        theirs = h11_reading(sent)
    except h11.RemoteProtocolError:
        hosts = [name for name, _ in ours.fields].count(b"host")
        assert hosts != 1 or not ours.target.isascii() or TOO_MUCH_FOR_H11.search(sent)
    else:
        assert theirs == _as_h11(ours)


@given(st.binary(max_size=60), CUTS)
def test_any_bytes_are_read_or_refused(sent: bytes, cuts: list[int]) -> None:
    """
    And nothing else is ever raised, whether a client sends them or an engine.
    """
    for begun in (
        sent,
        b"GET / HTTP/1.1\r\n" + sent,
        b"GET / HTTP/1.1\r\nX: " + sent + b"\r\n\r\n",
    ):
        assert our_reading(begun, cuts) == plain_reading(begun)
    for begun in (sent + b"\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: " + sent + b"\r\n\r\n"):
        try:
            ResponseHead.parse(begun[: find_response_end(begun)])
        except UpstreamProtocolError:
            continue
