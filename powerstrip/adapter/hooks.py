"""
Hooks as an adapter sees them: what Powerstrip sends, read into values, and the reply.

I/O: none but a request of Twisted's, which is read and answered. The same protocol from
Powerstrip's side is `powerstrip.core.payloads`, whose values these are.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from attrs import frozen
from twisted.web.iweb import IRequest

from powerstrip.adapter.errors import PayloadError, Refused
from powerstrip.core.payloads import PROTOCOL_VERSION, ClientRequest, ServerResponse

__all__ = [
    "ClientRequest",
    "PostHook",
    "PreHook",
    "ServerResponse",
    "answer_hook",
    "answer_json",
    "decode_hook",
    "encode_post_reply",
    "encode_pre_reply",
]

_Kind = TypeVar("_Kind")


@frozen
class PreHook:
    """
    A request that the engine has not seen yet.
    """

    request: ClientRequest


@frozen
class PostHook:
    """
    An answer of the engine's that the client has not seen yet.
    """

    request: ClientRequest
    """The client's own, as it was before any pre-hook."""

    response: ServerResponse


Before = Callable[[ClientRequest], Awaitable[ClientRequest]]
"""Makes of a request what goes to the engine, or raises `Refused`."""

After = Callable[[ClientRequest, ServerResponse], Awaitable[ServerResponse]]
"""Makes of the engine's answer what goes to the client, or raises `Refused`."""


def decode_hook(data: bytes) -> PreHook | PostHook:
    """
    Read what Powerstrip has sent.

    Raises:
        PayloadError: when it is no hook, or one of another version of the protocol.
    """
    try:
        payload = json.loads(data)
    except (ValueError, RecursionError):
        raise PayloadError("a hook is JSON in UTF-8") from None
    if not isinstance(payload, dict):
        raise PayloadError("a hook is a JSON object")
    if payload.get("PowerstripProtocolVersion") != PROTOCOL_VERSION:
        raise PayloadError(f"PowerstripProtocolVersion must be {PROTOCOL_VERSION}")
    kind = payload.get("Type")
    if kind == "pre-hook":
        return PreHook(_client_request(payload))
    if kind == "post-hook":
        return PostHook(_client_request(payload), _server_response(payload))
    raise PayloadError("Type must be pre-hook or post-hook")


def encode_pre_reply(request: ClientRequest) -> bytes:
    """
    The reply to a pre-hook: the request that goes to the engine.
    """
    members = {"Method": request.method, "Request": request.request, "Body": request.body}
    return _encode("ModifiedClientRequest", members)


def encode_post_reply(response: ServerResponse) -> bytes:
    """
    The reply to a post-hook: the answer that goes to the client.
    """
    members = {
        "ContentType": response.content_type,
        "Body": response.body,
        "Code": response.code,
    }
    return _encode("ModifiedServerResponse", members)


async def answer_hook(request: IRequest, before: Before, after: After) -> bytes:
    """
    Answer the POST of one hook.

    Args:
        before: Is given the request of a pre-hook.
        after: Is given the request and the answer of a post-hook.

    Returns:
        The body of the reply, of which the status and the headers are set.
    """

    async def reply() -> bytes:
        hook = decode_hook(request.content.read())
        if isinstance(hook, PreHook):
            return encode_pre_reply(await before(hook.request))
        return encode_post_reply(await after(hook.request, hook.response))

    return await answer_json(request, reply)


async def answer_json(request: IRequest, reply: Callable[[], Awaitable[bytes]]) -> bytes:
    """
    Answer with JSON, which is Docker's ``{"message": "…"}`` where the reply is `Refused`.
    """
    try:
        body = await reply()
    except Refused as refusal:
        request.setResponseCode(refusal.status)
        body = json.dumps({"message": str(refusal)}).encode("ascii") + b"\n"
    request.setHeader(b"Content-Type", b"application/json")
    request.setHeader(b"Content-Length", b"%d" % len(body))
    return body


def _client_request(payload: dict[str, Any]) -> ClientRequest:
    members = _object(payload, "ClientRequest")
    return ClientRequest(
        method=_value(members, "Method", str),
        request=_value(members, "Request", str),
        body=_text_or_none(members, "Body"),
    )


def _server_response(payload: dict[str, Any]) -> ServerResponse:
    members = _object(payload, "ServerResponse")
    return ServerResponse(
        content_type=_text_or_none(members, "ContentType"),
        body=_text_or_none(members, "Body"),
        code=_value(members, "Code", int),
    )


def _object(payload: dict[str, Any], name: str) -> dict[str, Any]:
    members: dict[str, Any] = _value(payload, name, dict)
    return members


def _text_or_none(members: dict[str, Any], name: str) -> str | None:
    return None if members.get(name) is None else _value(members, name, str)


def _value(members: dict[str, Any], name: str, kind: type[_Kind]) -> _Kind:
    value = members.get(name)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise PayloadError(f"{name} is missing or of the wrong type")
    return value


def _encode(name: str, members: Mapping[str, object]) -> bytes:
    return json.dumps({"PowerstripProtocolVersion": PROTOCOL_VERSION, name: members}).encode(
        "ascii"
    )
