"""
Which bodies hooks are shown.
"""

from __future__ import annotations

import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from powerstrip.core.bodies import (
    holds_response_body,
    request_text,
    response_text,
    shows_request_body,
)
from powerstrip.core.endpoints import RoutedPath
from powerstrip.core.http1 import RequestHead, ResponseHead
from powerstrip.errors import DownstreamProtocolError

CREATE = RoutedPath.parse(b"/v1.41/containers/create")


def shows(target: str, *fields: str) -> bool:
    """
    Whether hooks are shown the body of this request.
    """
    lines = [f"POST {target} HTTP/1.1", "Transfer-Encoding: chunked", *fields, "", ""]
    head = RequestHead.parse("\r\n".join(lines).encode("latin-1"))
    return shows_request_body(head, RoutedPath.parse(head.target))


def holds(target: str, *fields: str, status: int = 200) -> bool:
    """
    Whether the body of this answer is held for post-hooks.
    """
    lines = [f"HTTP/1.1 {status} x", *fields, "", ""]
    head = ResponseHead.parse("\r\n".join(lines).encode("latin-1"))
    return holds_response_body(RoutedPath.parse(target.encode()), head)


# -- requests ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "target",
    [
        "/containers/create?name=x",
        "/v1.41/containers/create",
        "/v9/containers%2Fcreate",
        "/containers/x/start",
        "/exec/x/start",
        "/containers/x/exec",
        "/networks/create",
        "/buildx",
        "/v1.41/build/prune",
        "/images/x/push",
        "/images/create/x",
        "/containers/archive",
        "/containers/x/archives",
        "/containers/x/attach/ws",
        "/sessions",
        "/novelties/create",
    ],
)
def test_a_body_is_shown_whatever_its_client_calls_it(target: str) -> None:
    """
    The engine reads JSON at these endpoints, or what it reads is not known.
    """
    for fields in (
        ["Content-Type: application/json"],
        ["content-type: Application/JSON; charset=utf-8"],
        [],
        ["Content-Type:"],
        ["Content-Type: text/plain"],
        ["Content-Type: application/x-tar"],
        ["Content-Type: application/octet-stream"],
        ["Content-Type: x"],
        ["Content-Type: application/x-tar", "Content-Type: application/json"],
    ):
        assert shows(target, *fields), fields


ARCHIVES = [
    "/build",
    "/v1.41/build?t=x",
    "/v1.41//build",
    "/v1.41/%62uild",
    "/images/load",
    "/v1.41/images/load?quiet=1",
    "/images/create?fromSrc=-",
    "/plugins/create?name=x",
    "/session",
    "/grpc",
    "/containers/x/archive?path=/",
    "/v1.24/containers/a/b/archive",
    "/v1.24/containers/a%0Ab/archive",
    "/containers/x/attach?stream=1",
]


@pytest.mark.parametrize("target", ARCHIVES)
def test_an_archive_goes_by_its_hooks(target: str) -> None:
    """
    As a tunnel does: neither can be held.
    """
    for fields in (
        [],
        ["Content-Type:"],
        ["Content-Type: application/x-tar"],
        ["Content-Type: application/octet-stream"],
        ["Content-Type: text/plain"],
        ["Content-Type: text/json"],
        ["Content-Type: application/jsonx"],
        ["Content-Type: xapplication/json"],
        ["Content-Type: application/x-tar; application/json"],
    ):
        assert not shows(target, *fields), fields


@pytest.mark.parametrize("target", ARCHIVES)
def test_json_is_shown_at_every_endpoint(target: str) -> None:
    """
    A client can't hide it where a newer engine could read it.
    """
    for content_type in (
        "application/json",
        "APPLICATION/json",
        "\tapplication/json ; charset=utf-8",
        "application/vnd.docker.plugins.v1+json",
        "application/json;",
    ):
        assert shows(target, f"Content-Type: {content_type}"), content_type


@pytest.mark.parametrize("target", ["/auth", "/v1.41/auth", "/v1.41/auth?x", "//%61uth"])
def test_credentials_are_never_shown(target: str) -> None:
    """
    Neither what a client sends to log in with, nor the token that it gets for it.
    """
    for fields in ([], ["Content-Type: application/json"]):
        assert not shows(target, *fields)
        assert not holds(target, *fields)


@pytest.mark.parametrize("target", ["/auth/x", "/authx", "/x/auth"])
def test_only_the_endpoint_of_credentials_is_kept_from_hooks(target: str) -> None:
    """
    No other that looks like it.
    """
    assert shows(target)
    assert holds(target)


