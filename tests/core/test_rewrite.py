"""
Messages as hooks changed them.
"""

from __future__ import annotations

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from powerstrip.core.endpoints import RoutedPath
from powerstrip.core.http1 import LengthBody, RequestHead, ResponseHead
from powerstrip.core.payloads import ClientRequest, ServerResponse
from powerstrip.core.rewrite import (
    RequestMessage,
    payload,
    rewrite_request,
    rewrite_response,
    rewrite_response_head,
    shown_target,
)
from tests.helpers import chunked

TARGET = "/v1.41/containers/create?name=x"


def request(*fields: bytes, line: bytes = b"POST " + TARGET.encode() + b" HTTP/1.1") -> RequestHead:
    return RequestHead.parse(b"\r\n".join([line, *fields, b"", b""]))


def response(*fields: bytes, line: bytes = b"HTTP/1.1 201 Created") -> ResponseHead:
    return ResponseHead.parse(b"\r\n".join([line, *fields, b"", b""]))


# -- what hooks are shown ----------------------------------------------------------------------


def test_a_held_body_is_taken_out_of_its_chunks() -> None:
    """
    One with a length has none.
    """
    body = b"5\r\nhello\r\n0\r\n\r\n"
    assert payload(request(b"Content-Length: 15"), body) == body
    assert payload(request(), b"") == b""
    assert payload(request(b"Transfer-Encoding: chunked"), body) == b"hello"
    assert payload(response(b"Transfer-Encoding: chunked"), chunked(b"a", b"b")) == b"ab"


def test_an_answer_with_no_body_has_no_chunks() -> None:
    """
    Whatever its head says of the body that an answer to GET would have.
    """
    assert payload(response(b"Transfer-Encoding: chunked"), b"") == b""


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        (b"/containers/create", "/containers/create"),
        (b"/v1.41/containers/create?name=x", "/v1.41/containers/create?name=x"),
        (b"/containers/json?", "/containers/json?"),
        (b"/containers/json?a=%2F//../?b", "/containers/json?a=%2F//../?b"),
        (b"/v1.41/containers%2Fcreate?name=x", "/v1.41/containers/create?name=x"),
        (b"/%63ontainers/create", "/containers/create"),
        (b"//containers/./create?x", "/containers/create?x"),
        (b"http://docker/containers/create?name=x", "/containers/create?name=x"),
        (b"http://docker", "/"),
        (b"/images/host:5000/a@sha256:1/json", "/images/host:5000/a@sha256:1/json"),
        (b"/containers/a%20b/json", "/containers/a%20b/json"),
        (b"/containers/%3Fx/json?y", "/containers/%3Fx/json?y"),
        (b"/containers/%C3%A9", "/containers/%C3%A9"),
        (b"/containers/\xc3\xa9?\xc3\xa9", "/containers/\xe9?\xe9"),
        (b"/containers/\xff?\xff", "/containers/\udcff?\udcff"),
    ],
)
def test_hooks_are_shown_the_path_that_the_engine_routes_on(target: bytes, shown: str) -> None:
    """
    And the query as it came.
    """
    assert shown_target(target, RoutedPath.parse(target)) == shown


@given(st.binary().map(lambda raw: b"/" + raw.translate(None, bytes(range(33)) + b"#\x7f%")))
def test_what_hooks_are_shown_routes_as_what_the_client_sent(target: bytes) -> None:
    """
    Whatever it is.
    """
    path = RoutedPath.parse(target)
    shown = shown_target(target, path).encode("utf-8", "surrogateescape")
    assert RoutedPath.parse(shown) == path
    assert shown.partition(b"?")[1:] == target.partition(b"?")[1:]


# -- requests ----------------------------------------------------------------------------------

JSON = b'{"Image": "a"}'
FIELDS = (b"host: docker", b"X-A:1", b"Content-Type: application/json", b"x-a:\t2")
HELD = request(*FIELDS, b"Content-Length: 14")
ASKED = ClientRequest("POST", TARGET, JSON.decode())


