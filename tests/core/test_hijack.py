"""
Which answers leave HTTP.
"""

from __future__ import annotations

import pytest

from powerstrip.core.hijack import leaves_http
from powerstrip.core.http1 import RequestHead, ResponseHead
from powerstrip.errors import UpstreamProtocolError

RAW_STREAM = "Content-Type: application/vnd.docker.raw-stream"
UPGRADE = ("Connection: Upgrade", "Upgrade: tcp")


def request(target: str, *fields: str) -> RequestHead:
    return RequestHead.parse("\r\n".join([f"POST {target} HTTP/1.1", *fields, "", ""]).encode())


def response(status: int, *fields: str) -> ResponseHead:
    return ResponseHead.parse("\r\n".join([f"HTTP/1.1 {status} x", *fields, "", ""]).encode())


HIJACKING = [
    "/containers/x/attach?stdin=1&stream=1",
    "/v1.41/containers/x/attach",
    "/v1.41/containers%2Fx%2Fattach",
    "/containers/a/b/attach",
    "/containers/a%0Ab/attach",
    "/containers/attach/attach",
    "/containers/x/attach/ws",
    "/exec/x/start",
    "/v1.24//exec/./x/start",
    "/exec/start/start",
    "/session",
    "/v1.41/grpc",
    "http://docker/session",
]
STAYING = [
    "/containers/create",
    "/containers/attach",
    "/containers/x/attach/",
    "/containers/x/attachs",
    "/containers/x/attach/wss",
    "/containers/x/start",
    "/exec/start",
    "/exec/x/resize",
    "/execs/x/start",
    "/x/session",
    "/grpc/x",
    "/",
    "/v1.41/info?x=/session",
]


@pytest.mark.parametrize("target", HIJACKING)
def test_an_upgrade_that_was_asked_for_leaves_http(target: str) -> None:
    """
    Where the engine is known to hijack.
    """
    for fields in (UPGRADE, ("Upgrade: h2c",), ("connection: upgrade", "UPGRADE: websocket")):
        assert leaves_http(request(target, *fields), response(101, *UPGRADE)), fields


@pytest.mark.parametrize(
    ("target", "fields"),
    [
        *((target, UPGRADE) for target in STAYING),
        *((target, ("Connection: Upgrade", "X-Upgrade: tcp")) for target in HIJACKING),
    ],
)
def test_an_upgrade_out_of_place_is_an_error(target: str, fields: tuple[str, ...]) -> None:
    """
    Behind it could go requests that no hook sees.
    """
    with pytest.raises(UpstreamProtocolError, match="left HTTP where it is not known to"):
        leaves_http(request(target, *fields), response(101, *UPGRADE))


@pytest.mark.parametrize("target", HIJACKING)
def test_a_stream_with_no_end_of_its_own_leaves_http(target: str) -> None:
    """
    It is the answer to a client that asked for no upgrade, or that of an old engine.
    """
    for content_type in (
        RAW_STREAM,
        "content-type:application/vnd.docker.raw-stream",
        "Content-Type: application/vnd.docker.multiplexed-stream",
    ):
        assert leaves_http(request(target), response(200, content_type))
        assert leaves_http(request(target, *UPGRADE), response(200, content_type))


@pytest.mark.parametrize(
    ("status", "fields"),
    [
        (200, (RAW_STREAM, "Content-Length: 0")),
        (200, (RAW_STREAM, "Transfer-Encoding: chunked")),
        (200, ()),
        (200, ("Content-Type: application/json",)),
        (200, ("Content-Type: application/vnd.docker.raw",)),
        (200, ("Content-Type: application/vnd-docker-raw-stream",)),
        (200, ("Content-Type: x/application/vnd.docker.raw-stream",)),
        (201, (RAW_STREAM,)),
        (404, (RAW_STREAM,)),
        (100, ()),
        (204, ()),
    ],
)
def test_an_ordinary_answer_stays_in_http(status: int, fields: tuple[str, ...]) -> None:
    """
    A client that only asks to leave HTTP has not left it.
    """
    for target in HIJACKING:
        assert not leaves_http(request(target, *UPGRADE), response(status, *fields)), target


@pytest.mark.parametrize("target", STAYING)
def test_a_stream_out_of_place_stays_in_http(target: str) -> None:
    """
    It is an answer that ends with its connection, behind which no request goes.
    """
    assert not leaves_http(request(target, *UPGRADE), response(200, RAW_STREAM))
