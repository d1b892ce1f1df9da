"""
The answers that come from Powerstrip itself.
"""

from __future__ import annotations

import pytest

from powerstrip.core.answers import error_answer, status_line
from powerstrip.core.http1 import ResponseHead, find_response_end
from powerstrip.errors import (
    BodyTooLarge,
    DownstreamProtocolError,
    HookRefused,
    HookTimeout,
    PowerstripError,
    UpstreamConnectError,
)


def refused(status: int, content_type: str | None, body: bytes) -> HookRefused:
    return HookRefused("weave", "http://weave/extension", status, content_type, body)


def test_an_error_is_told_in_docker_s_own_form() -> None:
    """
    So that the docker command prints it. The rest of the request may still come: it is the last.
    """
    error = HookTimeout("weave", "http://weave/extension", "timed out after 60 s")
    assert error_answer(error, "POST") == (
        b"HTTP/1.1 504 Gateway Timeout\r\n"
        b"Content-Type: application/json\r\n"
        b"Content-Length: 87\r\n"
        b"Connection: close\r\n"
        b"\r\n"
        b'{"message": "powerstrip: adapter weave (http://weave/extension) timed out after 60 s"}\n'
    )


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (DownstreamProtocolError("a"), 400, b"powerstrip: a"),
        (UpstreamConnectError("b"), 502, b"powerstrip: b"),
        (PowerstripError("c"), 500, b"powerstrip: c"),
        (BodyTooLarge('"\r\n\xe9\udcff'), 413, b'powerstrip: \\"\\r\\n\\u00e9\\udcff'),
    ],
)
def test_any_sentence_can_be_told(error: PowerstripError, status: int, message: bytes) -> None:
    """
    With the status of its kind.
    """
    answer = error_answer(error, "GET")
    head = ResponseHead.parse(answer[: find_response_end(answer)])
    body = answer[len(head.raw) :]
    assert head.status == status
    assert body == b'{"message": "' + message + b'"}\n'
    assert head.value(b"content-length") == b"%d" % len(body)


@pytest.mark.parametrize(
    ("content_type", "told"),
    [
        ("application/json; charset=utf-8", b"application/json; charset=utf-8"),
        (None, b"text/plain"),
        ("", b"text/plain"),
        ("text/é", b"text/plain"),
        ("text/x\r\nX: y", b"text/plain"),
        ("text/\udcff", b"text/plain"),
    ],
)
def test_a_refusal_is_the_adapter_s_own(content_type: str | None, told: bytes) -> None:
    """
    Its status, its body byte for byte, and its type, if that can stand in a header.
    """
    assert error_answer(refused(403, content_type, b"\xff\0no\n"), "POST") == (
        b"HTTP/1.1 403 Forbidden\r\n"
        b"Content-Type: " + told + b"\r\n"
        b"Content-Length: 5\r\n"
        b"Connection: close\r\n"
        b"\r\n"
        b"\xff\0no\n"
    )


@pytest.mark.parametrize("error", [refused(418, "text/plain", b"no"), DownstreamProtocolError("x")])
def test_an_answer_to_head_has_the_head_alone(error: PowerstripError) -> None:
    """
    It is that of the same answer to GET.
    """
    answer = error_answer(error, "GET")
    assert error_answer(error, "HEAD") == answer[: find_response_end(answer)]
    assert len(answer) > find_response_end(answer)


@pytest.mark.parametrize(
    ("status", "line"),
    [
        (200, "HTTP/1.1 200 OK"),
        (404, "HTTP/1.1 404 Not Found"),
        (299, "HTTP/1.1 299 "),
        (999, "HTTP/1.1 999 "),
    ],
)
def test_a_status_has_its_phrase_if_it_has_one(status: int, line: str) -> None:
    """
    The space before it stays: RFC 9112, section 4.
    """
    assert status_line(status) == line