@pytest.mark.parametrize(
    ("head", "held", "asked"),
    [
        (HELD, JSON, ASKED),
        (request(*FIELDS, b"Transfer-Encoding: chunked"), chunked(JSON[:3], JSON[3:]), ASKED),
        (request(b"Content-Length: 0"), b"", evolve(ASKED, body=None)),
        (request(), b"", evolve(ASKED, body=None)),
        (request(b"Content-Length: 3"), b"\xff\0{", evolve(ASKED, body=None)),
        (request(b"Content-Length: 99"), None, evolve(ASKED, body=None)),
        (request(b"Expect: 100-continue"), None, evolve(ASKED, body=None)),
        (request(line=b"GET /x HTTP/1.0"), b"", ClientRequest("GET", "/x", None)),
        (
            request(line=b"GET http://docker/containers%2Fjson HTTP/1.1"),
            b"",
            ClientRequest("GET", "/containers/json", None),
        ),
    ],
)
def test_a_request_that_no_hook_changed_is_the_client_s_own(
    head: RequestHead, held: bytes | None, asked: ClientRequest
) -> None:
    """
    Byte for byte, chunks and spelling and all.
    """
    assert rewrite_request(head, held, asked, asked) == RequestMessage(head.raw, held)


@pytest.mark.parametrize(
    ("body", "on_the_wire"),
    [
        ('{"Image": "b", "x": 1}', b'{"Image": "b", "x": 1}'),
        ('{"Image": "é\U0001f433"}', b'{"Image": "\xc3\xa9\xf0\x9f\x90\xb3"}'),
        ("\0", b"\0"),
        (None, b""),
    ],
)
def test_a_changed_body_has_a_length_in_bytes(body: str | None, on_the_wire: bytes) -> None:
    """
    Of UTF-8, in place of what framed the one before; all else stays.
    """
    length = b"%d" % len(on_the_wire)
    wanted = evolve(ASKED, body=body)
    expected = request(*FIELDS, b"Content-Length: " + length).raw
    assert rewrite_request(HELD, JSON, ASKED, wanted) == RequestMessage(expected, on_the_wire)

    coding = (b"Transfer-Encoding: chunked", b"Trailer: X-Sum")
    head = request(*FIELDS[:2], *coding, *FIELDS[2:])
    raw = chunked(JSON, trailer=b"X-Sum: 1\r\n")
    assert rewrite_request(head, raw, ASKED, wanted) == RequestMessage(expected, on_the_wire)


def test_a_length_is_changed_where_it_stands() -> None:
    """
    In the client's own spelling of its name.
    """
    head = request(b"content-LENGTH:14", b"Content-Type: a/b", b"Host: docker")
    message = rewrite_request(head, JSON, ASKED, evolve(ASKED, body="{}"))
    expected = request(b"content-LENGTH: 2", b"Content-Type: a/b", b"Host: docker")
    assert message == RequestMessage(expected.raw, b"{}")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ([b"Host: d"], [b"Host: d", b"Content-Length: 2", b"Content-Type: application/json"]),
        (
            [b"Content-Length: 0", b"Host: d"],
            [b"Content-Length: 2", b"Host: d", b"Content-Type: application/json"],
        ),
        ([b"Content-Type: text/plain"], [b"Content-Type: text/plain", b"Content-Length: 2"]),
        ([b"Content-Type:"], [b"Content-Type:", b"Content-Length: 2"]),
    ],
)
def test_a_body_where_there_was_none_is_json(fields: list[bytes], expected: list[bytes]) -> None:
    """
    If the client has not said otherwise: the engine reads none of another type.
    """
    asked = evolve(ASKED, body=None)
    message = rewrite_request(request(*fields), b"", asked, evolve(ASKED, body="{}"))
    assert message == RequestMessage(request(*expected).raw, b"{}")


def test_a_body_that_was_taken_away_has_no_type_put_in() -> None:
    """
    There is nothing that would have one.
    """
    head = request(b"Content-Length: 14")
    message = rewrite_request(head, JSON, ASKED, evolve(ASKED, body=None))
    assert message == RequestMessage(request(b"Content-Length: 0").raw, b"")


