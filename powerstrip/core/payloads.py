"""
The hook protocol, version 1: what an adapter is sent, and what it may answer.

Sans-I/O: values to JSON and back. The members and their order are those of ClusterHQ's Powerstrip,
so that its adapters run unchanged; ``docs/hook-protocol.md`` describes them for adapter authors.
"""

from __future__ import annotations

import json
from typing import Any

from attrs import frozen

PROTOCOL_VERSION = 1


class ReplyError(ValueError):
    """
    A reply that is not what the protocol says; the text goes on after the adapter's name.
    """


@frozen
class ClientRequest:
    """
    A request as hooks see it.
    """

    method: str
    request: str
    """Path and query, such as ``/v1.41/containers/create?name=x``."""

    body: str | None
    """Text, or None where there is no body or it is not shown."""


@frozen
class ServerResponse:
    """
    An answer of the engine as post-hooks see it.
    """

    content_type: str | None
    body: str | None
    """Text, empty where the answer has no body, or None where it is not shown."""

    code: int


@frozen
class RequestReply:
    """
    A pre-hook's answer. What is None was not said, but for the body, which is always said.
    """

    method: str | None
    request: str | None
    body: str | None


@frozen
class ResponseReply:
    """
    A post-hook's answer. What is None was not said, but for the body, which is always said.
    """

    content_type: str | None
    body: str | None
    code: int | None


def encode_pre_hook(request: ClientRequest) -> bytes:
    """
    What a pre-hook is sent.
    """
    return _encode("pre-hook", {"ClientRequest": _client_request(request)})


def encode_post_hook(request: ClientRequest, response: ServerResponse) -> bytes:
    """
    What a post-hook is sent.

    Args:
        request: The client's own, as it came.
        response: The engine's, or what the hook before made of it.
    """
    server_response = {
        "ContentType": response.content_type,
        "Body": response.body,
        "Code": response.code,
    }
    return _encode(
        "post-hook",
        {"ClientRequest": _client_request(request), "ServerResponse": server_response},
    )


def decode_pre_reply(data: bytes) -> RequestReply:
    """
    Read a pre-hook's answer.

    Raises:
        ReplyError: when it is not one.
    """
    reply = _member(_decode(data), "ModifiedClientRequest")
    return RequestReply(
        method=_text(reply, "Method"), request=_text(reply, "Request"), body=_body(reply)
    )


def decode_post_reply(data: bytes) -> ResponseReply:
    """
    Read a post-hook's answer.

    Raises:
        ReplyError: when it is not one.
    """
    reply = _member(_decode(data), "ModifiedServerResponse")
    code = reply.get("Code")
    if code is not None and (type(code) is not int or not 100 <= code <= 599):
        raise ReplyError("answered a Code that is not a status")
    return ResponseReply(content_type=_text(reply, "ContentType"), body=_body(reply), code=code)


def _client_request(request: ClientRequest) -> dict[str, object]:
    return {"Method": request.method, "Request": request.request, "Body": request.body}


def _encode(kind: str, members: dict[str, object]) -> bytes:
    payload = {"PowerstripProtocolVersion": PROTOCOL_VERSION, "Type": kind, **members}
    return json.dumps(payload).encode("ascii")


def _decode(data: bytes) -> dict[str, Any]:
    try:
        reply = json.loads(data)
    except (ValueError, RecursionError):
        raise ReplyError("answered what is not JSON") from None
    if not isinstance(reply, dict):
        raise ReplyError("answered JSON that is not an object")
    if reply.get("PowerstripProtocolVersion", PROTOCOL_VERSION) != PROTOCOL_VERSION:
        raise ReplyError(f"answered in a protocol version other than {PROTOCOL_VERSION}")
    return reply


def _member(reply: dict[str, Any], name: str) -> dict[str, Any]:
    member = reply.get(name)
    if not isinstance(member, dict):
        raise ReplyError(f"answered without {name}")
    return member


def _text(reply: dict[str, Any], name: str) -> str | None:
    value = reply.get(name)
    if value is not None and not isinstance(value, str):
        raise ReplyError(f"answered a {name} that is not a string")
    return value


def _body(reply: dict[str, Any]) -> str | None:
    # Every adapter of the original's time answers it: the original failed where it was left out.
    if "Body" not in reply:
        raise ReplyError("answered without a Body")
    body = _text(reply, "Body")
    try:
        (body or "").encode("utf-8")
    except UnicodeEncodeError:
        raise ReplyError("answered a Body that is not Unicode text") from None
    return body