@pytest.mark.parametrize(
    "body",
    [
        b'{"Image": "busybox"}',
        b' \t\r\n{"Labels": {"a": "\\u0000"}}\n',
        '{"Labels": {"a": "\U0001f433é\ufeff"}}'.encode(),
        b"[]",
        b'[{"Name": "x"}]',
        b"{}",
    ],
)
def test_json_is_shown_as_text(body: bytes) -> None:
    """
    Just as it came, with all its white space.
    """
    assert request_text(body, CREATE) == body.decode()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" \r\n",
        b"null",
        b"7",
        b'"{}"',
        b"hello",
        b"\0{}",
        b"\x0b{}",
        b"x{}",
        b"\xa0{}",
        b"\xff\xfe\xfd",
        b"\x1f\x8b\x08\x00{",
        codecs.BOM_UTF8 + b'{"Image": "x"}',
        '{"Image": "x"}'.encode("utf-16"),
        '{"Image": "x"}'.encode("utf-16-be"),
        codecs.BOM_UTF32_LE + '{"Image": "x"}'.encode("utf-32-le"),
    ],
)
def test_what_the_engine_reads_no_json_from_is_not_shown(body: bytes) -> None:
    """
    It streams on, whatever it is, and is no fault of the client's.
    """
    assert request_text(body, CREATE) is None


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b'{"Image": "\xff"}', "the body is not UTF-8"),
        (b'{"Image": "\xed\xa0\x80"}', "the body is not UTF-8"),
        (b'{"Image": "\xc0\xaf"}', "the body is not UTF-8"),
        (b" [\xe9]", "the body is not UTF-8"),
        ('{"Image": "é"}'.encode("utf-16-le"), "the body is not UTF-8"),
        ('{"Image": "x"}'.encode("utf-16-le"), "the body is not one JSON value"),
        (b"{", "the body is not one JSON value"),
        (b'{"Image": "x"} {"Image": "y"}', "the body is not one JSON value"),
        (b'{"Image": "x", "Image": "y"}', "the member Image of the body comes twice"),
        (b'{"image": "x"}', "the member image of the body must be spelled Image"),
    ],
)
def test_json_that_hooks_could_read_otherwise_is_refused(body: bytes, sentence: str) -> None:
    """
    The engine reads something from all of these.
    """
    with pytest.raises(DownstreamProtocolError, match=sentence):
        request_text(body, CREATE)


def test_which_members_a_body_has_depends_on_its_endpoint() -> None:
    """
    What is a member to one is a name of the client's own to another.
    """
    body = b'{"name": "y"}'
    assert request_text(body, RoutedPath.parse(b"/containers/x/rename")) == body.decode()
    with pytest.raises(DownstreamProtocolError):
        request_text(body, RoutedPath.parse(b"/networks/create"))


@given(st.binary(max_size=30))
def test_a_text_is_the_body_or_there_is_none(body: bytes) -> None:
    """
    Whatever is sent.
    """
    for sent in (body, b"{" + body, b'{"' + body + b'": 1}'):
        try:
            text = request_text(sent, CREATE)
        except DownstreamProtocolError:
            continue
        assert text is None or text.encode() == sent


# -- answers -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "target",
    [
        "/containers/json",
        "/v1.41/containers/create",
        "/containers/x/json",
        "/containers/x/top",
        "/containers/x/waits",
        "/containers/logs",
        "/images/create",
        "/images/x/push",
        "/images/get/x",
        "/images/x/gets",
        "/build",
        "/exec/x/json",
        "/exec/start",
        "/services/x/log",
        "/events/x",
        "/info",
    ],
)
def test_an_answer_that_ends_is_held(target: str) -> None:
    """
    Whatever its type, if that is not one of archives.
    """
    for fields in (
        ["Content-Type: application/json"],
        ["Content-Type: application/json; charset=utf-8"],
        ["Content-Type: text/plain"],
        ["Content-Type: application/x-tarx"],
        ["Content-Type: text/x; application/x-tar"],
        ["Content-Type:"],
        [],
    ):
        assert holds(target, *fields), fields


ENDLESS = [
    "/events",
    "/v1.41/events?since=1",
    "/%65vents",
    "/session",
    "/grpc",
    "/images/get?names=x",
    "/images/host:5000/a/b:c/get",
    "/exec/x/start",
    "/containers/x/logs?follow=1",
    "/v1.41/containers/x/stats",
    "/containers/x/wait",
    "/containers/x/attach",
    "/containers/x/attach/ws",
    "/containers/x/archive",
    "/containers/a%0Ab/export",
    "/services/x/logs",
    "/tasks/x/logs",
]


@pytest.mark.parametrize("target", ENDLESS)
def test_an_answer_that_may_not_end_is_not_held(target: str) -> None:
    """
    Nor one whose head a client waits for, whatever its type.
    """
    assert not holds(target)
    assert not holds(target, "Content-Type: application/json")


@pytest.mark.parametrize(
    "content_type",
    [
        "application/x-tar",
        "Application/X-TAR",
        " application/x-tar ; x=y",
        "application/octet-stream",
        "application/x-gzip",
        "application/gzip",
        "application/vnd.docker.raw-stream",
        "application/vnd.docker.multiplexed-stream",
        "application/vnd.docker.plugins.v1-stream",
    ],
)
def test_an_archive_in_an_answer_is_not_held(content_type: str) -> None:
    """
    Nor a stream of a container's.
    """
    assert not holds("/novelties", f"Content-Type: {content_type}")


def test_what_a_login_is_answered_is_never_held() -> None:
    """
    Whatever the status: there may be a token in it.
    """
    assert [holds("/auth", status=status) for status in (200, 401, 500)] == [False] * 3


@pytest.mark.parametrize("target", ["/events", "/containers/x/attach", "/images/x/get"])
def test_an_error_is_always_held(target: str) -> None:
    """
    The engine writes one small document, wherever it does, and whatever it calls it.
    """
    for fields in ([], ["Content-Type: application/json"], ["Content-Type: application/x-tar"]):
        assert [holds(target, *fields, status=status) for status in (400, 404, 599)] == [True] * 3
        assert [holds(target, *fields, status=status) for status in (200, 304, 399)] == [False] * 3


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", ""),
        (b'{"Id": "1"}\n', '{"Id": "1"}\n'),
        (b"\xff\xfe", None),
        ("\U0001f433\0".encode(), "\U0001f433\0"),
        (codecs.BOM_UTF8 + b"x", "\ufeffx"),
        (b"\xed\xa0\x80", None),
    ],
)
def test_an_answer_s_text_is_shown_if_it_is_text(body: bytes, text: str | None) -> None:
    """
    JSON or not; none of what is not UTF-8.
    """
    assert response_text(body) == text