@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize(
    ("target", "shown"),
    [
        (TARGET.encode(), TARGET),
        (b"http://docker/v1.41/containers%2Fcreate?name=x", TARGET),
    ],
)
def test_a_changed_query_changes_the_request_line_alone(
    version: int, target: bytes, shown: str
) -> None:
    """
    An empty POST keeps its length of zero: the engine refuses an empty one in chunks.
    """
    asked = ClientRequest("POST", shown, None)
    sent = b"POST %s HTTP/1.%d" % (target, version)
    head = request(b"HOST:docker", b"Content-Length: 0", line=sent)
    wanted = evolve(asked, request="/v1.41/containers/create?name=y&z")
    line = b"POST /v1.41/containers/create?name=y&z HTTP/1.%d" % version
    expected = request(b"HOST:docker", b"Content-Length: 0", line=line).raw
    assert rewrite_request(head, b"", asked, wanted) == RequestMessage(expected, b"")


def test_a_changed_query_leaves_a_body_alone() -> None:
    """
    Whether it is held, in chunks, or streams on.
    """
    coding = b"Transfer-Encoding: chunked"
    line = b"POST /v1.41/containers/create HTTP/1.1"
    wanted = evolve(ASKED, request="/v1.41/containers/create")
    for head, held in ((request(coding), chunked(JSON)), (request(coding), None)):
        expected = RequestMessage(request(coding, line=line).raw, held)
        assert rewrite_request(head, held, ASKED, wanted) == expected


@pytest.mark.parametrize("held", [JSON, b""])
def test_a_continue_that_was_given_is_not_asked_for_again(held: bytes) -> None:
    """
    The client went on for the hooks' sake: a second time, its body would be there already.
    """
    head = request(b"Host: d", b"EXPECT: 100-continue", b"Content-Length: %d" % len(held))
    expected = request(b"Host: d", b"Content-Length: %d" % len(held)).raw
    assert rewrite_request(head, held, ASKED, ASKED) == RequestMessage(expected, held)


BODIES = st.none() | st.text(min_size=1)


@given(st.booleans(), BODIES, BODIES, st.booleans())
def test_a_request_that_hooks_changed_is_read_as_what_they_wanted(
    in_chunks: bool, before: str | None, after: str | None, expects: bool
) -> None:
    """
    With no byte more or less.
    """
    sent = (before or "").encode()
    framing = b"Transfer-Encoding: chunked" if in_chunks else b"Content-Length: %d" % len(sent)
    held = (chunked(sent) if sent else chunked()) if in_chunks else sent
    head = request(*FIELDS, framing, *[b"Expect: 100-continue"] * expects)
    asked, wanted = evolve(ASKED, body=before), evolve(ASKED, body=after)
    message = rewrite_request(head, held, asked, wanted)
    assert message.body is not None
    changed = RequestHead.parse(message.head)
    body = changed.body()
    assert (body.take(message.body + b"x"), body.ended) == (len(message.body), True)
    assert payload(changed, message.body).decode() == (after or "")
    assert not changed.expects_continue
    assert changed.fields[:4] == head.fields[:4]


# -- answers -----------------------------------------------------------------------------------

CREATED_FIELDS = (b"API-version:1.41", b"Content-Type: application/json")
CREATED = response(*CREATED_FIELDS, b"Content-Length: 11")
ID = b'{"Id": "1"}'
SHOWN = ServerResponse("application/json", ID.decode(), 201)


