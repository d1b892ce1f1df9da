"""
Heads of HTTP/1.1, and where bodies end.

Each parser gets each input whole, byte by byte and cut in two everywhere, with and without trailing
data. ``test_http1_readings.py`` compares what they read with what others read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from powerstrip.core.http1 import (
    MAX_HEAD_BYTES,
    Body,
    ChunkedBody,
    LengthBody,
    RequestHead,
    ResponseHead,
    UntilCloseBody,
    decode_chunked,
    find_request_end,
    find_response_end,
)
from powerstrip.errors import (
    DownstreamProtocolError,
    HeadTooLarge,
    PowerstripError,
    UpstreamProtocolError,
)
from tests.helpers import FindEnd, chunked, cut, feed, split_everywhere, take

TRAILING = (b"", b"x", b"\r\n", b"\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n")
"""What may follow a head: nothing, a body, stray ends of lines, the next request."""

CREATE = (
    b"POST /v1.41/containers/create?name=x HTTP/1.1\r\n"
    b"Host: docker\r\n"
    b"User-Agent:Docker-Client/28.2.2 (linux)\r\n"
    b"Content-Type: \t application/json \t\r\n"
    b"X-Empty:\r\n"
    b"x-cafe: caf\xc3\xa9\r\n"
    b"Content-Length: 12\r\n"
    b"\r\n"
)
CREATED = (
    b"HTTP/1.1 201 Created\r\n"
    b"Api-Version: 1.41\r\n"
    b"Content-Type: application/json\r\n"
    b"Content-Length: 88\r\n"
    b"\r\n"
)


def read_request(pieces: Sequence[bytes]) -> RequestHead:
    """
    Read the first head of what comes.
    """
    end = feed(find_request_end, pieces)
    assert end >= 0
    return RequestHead.parse(b"".join(pieces)[:end])


def read_response(pieces: Sequence[bytes]) -> ResponseHead:
    """
    Read the first head of what comes.
    """
    end = feed(find_response_end, pieces)
    assert end >= 0
    return ResponseHead.parse(b"".join(pieces)[:end])


def request(*fields: bytes, line: bytes = b"POST /x HTTP/1.1") -> bytes:
    return b"\r\n".join([line, *fields, b"", b""])


def response(*fields: bytes, line: bytes = b"HTTP/1.1 200 OK") -> bytes:
    return b"\r\n".join([line, *fields, b"", b""])


# -- where a head ends -------------------------------------------------------------------------


@pytest.mark.parametrize("trailing", TRAILING)
@pytest.mark.parametrize(
    ("find_end", "raw"),
    [
        (find_request_end, CREATE),
        (find_request_end, b"GET / HTTP/1.1\r\n\r\n"),
        (find_response_end, CREATED),
        (find_response_end, b"HTTP/1.1 101 UPGRADED\r\n\r\n"),
    ],
)
def test_a_head_ends_at_its_empty_line(find_end: FindEnd, raw: bytes, trailing: bytes) -> None:
    """
    However it comes, and whatever follows.
    """
    ends = {feed(find_end, pieces) for pieces in split_everywhere(raw + trailing)}
    assert ends == {len(raw)}


@pytest.mark.parametrize(
    ("find_end", "raw"), [(find_request_end, CREATE), (find_response_end, CREATED)]
)
def test_a_part_of_a_head_is_waited_on(find_end: FindEnd, raw: bytes) -> None:
    """
    No beginning of a good head is refused.
    """
    assert {find_end(raw[:length], 0) for length in range(1, len(raw))} == {-1}


def _padded(start: bytes, size: int) -> bytes:
    return start + b"X: " + b"x" * (size - len(start) - 7) + b"\r\n\r\n"


REQUEST_START = b"GET / HTTP/1.1\r\n"
RESPONSE_START = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize("trailing", [b"", b"x" * 70_000])
@pytest.mark.parametrize(
    ("find_end", "parse", "start"),
    [
        (find_request_end, RequestHead.parse, REQUEST_START),
        (find_response_end, ResponseHead.parse, RESPONSE_START),
    ],
)
def test_a_head_may_have_a_mebibyte(
    find_end: FindEnd, parse: Callable[[bytes], object], start: bytes, trailing: bytes
) -> None:
    """
    Which is what the engine takes.
    """
    raw = _padded(start, MAX_HEAD_BYTES)
    assert len(raw) == 1024 * 1024
    assert find_end(raw + trailing, 0) == len(raw)
    assert find_end(raw[:-1], 0) == -1
    assert feed(find_end, [raw[:65536], raw[65536:-2], raw[-2:] + trailing]) == len(raw)
    parse(raw)


@pytest.mark.parametrize(
    ("find_end", "start", "error"),
    [
        (find_request_end, REQUEST_START, HeadTooLarge),
        (find_response_end, RESPONSE_START, UpstreamProtocolError),
    ],
)
def test_a_head_of_more_than_a_mebibyte_is_refused(
    find_end: FindEnd, start: bytes, error: type[PowerstripError]
) -> None:
    """
    Whether its end has come or not: a request gets 431, since the engine would answer so.
    """
    raw = _padded(start, MAX_HEAD_BYTES + 1)
    for pieces in ([raw], [raw + b"x" * 9], [raw[:-1]], [raw[:-5], raw[-5:]]):
        with pytest.raises(error):
            feed(find_end, pieces)


@pytest.mark.parametrize(
    ("sent", "sentence"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "this is a TLS handshake"),
        (b"PRI * HTTP/2.0\r\n", "HTTP/2 is not spoken here"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x12\4\0\0\0\0\0", "HTTP/2 is not spoken here"),
        (b"\r\n", "malformed HTTP request line"),
        (b" GET / HTTP/1.1", "malformed HTTP request line"),
        (b"\0", "malformed HTTP request line"),
        (b"{", "malformed HTTP request line"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "malformed HTTP request line"),
        (b"GET /\r\n", "malformed HTTP request line"),
        (b"GET / HTTP/2.0\r\n", "malformed HTTP request line"),
        (b"GET / HTTP/1.1\n", "malformed HTTP request line"),
        (b"GET / HTTP/1.1\r\nHost: docker\n", "does not end with CR LF"),
        (b"GET / HTTP/1.1\r\nHost: docker\r\n\n", "does not end with CR LF"),
        (b"GET / HTTP/1.1\r\n\nHost: docker\r\n", "does not end with CR LF"),
    ],
)
def test_what_can_become_no_request_is_refused_at_once(sent: bytes, sentence: str) -> None:
    """
    Its sender may be waiting for an answer, so no end of a head is waited for.
    """
    with pytest.raises(DownstreamProtocolError, match=sentence):
        read_request([sent])
    for pieces in split_everywhere(sent):
        with pytest.raises(DownstreamProtocolError) as caught:
            read_request(pieces)
        assert caught.value.status == 400


@pytest.mark.parametrize(
    "sent",
    [
        b"\0",
        b"\r\n",
        b"220 smtp",
        b"http/1.1 200 OK\r\n",
        b"HTTP/2.0 200 OK\r\n",
        b"HTTP/1:1",
        b"\x15\x03\x03\x00\x02\x02\x16",
    ],
)
def test_what_can_become_no_response_is_refused_at_once(sent: bytes) -> None:
    """
    An engine that speaks TLS, or another protocol, is told about and not waited for.
    """
    for pieces in split_everywhere(sent):
        with pytest.raises(UpstreamProtocolError, match=r"is not an HTTP/1\.1 response"):
            feed(find_response_end, pieces)


# -- requests ----------------------------------------------------------------------------------


@pytest.mark.parametrize("trailing", TRAILING)
def test_a_request_is_read_as_it_came(trailing: bytes) -> None:
    """
    Names in lower case, values without the white space around them, in order; all else untouched.
    """
    for pieces in split_everywhere(CREATE + trailing):
        head = read_request(pieces)
        assert head.raw == CREATE
        assert head.start_line == b"POST /v1.41/containers/create?name=x HTTP/1.1"
        assert (head.method, head.target) == ("POST", b"/v1.41/containers/create?name=x")
        assert head.minor_version == 1
        assert head.fields == (
            (b"host", b"docker"),
            (b"user-agent", b"Docker-Client/28.2.2 (linux)"),
            (b"content-type", b"application/json"),
            (b"x-empty", b""),
            (b"x-cafe", b"caf\xc3\xa9"),
            (b"content-length", b"12"),
        )


@pytest.mark.parametrize(
    ("line", "method", "target", "minor_version"),
    [
        (b"HEAD /_ping HTTP/1.1", "HEAD", b"/_ping", 1),
        (b"GET /_ping HTTP/1.0", "GET", b"/_ping", 0),
        (b"get /_ping HTTP/1.1", "get", b"/_ping", 1),
        (b"M-SEARCH! * HTTP/1.1", "M-SEARCH!", b"*", 1),
        (b"GET http://docker/x HTTP/1.1", "GET", b"http://docker/x", 1),
        (b'GET /a%20"<\\^`{|}>?b=c#d HTTP/1.1', "GET", b'/a%20"<\\^`{|}>?b=c#d', 1),
        (b"GET /caf\xc3\xa9\xff HTTP/1.1", "GET", b"/caf\xc3\xa9\xff", 1),
    ],
)
def test_a_request_line_has_three_parts(
    line: bytes, method: str, target: bytes, minor_version: int
) -> None:
    """
    What the target means is not looked at here.
    """
    head = read_request([request(line=line)])
    assert (head.method, head.target, head.minor_version) == (method, target, minor_version)
    assert head.fields == ()


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        # The request line.
        (request(line=b"GET  / HTTP/1.1"), "malformed HTTP request line"),
        (request(line=b"GET / HTTP/1.1 "), "malformed HTTP request line"),
        (request(line=b"GET / x HTTP/1.1"), "malformed HTTP request line"),
        (request(line=b"GET\t/ HTTP/1.1"), "malformed HTTP request line"),
        (request(line=b"GET /\tx HTTP/1.1"), "malformed HTTP request line"),
        (request(line=b"GET /\0 HTTP/1.1"), "malformed HTTP request line"),
        (request(line=b"GET /\r HTTP/1.1"), "malformed HTTP request line"),
        (request(line=b"GET /\x7f HTTP/1.1"), "malformed HTTP request line"),
        (request(line=b"GET  HTTP/1.1"), "malformed HTTP request line"),
        (request(line=b"GET / HTTP/1.2"), "malformed HTTP request line"),
        (request(line=b"GET / HTTP/1.10"), "malformed HTTP request line"),
        (request(line=b"GET / HTTP/0.9"), "malformed HTTP request line"),
        (request(line=b"GET / http/1.1"), "malformed HTTP request line"),
        (request(line=b"GET /"), "malformed HTTP request line"),
        (request(line=b"G(T / HTTP/1.1"), "malformed HTTP request line"),
        (request(line=b"G\xc9T / HTTP/1.1"), "malformed HTTP request line"),
        (request(line=b"HTTP/1.1 200 OK"), "malformed HTTP request line"),
        (b"\r\n" + request(), "malformed HTTP request line"),
        (b"PRI * HTTP/2.0\r\n\r\n", "HTTP/2 is not spoken here"),
        # The fields.
        (request(b"Host : docker"), "malformed header field"),
        (request(b"Content-Length : 5"), "malformed header field"),
        (request(b"Content-Length\t: 5"), "malformed header field"),
        (request(b"Host"), "malformed header field"),
        (request(b": docker"), "malformed header field"),
        (request(b"Ho st: docker"), "malformed header field"),
        (request(b"H\xf6st: docker"), "malformed header field"),
        (request(b"Host: dock\0er"), "malformed header field"),
        (request(b"Host: dock\x0ber"), "malformed header field"),
        (request(b"Host: dock\x7fer"), "malformed header field"),
        (request(b"Host: dock\rer"), "malformed header field"),
        (request(b"Host: docker\r"), "malformed header field"),
        (request(b"Host: docker\rTransfer-Encoding: chunked"), "malformed header field"),
        (request(b"X: y", b" folded"), "folded over two lines"),
        (request(b"X: y", b"\tfolded"), "folded over two lines"),
        (request(b" Host: docker"), "folded over two lines"),
        (request(b"Transfer-Encoding:", b" chunked"), "folded over two lines"),
        (request(b"Host: docker\nX: y"), "does not end with CR LF"),
        (request(b"Host: docker\n"), "does not end with CR LF"),
        (b"GET / HTTP/1.1\nHost: docker\n\r\n\r\n", "malformed HTTP request line"),
        (b"GET / HTTP/1.1\r\nHost: docker\n\r\n\r\n", "does not end with CR LF"),
        # The length of the body.
        (request(b"Content-Length: 5", b"Content-Length: 5"), "more than one Content-Length"),
        (request(b"Content-Length: 5", b"content-length: 6"), "more than one Content-Length"),
        (
            request(b"Content-Length: 5", b"Transfer-Encoding: chunked"),
            "both Content-Length and Transfer-Encoding",
        ),
        (
            request(b"transfer-encoding: chunked", b"X: y", b"content-length: 0"),
            "both Content-Length and Transfer-Encoding",
        ),
        (request(b"Content-Length: "), "not a number of bytes"),
        (request(b"Content-Length: 5, 5"), "not a number of bytes"),
        (request(b"Content-Length: +5"), "not a number of bytes"),
        (request(b"Content-Length: -5"), "not a number of bytes"),
        (request(b"Content-Length: 5.0"), "not a number of bytes"),
        (request(b"Content-Length: 5 5"), "not a number of bytes"),
        (request(b"Content-Length: 0x5"), "not a number of bytes"),
        (request(b"Content-Length: 5_0"), "not a number of bytes"),
        (request(b"Content-Length: \xd9\xa5"), "not a number of bytes"),
        (request(b"Content-Length: \xb2"), "not a number of bytes"),
        (request(b"Content-Length: 9223372036854775808"), "not a number of bytes"),
        (request(b"Content-Length: 0000000000000000005"), "not a number of bytes"),
        (request(b"Transfer-Encoding: "), "the only Transfer-Encoding is chunked"),
        (request(b"Transfer-Encoding: identity"), "the only Transfer-Encoding is chunked"),
        (request(b"Transfer-Encoding: gzip, chunked"), "the only Transfer-Encoding is chunked"),
        (request(b"Transfer-Encoding: chunked, chunked"), "the only Transfer-Encoding is chunked"),
        (request(b"Transfer-Encoding: xchunked"), "the only Transfer-Encoding is chunked"),
        (request(b"Transfer-Encoding: chunked;q=1"), "the only Transfer-Encoding is chunked"),
        (request(b'Transfer-Encoding: "chunked"'), "the only Transfer-Encoding is chunked"),
        (request(b"Transfer-Encoding: chunked\xa0"), "the only Transfer-Encoding is chunked"),
        (request(b"Transfer-Encoding: \x0bchunked"), "malformed header field"),
        (
            request(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
            "the only Transfer-Encoding is chunked",
        ),
        (
            request(b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity"),
            "the only Transfer-Encoding is chunked",
        ),
        (
            request(b"Transfer-Encoding: chunked", line=b"POST / HTTP/1.0"),
            r"HTTP/1\.0 has no Transfer-Encoding",
        ),
    ],
)
def test_a_request_with_no_clear_reading_is_refused(raw: bytes, sentence: str) -> None:
    """
    However it comes: another reader could see another request, or two.
    """
    with pytest.raises(DownstreamProtocolError, match=sentence):
        RequestHead.parse(raw)
    for pieces in split_everywhere(raw):
        with pytest.raises(DownstreamProtocolError) as caught:
            read_request(pieces)
        assert caught.value.status == 400


@pytest.mark.parametrize(
    "raw",
    [b"", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\n\r\nx", b"x" + b"GET / HTTP/1.1\r\n\r\n" * 2],
)
def test_only_a_whole_head_is_read(raw: bytes) -> None:
    """
    Neither a part of one nor what follows it.
    """
    with pytest.raises(DownstreamProtocolError):
        RequestHead.parse(raw)


@pytest.mark.parametrize(
    ("fields", "body", "taken"),
    [
        ([], b"", b""),
        ([b"Content-Length: 0"], b"", b""),
        ([b"Content-Length: 5"], b"hello", b"hello"),
        ([b"Content-Length: 005"], b"hello", b"hello"),
        ([b"content-LENGTH:5\t"], b"hello", b"hello"),
        ([b"Transfer-Encoding: chunked"], chunked(b"hel", b"lo"), b"hello"),
        ([b"Transfer-Encoding: Chunked"], chunked(b"hello"), b"hello"),
        ([b"Transfer-Encoding: chunked"], chunked(), b""),
        ([b"X-Content-Length: 7", b"Content-Length2: 8"], b"", b""),
    ],
)
def test_a_request_says_where_its_body_ends(fields: list[bytes], body: bytes, taken: bytes) -> None:
    """
    A fresh reading each time: with a length, in chunks, or else with no body at all.
    """
    head = read_request([request(*fields)])
    for _ in range(2):
        reading = head.body()
        assert (reading.take(body + b"GET / "), reading.ended) == (len(body), True)
        assert reading.payload_bytes == len(taken)


def test_the_longest_length_is_taken() -> None:
    """
    It has 18 digits, which fit where Go keeps a length.
    """
    assert read_request([request(b"Content-Length: " + b"9" * 18)]).body().length == 10**18 - 1


def test_bad_chunks_are_the_fault_of_who_sent_them() -> None:
    """
    A client's get it a 400, the engine's a 502.
    """
    coding = b"Transfer-Encoding: chunked"
    with pytest.raises(DownstreamProtocolError):
        read_request([request(coding)]).body().take(b"x\r\n")
    with pytest.raises(UpstreamProtocolError):
        read_response([response(coding)]).body("GET").take(b"x\r\n")


@pytest.mark.parametrize(
    ("fields", "expects"),
    [
        ([], False),
        ([b"Expect: 100-continue"], True),
        ([b"expect: 100-Continue"], True),
        ([b"Expect: x,\t100-continue , y"], True),
        ([b"Expect: x", b"Expect: 100-continue"], True),
        ([b"Expect: 100-continue-x"], False),
        ([b"X-Expect: 100-continue"], False),
    ],
)
def test_a_client_that_waits_for_a_continue_says_so(fields: list[bytes], expects: bool) -> None:
    """
    In any case, and among other expectations.
    """
    assert read_request([request(*fields)]).expects_continue == expects


def test_a_field_is_found_by_its_name() -> None:
    """
    The first of its name where one value is asked for; the elements of all of them as a list.
    """
    head = read_request(
        [request(b"A: 1", b"Connection: Keep-Alive, Upgrade", b"a: 2", b"CONNECTION: x")]
    )
    assert head.value(b"a") == b"1"
    assert head.value(b"connection") == b"Keep-Alive, Upgrade"
    assert head.value(b"b") is None
    assert head.tokens(b"connection") == {b"keep-alive", b"upgrade", b"x"}
    assert head.tokens(b"b") == frozenset()


# -- responses ---------------------------------------------------------------------------------


@pytest.mark.parametrize("trailing", TRAILING)
def test_a_response_is_read_as_it_came(trailing: bytes) -> None:
    """
    Also when the body begins in the same read.
    """
    for pieces in split_everywhere(CREATED + trailing):
        head = read_response(pieces)
        assert head.raw == CREATED
        assert (head.status, head.minor_version) == (201, 1)
        assert head.start_line == b"HTTP/1.1 201 Created"
        assert head.fields == (
            (b"api-version", b"1.41"),
            (b"content-type", b"application/json"),
            (b"content-length", b"88"),
        )


@pytest.mark.parametrize(
    ("line", "status", "minor_version"),
    [
        (b"HTTP/1.1 101 UPGRADED", 101, 1),
        (b"HTTP/1.1 200 ", 200, 1),
        (b"HTTP/1.1 200", 200, 1),
        (b"HTTP/1.0 404 Not\tFound \xc3\xa9", 404, 0),
        (b"HTTP/1.1 999 x", 999, 1),
    ],
)
def test_a_status_line_has_a_status(line: bytes, status: int, minor_version: int) -> None:
    """
    And a reason or none.
    """
    head = read_response([response(line=line)])
    assert (head.status, head.minor_version) == (status, minor_version)


@pytest.mark.parametrize(
    "raw",
    [
        response(line=b"HTTP/1.1 99 x"),
        response(line=b"HTTP/1.1 099 x"),
        response(line=b"HTTP/1.1 2000 x"),
        response(line=b"HTTP/1.1 2x0 x"),
        response(line=b"HTTP/1.1  200 OK"),
        response(line=b"HTTP/1.1 200\tOK"),
        response(line=b"HTTP/1.1 200 O\0K"),
        response(line=b"HTTP/1.1 200 O\rK"),
        response(line=b"HTTP/1.1 200 O\nK"),
        response(line=b"HTTP/1.2 200 OK"),
        response(line=b"GET / HTTP/1.1"),
        response(b"X : y"),
        response(b"X: y", b" folded"),
        response(b"X: y\nZ: y"),
        response(b"X: \0"),
        response(b"X"),
        response(b"Content-Length: 1", b"Content-Length: 1"),
        response(b"Content-Length: 1", b"Transfer-Encoding: chunked"),
        response(b"Content-Length: -1"),
        response(b"Transfer-Encoding: gzip"),
        CREATED + b"x",
        CREATED[:-2],
        b"",
    ],
)
def test_a_response_with_no_clear_reading_is_refused(raw: bytes) -> None:
    """
    As strictly as a request: a client must not see two answers in one.
    """
    with pytest.raises(UpstreamProtocolError):
        ResponseHead.parse(raw)


@pytest.mark.parametrize(
    ("method", "line", "fields", "kind", "length"),
    [
        ("GET", b"HTTP/1.1 200 OK", [b"Content-Length: 7"], LengthBody, 7),
        ("GET", b"HTTP/1.1 200 OK", [b"Content-Length: 0"], LengthBody, 0),
        ("GET", b"HTTP/1.1 200 OK", [b"Transfer-Encoding: chunked"], ChunkedBody, None),
        ("GET", b"HTTP/1.1 200 OK", [], UntilCloseBody, None),
        ("POST", b"HTTP/1.1 404 Not Found", [], UntilCloseBody, None),
        ("HEAD", b"HTTP/1.1 200 OK", [b"Content-Length: 7"], LengthBody, 0),
        ("HEAD", b"HTTP/1.1 200 OK", [b"Transfer-Encoding: chunked"], LengthBody, 0),
        ("HEAD", b"HTTP/1.1 200 OK", [], LengthBody, 0),
        ("head", b"HTTP/1.1 200 OK", [b"Content-Length: 7"], LengthBody, 7),
        ("POST", b"HTTP/1.1 204 No Content", [], LengthBody, 0),
        ("GET", b"HTTP/1.1 204 No Content", [b"Content-Length: 7"], LengthBody, 0),
        ("GET", b"HTTP/1.1 304 Not Modified", [b"Content-Length: 7"], LengthBody, 0),
        ("GET", b"HTTP/1.1 100 Continue", [], LengthBody, 0),
        ("GET", b"HTTP/1.1 103 Early Hints", [b"Transfer-Encoding: chunked"], LengthBody, 0),
        ("POST", b"HTTP/1.1 101 UPGRADED", [b"Content-Length: 7"], LengthBody, 0),
    ],
)
def test_an_answer_says_where_its_body_ends(
    method: str, line: bytes, fields: list[bytes], kind: type[Body], length: int | None
) -> None:
    """
    By the rules of RFC 9112, section 6.3, of which the request's method is one.
    """
    body = read_response([response(*fields, line=line)]).body(method)
    assert (type(body), body.length, body.ended) == (kind, length, length == 0)


@pytest.mark.parametrize(
    ("status", "is_interim"),
    [(100, True), (101, False), (102, True), (103, True), (199, True), (200, False), (404, False)],
)
def test_another_head_follows_an_interim_one(status: int, is_interim: bool) -> None:
    """
    Which is all of 1xx but the one that leaves HTTP.
    """
    assert read_response([response(line=b"HTTP/1.1 %d x" % status)]).is_interim == is_interim


@pytest.mark.parametrize(
    ("line", "fields", "closes"),
    [
        (b"HTTP/1.1 200 OK", [], False),
        (b"HTTP/1.1 200 OK", [b"Connection: keep-alive"], False),
        (b"HTTP/1.1 200 OK", [b"connection: Upgrade, Close"], True),
        (b"HTTP/1.1 200 OK", [b"Connection: closed"], False),
        (b"HTTP/1.0 200 OK", [], True),
        (b"HTTP/1.0 200 OK", [b"Connection: Keep-Alive"], False),
        (b"HTTP/1.0 200 OK", [b"Connection: keep-alive, close"], True),
    ],
)
def test_an_answer_says_whether_the_connection_goes_on(
    line: bytes, fields: list[bytes], closes: bool
) -> None:
    """
    By default it does in HTTP/1.1, and does not in HTTP/1.0.
    """
    assert read_response([response(*fields, line=line)]).closes == closes


# -- heads that came before ---------------------------------------------------------------------

HEADS = [
    (RequestHead.parse, b"GET /x HTTP/1.1\r\nX: "),
    (ResponseHead.parse, b"HTTP/1.1 200 OK\r\nX: "),
]


@pytest.mark.parametrize(("parse", "start"), HEADS)
def test_a_head_that_comes_again_is_not_read_again(
    parse: Callable[[bytes], object], start: bytes
) -> None:
    """
    Of up to a kibibyte: those are what clients ask for every second.
    """
    for size, is_kept in ((100, True), (1024, True), (1025, False)):
        raw = start + b"x" * (size - len(start) - 4) + b"\r\n\r\n"
        assert len(raw) == size
        head = parse(raw)
        assert parse(raw) == head
        assert (parse(raw) is head) == is_kept
        assert parse(raw.replace(b"x\r", b"y\r")) != head


@pytest.mark.parametrize(("parse", "start"), HEADS)
@pytest.mark.parametrize(
    "field",
    [
        b"X-Registry-Auth: x",
        b"x-registry-config: x",
        b"AUTHORIZATION: x",
        b"Proxy-Authorization: x",
        b"Cookie: x",
        b"Set-Cookie: x",
    ],
)
def test_a_head_with_a_secret_is_not_kept(
    parse: Callable[[bytes], object], start: bytes, field: bytes
) -> None:
    """
    It is gone from memory with its exchange.
    """
    raw = start + b"y\r\n" + field + b"\r\n\r\n"
    assert parse(raw) == parse(raw)
    assert parse(raw) is not parse(raw)


@pytest.mark.parametrize(("parse", "start"), HEADS)
def test_few_heads_are_kept(parse: Callable[[bytes], object], start: bytes) -> None:
    """
    However many come.
    """
    raws = [start + b"%d\r\n\r\n" % number for number in range(600)]
    heads = [parse(raw) for raw in raws]
    kept = sum(parse(raw) is head for raw, head in reversed(list(zip(raws, heads, strict=True))))
    assert 0 < kept <= 256


# -- bodies ------------------------------------------------------------------------------------


@pytest.mark.parametrize("trailing", TRAILING)
@pytest.mark.parametrize("length", [0, 1, 5])
def test_a_length_is_counted_down(length: int, trailing: bytes) -> None:
    """
    What follows the body is left.
    """
    for pieces in split_everywhere(b"hello"[:length] + trailing):
        body = LengthBody(length)
        assert (body.length, body.ended, body.payload_bytes) == (length, length == 0, 0)
        assert take(body, pieces) == length
        assert (body.length, body.ended, body.payload_bytes) == (0, True, length)


def test_bytes_that_the_kernel_moves_are_counted_as_well() -> None:
    """
    Seen or unseen, in any order.
    """
    body = LengthBody(9)
    assert (body.take(b"ab"), body.skip(3), body.length, body.ended) == (2, 3, 4, False)
    assert (body.skip(4), body.length, body.ended, body.payload_bytes) == (4, 0, True, 9)
    until_close = UntilCloseBody()
    assert (until_close.take(b"ab"), until_close.skip(3)) == (2, 3)
    assert until_close.payload_bytes == 5


def test_a_body_until_close_takes_all_and_never_ends_by_itself() -> None:
    """
    Only the end of the connection ends it.
    """
    body = UntilCloseBody()
    assert (body.length, body.ended, body.payload_bytes) == (None, False, 0)
    assert take(body, [b"0\r\n\r\n", b"", b"GET / HTTP/1.1\r\n\r\n"]) == 23
    assert (body.length, body.ended, body.payload_bytes) == (None, False, 23)


@pytest.mark.parametrize("trailing", TRAILING)
@pytest.mark.parametrize(
    ("raw", "payload"),
    [
        (b"0\r\n\r\n", b""),
        (b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
        (b"3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n", b"hello"),
        (b"005\r\nhello\r\n000\r\n\r\n", b"hello"),
        (b"A\r\n0\r\n\r\n\n\r\n0\r\r\n0\r\n\r\n", b"0\r\n\r\n\n\r\n0\r"),
        (b"a\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
        (b"5;a=b\r\nhello\r\n0;c\r\n\r\n", b"hello"),
        (b'5 \t; a="b;c"\xff\r\nhello\r\n0 \r\n\r\n', b"hello"),
        (b"5\r\nhello\r\n0\r\nX-Sum: 1\r\nY:\t\xff\r\n\r\n", b"hello"),
    ],
)
def test_chunks_are_taken_to_their_end(raw: bytes, payload: bytes, trailing: bytes) -> None:
    """
    However they come, the same bytes are the body's, and the same are its payload.
    """
    for pieces in split_everywhere(raw + trailing):
        body = ChunkedBody(DownstreamProtocolError)
        assert (body.length, body.ended, body.payload_bytes) == (None, False, 0)
        assert take(body, pieces) == len(raw)
        assert (body.length, body.ended, body.payload_bytes) == (None, True, len(payload))
    assert decode_chunked(raw) == payload


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        (b"\r\n", "chunk's size is malformed"),
        (b"x\r\n", "chunk's size is malformed"),
        (b"-1\r\n", "chunk's size is malformed"),
        (b"+5\r\nhello\r\n0\r\n\r\n", "chunk's size is malformed"),
        (b"0x5\r\nhello\r\n0\r\n\r\n", "chunk's size is malformed"),
        (b"5_\r\nhello\r\n0\r\n\r\n", "chunk's size is malformed"),
        (b" 5\r\nhello\r\n0\r\n\r\n", "chunk's size is malformed"),
        (b"5,\r\nhello\r\n0\r\n\r\n", "chunk's size is malformed"),
        (b"5 5\r\nhello\r\n0\r\n\r\n", "chunk's size is malformed"),
        (b";\r\n", "chunk's size is malformed"),
        (b"5;\0\r\nhello\r\n0\r\n\r\n", "chunk's size is malformed"),
        (b"5;\x7f\r\nhello\r\n0\r\n\r\n", "chunk's size is malformed"),
        (b"5;a\rb\r\nhello\r\n0\r\n\r\n", "chunk's size is malformed"),
        (b"5\r\r\nhello\r\n0\r\n\r\n", "chunk's size is malformed"),
        (b"0000000000000005\r\nhello\r\n0\r\n\r\n", "chunk's size is malformed"),
        (b"10000000000000000\r\n", "chunk's size is malformed"),
        (b"5\nhello\r\n0\r\n\r\n", "does not end with CR LF"),
        (b"5;a\nb\r\nhello\r\n0\r\n\r\n", "does not end with CR LF"),
        (b"\n", "does not end with CR LF"),
        (b"5\r\nhello\n0\r\n\r\n", "does not end with CR LF"),
        (b"5\r\nhello\r0\r\n\r\n", "a chunk is longer than its size"),
        (b"5\r\nhello0\r\n\r\n", "a chunk is longer than its size"),
        (b"5\r\nhello!\r\n0\r\n\r\n", "a chunk is longer than its size"),
        (b"5\r\nhello \r\n0\r\n\r\n", "a chunk is longer than its size"),
        (b"5\r\nhell\r\n0\r\n\r\n", "does not end with CR LF"),
        (b"0\r\n\n", "does not end with CR LF"),
        (b"0\n\n", "does not end with CR LF"),
        (b"0\r\nX: y\n\r\n", "does not end with CR LF"),
        (b"0\r\nX\r\n\r\n", "trailer of a chunked body is malformed"),
        (b"0\r\nX : y\r\n\r\n", "trailer of a chunked body is malformed"),
        (b"0\r\nX: y\r\n folded\r\n\r\n", "trailer of a chunked body is malformed"),
        (b"0\r\nX: \0\r\n\r\n", "trailer of a chunked body is malformed"),
        (b"0\r\nX: \r \r\n\r\n", "trailer of a chunked body is malformed"),
        (b"0\r\nGET / HTTP/1.1\r\n\r\n", "trailer of a chunked body is malformed"),
    ],
)
def test_chunks_with_no_clear_reading_are_refused(raw: bytes, sentence: str) -> None:
    """
    However they come: what one reader takes for data, another could take for a request.
    """
    for pieces in split_everywhere(raw):
        with pytest.raises(DownstreamProtocolError, match=sentence):
            take(ChunkedBody(DownstreamProtocolError), pieces)


@pytest.mark.parametrize("digits", [b"000000000000005", b"5"])
def test_a_size_may_have_fifteen_digits(digits: bytes) -> None:
    """
    Which are fewer than fit where Go keeps it.
    """
    body = ChunkedBody(DownstreamProtocolError)
    assert take(body, [digits + b"\r\nhello\r\n0\r\n\r\n"]) == len(digits) + 14
    assert body.ended


def test_a_line_between_chunks_has_a_bound() -> None:
    """
    4096 bytes with its end, as in Go, however it comes, and before its end has come.
    """
    longest = b"5;" + b"x" * 4092 + b"\r\n"
    body = ChunkedBody(DownstreamProtocolError)
    assert take(body, [longest[:4000], longest[4000:], b"hello\r\n0\r\n\r\n"]) == 4096 + 12
    assert (body.ended, body.payload_bytes) == (True, 5)
    longer = b"5;" + b"x" * 4093 + b"\r\n"
    for pieces in ([longer], [longer[:4096], longer[4096:]], [longer[:-2] + b"xx"]):
        with pytest.raises(DownstreamProtocolError, match="too long"):
            take(ChunkedBody(DownstreamProtocolError), pieces)


def test_a_trailer_has_a_bound() -> None:
    """
    64 KiB in all, so that no endless trailer keeps a request from ending.
    """
    lines = [b"X: " + b"x" * 2045] * 32
    assert sum(map(len, lines)) == 64 * 1024
    body = ChunkedBody(DownstreamProtocolError)
    whole = b"0\r\n" + b"".join(line + b"\r\n" for line in lines)
    assert take(body, [whole, b"\r\n"]) == len(whole) + 2
    assert body.ended
    with pytest.raises(DownstreamProtocolError, match="trailer"):
        take(ChunkedBody(DownstreamProtocolError), [whole, b"X:\r\n"])


CHUNKS = st.lists(st.binary(min_size=1, max_size=40), max_size=4)
EXTENSIONS = st.sampled_from([b"", b" ", b"\t", b";a=b", b'; a="\xff;"'])
TRAILERS = st.sampled_from([b"", b"X: y\r\n", b"X:\r\nY: 1\t2 \r\n"])
CUTS = st.lists(st.integers(0, 200), max_size=4)


@given(CHUNKS, EXTENSIONS, TRAILERS, st.binary(max_size=9), CUTS)
def test_what_was_put_into_chunks_is_what_comes_out(
    chunks: list[bytes], extension: bytes, trailer: bytes, trailing: bytes, cuts: list[int]
) -> None:
    """
    Whatever it is, wherever it is cut, and whatever follows it.
    """
    raw = chunked(*chunks, extension=extension, trailer=trailer)
    body = ChunkedBody(UpstreamProtocolError)
    assert take(body, cut(raw + trailing, cuts)) == len(raw)
    assert body.ended
    assert body.payload_bytes == sum(map(len, chunks))
    assert decode_chunked(raw) == b"".join(chunks)


# -- heads that are changed --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, request(b"HOST: docker", b"x-a:1", b"X-B:  2 ", b"x-A: 3")),
        ({b"x-b": b"4"}, request(b"HOST: docker", b"x-a:1", b"X-B: 4", b"x-A: 3")),
        ({b"x-a": b"4"}, request(b"HOST: docker", b"x-a: 4", b"X-B:  2 ")),
        ({b"x-a": None}, request(b"HOST: docker", b"X-B:  2 ")),
        ({b"x-b": b""}, request(b"HOST: docker", b"x-a:1", b"X-B: ", b"x-A: 3")),
        (
            {b"content-length": b"0", b"x-c": None},
            request(b"HOST: docker", b"x-a:1", b"X-B:  2 ", b"x-A: 3", b"Content-Length: 0"),
        ),
        (
            {b"x-b": None, b"content-type": b"a/b", b"host": b"h"},
            request(b"HOST: h", b"x-a:1", b"x-A: 3", b"Content-Type: a/b"),
        ),
    ],
)
def test_only_what_is_named_changes(changes: Mapping[bytes, bytes | None], expected: bytes) -> None:
    """
    The order, repeated fields, the case of names and the white space of all else stay.
    """
    head = read_request([request(b"HOST: docker", b"x-a:1", b"X-B:  2 ", b"x-A: 3")])
    assert head.rewritten(b"POST /x HTTP/1.1", changes) == expected


def test_a_head_with_no_fields_is_changed_too() -> None:
    """
    Its start line, and what is put in.
    """
    head = read_response([response(line=b"HTTP/1.1 200 OK")])
    assert head.rewritten(b"HTTP/1.1 404 No", {}) == b"HTTP/1.1 404 No\r\n\r\n"
    assert head.rewritten(head.start_line, {b"a": b"b"}) == b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n"


SPACES = st.sampled_from([b"", b" ", b"\t "])
VALUES = st.sampled_from([b"", b"1", b"a, b", b"a:\tb", b"caf\xc3\xa9"])
FIELD_NAMES = st.sampled_from([b"a", b"A", b"b", b"x-c", b"X-C", b"x-C"])
HEAD_CHANGES = st.dictionaries(
    st.sampled_from([b"a", b"b", b"x-c", b"new"]), st.none() | st.sampled_from([b"", b"n"])
)


@given(st.lists(st.tuples(FIELD_NAMES, SPACES, VALUES, SPACES), max_size=6), HEAD_CHANGES)
def test_a_changed_head_is_a_head(
    fields: list[tuple[bytes, bytes, bytes, bytes]], changes: dict[bytes, bytes | None]
) -> None:
    """
    It reads as the one before with each changed field once, where the first of its name was.
    """
    head = read_request([request(*(name + b":" + b"".join(rest) for name, *rest in fields))])
    expected = []
    pending = {name: value for name, value in changes.items() if value is not None}
    for name, value in head.fields:
        if name not in changes:
            expected.append((name, value))
        elif name in pending:
            expected.append((name, pending.pop(name)))
    expected += pending.items()
    changed = RequestHead.parse(head.rewritten(b"PUT /y HTTP/1.1", changes))
    assert (changed.method, changed.target) == ("PUT", b"/y")
    assert changed.fields == tuple(expected)
    assert head.rewritten(head.start_line, {}) == head.raw