@pytest.mark.parametrize(
    ("head", "held", "shown"),
    [
        (CREATED, ID, SHOWN),
        (response(b"Transfer-Encoding: chunked"), chunked(ID), SHOWN),
        (response(), ID, evolve(SHOWN, content_type=None)),
        (response(b"Content-Length: 1"), b"\xff", evolve(SHOWN, body=None)),
        (response(line=b"HTTP/1.0 204 x"), b"", ServerResponse(None, "", 204)),
        (response(b"Transfer-Encoding: chunked"), b"", ServerResponse(None, "", 201)),
    ],
)
def test_an_answer_that_no_hook_changed_is_the_engine_s_own(
    head: ResponseHead, held: bytes, shown: ServerResponse
) -> None:
    """
    Byte for byte, chunks and all.
    """
    for method in ("GET", "HEAD"):
        assert rewrite_response(head, method, held, shown, shown) == (head, held)
    assert rewrite_response_head(head, shown, shown) == head


@pytest.mark.parametrize(
    ("changes", "line", "content_type", "body"),
    [
        ({"body": "é"}, b"HTTP/1.1 201 Created", b"application/json", b"\xc3\xa9"),
        ({"body": ""}, b"HTTP/1.1 201 Created", b"application/json", b""),
        ({"code": 409}, b"HTTP/1.1 409 Conflict", b"application/json", ID),
        ({"code": 299}, b"HTTP/1.1 299 ", b"application/json", ID),
        ({"content_type": "a/b"}, b"HTTP/1.1 201 Created", b"a/b", ID),
        (
            {"body": "no", "code": 500, "content_type": "text/plain"},
            b"HTTP/1.1 500 Internal Server Error",
            b"text/plain",
            b"no",
        ),
    ],
)
def test_a_changed_answer_has_a_length_in_bytes(
    changes: dict[str, object], line: bytes, content_type: bytes, body: bytes
) -> None:
    """
    In place of what framed it; fields that are not named stay as they came, in order.
    """
    wanted = evolve(SHOWN, **changes)
    fields = (b"API-version:1.41", b"Content-Type: " + content_type)
    expected = response(*fields, b"Content-Length: %d" % len(body), line=line)
    assert rewrite_response(CREATED, "POST", ID, SHOWN, wanted) == (expected, body)

    coding = (b"Transfer-Encoding: chunked", b"Trailer: X-Sum")
    in_chunks = response(CREATED_FIELDS[0], *coding, CREATED_FIELDS[1])
    raw = chunked(ID, trailer=b"X-Sum: 1\r\n")
    assert rewrite_response(in_chunks, "POST", raw, SHOWN, wanted) == (expected, body)

    until_close = response(*CREATED_FIELDS)
    assert rewrite_response(until_close, "POST", ID, SHOWN, wanted) == (expected, body)


def test_a_body_that_is_no_text_goes_on_with_a_changed_status() -> None:
    """
    Its bytes are those that came.
    """
    shown = ServerResponse("a/b", None, 200)
    head = response(b"Content-Type: a/b", b"Transfer-Encoding: chunked", line=b"HTTP/1.1 200 OK")
    expected = response(b"Content-Type: a/b", b"Content-Length: 2", line=b"HTTP/1.1 404 Not Found")
    wanted = evolve(shown, code=404)
    assert rewrite_response(head, "GET", chunked(b"\xff\0"), shown, wanted) == (expected, b"\xff\0")


@pytest.mark.parametrize("code", [204, 304])
@pytest.mark.parametrize("framing", [b"Content-Length: 11", b"Transfer-Encoding: chunked"])
def test_a_status_that_has_no_body_gets_none(code: int, framing: bytes) -> None:
    """
    Nor a word of one in its head.
    """
    held = chunked(ID) if framing.startswith(b"T") else ID
    wanted = evolve(SHOWN, code=code, body="{}")
    head, body = rewrite_response(response(b"X: y", framing), "POST", held, SHOWN, wanted)
    assert (head.status, head.fields, body) == (code, ((b"x", b"y"),), b"")
    assert head.body("POST").ended


def test_a_body_can_be_put_into_an_answer_that_had_none() -> None:
    """
    With a status that has one, and not with the engine's 204.
    """
    started = response(b"Api-Version: 1.41", line=b"HTTP/1.1 204 No Content")
    shown = ServerResponse(None, "", 204)
    wanted = ServerResponse("text/plain", "hello", 200)
    fields = (b"Api-Version: 1.41", b"Content-Type: text/plain", b"Content-Length: 5")
    expected = response(*fields, line=b"HTTP/1.1 200 OK")
    assert rewrite_response(started, "POST", b"", shown, wanted) == (expected, b"hello")
    assert rewrite_response(started, "POST", b"", shown, evolve(shown, body="x")) == (started, b"")


def test_an_answer_to_head_says_what_one_to_get_would() -> None:
    """
    Its length is the engine's, and it has no body, whatever a hook wanted.
    """
    head = response(b"Content-Length: 77", line=b"HTTP/1.1 200 OK")
    shown = ServerResponse(None, "", 200)
    wanted = ServerResponse("a/b", "hello", 404)
    fields = (b"Content-Length: 77", b"Content-Type: a/b")
    expected = response(*fields, line=b"HTTP/1.1 404 Not Found")
    assert rewrite_response(head, "HEAD", b"", shown, wanted) == (expected, b"")


TAR = response(b"Content-Type: application/x-tar", b"Transfer-Encoding: chunked")
TAR_SHOWN = ServerResponse("application/x-tar", None, 201)


@pytest.mark.parametrize(
    ("changes", "line", "content_type"),
    [
        ({"code": 500}, b"HTTP/1.1 500 Internal Server Error", b"application/x-tar"),
        ({"content_type": "a/b"}, b"HTTP/1.1 201 Created", b"a/b"),
        ({"code": 200, "content_type": ""}, b"HTTP/1.1 200 OK", b""),
        ({"code": 204}, b"HTTP/1.1 201 Created", b"application/x-tar"),
        ({"code": 304, "content_type": "a/b"}, b"HTTP/1.1 201 Created", b"a/b"),
    ],
)
def test_the_head_of_a_body_that_streams_frames_it_as_it_did(
    changes: dict[str, object], line: bytes, content_type: bytes
) -> None:
    """
    Its status is left alone where it would say that there is no body.
    """
    expected = response(b"Content-Type: " + content_type, b"Transfer-Encoding: chunked", line=line)
    assert rewrite_response_head(TAR, TAR_SHOWN, evolve(TAR_SHOWN, **changes)) == expected


def test_a_head_that_streams_and_had_no_type_can_get_one() -> None:
    """
    At its end.
    """
    head = response(b"X: y", line=b"HTTP/1.0 200 OK")
    shown = ServerResponse(None, None, 200)
    expected = response(b"X: y", b"Content-Type: a/b", line=b"HTTP/1.0 200 OK")
    assert rewrite_response_head(head, shown, evolve(shown, content_type="a/b")) == expected


@given(
    st.sampled_from(["length", "chunks", "close"]),
    st.text(),
    st.text(),
    st.sampled_from([200, 201, 204, 304, 404, 599]),
    st.sampled_from(["GET", "HEAD", "POST"]),
)
def test_an_answer_that_hooks_changed_is_read_as_what_they_wanted(
    framing: str, before: str, after: str, code: int, method: str
) -> None:
    """
    With no byte more or less.
    """
    sent = b"" if method == "HEAD" else before.encode()
    fields = {"length": [b"Content-Length: %d" % len(before.encode())], "close": []}
    head = response(*FIELDS, *fields.get(framing, [b"Transfer-Encoding: chunked"]))
    held = sent
    if framing == "chunks" and method != "HEAD":
        held = chunked(sent) if sent else chunked()
    shown = ServerResponse("application/json", sent.decode(), 201)
    wanted = evolve(shown, body=after, code=code)
    changed, raw = rewrite_response(head, method, held, shown, wanted)
    assert ResponseHead.parse(changed.raw) == changed
    assert changed.status == code
    bodiless = method == "HEAD" or code in (204, 304)
    assert payload(changed, raw).decode() == ("" if bodiless else after)
    body = changed.body(method)
    assert body.take(raw) == len(raw)
    assert isinstance(body, LengthBody) or wanted == shown
    assert body.ended or (framing == "close" and wanted == shown)
    assert changed.fields[:4] == head.fields[:4]
