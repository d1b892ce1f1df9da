"""
Messages as hooks changed them: what they left alone stays as it came, byte for byte.

Sans-I/O: heads and values in, bytes out.
"""

from __future__ import annotations

from attrs import frozen

from powerstrip.core.answers import status_line
from powerstrip.core.endpoints import RoutedPath
from powerstrip.core.http1 import Head, RequestHead, ResponseHead, decode_chunked
from powerstrip.core.payloads import ClientRequest, ServerResponse

_BODILESS = (204, 304)


@frozen
class RequestMessage:
    """
    A request that goes to the engine.
    """

    head: bytes
    body: bytes | None
    """As it stands on the wire, or None where the client's streams on."""


def payload(head: Head, held: bytes) -> bytes:
    """
    A held body without what frames it.
    """
    if not held:
        return held  # an answer to HEAD has no chunks, whatever its head says
    return decode_chunked(held) if head.is_chunked else held


def shown_target(target: bytes, path: RoutedPath) -> str:
    """
    Path and query as hooks are shown them: the path in the spelling that the engine routes on.
    """
    raw_path, question_mark, query = target.partition(b"?")
    if raw_path.decode("utf-8", "surrogateescape") != path.path:
        raw_path = path.canonical.encode("ascii")
    return (raw_path + question_mark + query).decode("utf-8", "surrogateescape")


def rewrite_request(
    head: RequestHead, held: bytes | None, asked: ClientRequest, wanted: ClientRequest
) -> RequestMessage:
    """
    Make the request that the engine gets.

    Args:
        head: The client's.
        held: The client's body as it came, or None where it streams on.
        asked: What the first hook was shown.
        wanted: What the last hook made of it.
    """
    changes: dict[bytes, bytes | None] = {}
    start_line = head.start_line
    if wanted.request != asked.request:
        version = head.minor_version
        start_line = f"{head.method} {wanted.request} HTTP/1.{version}".encode("ascii")
    if held is not None and head.expects_continue:
        changes[b"expect"] = None  # the client was told to go on already
    if wanted.body != asked.body:
        held = (wanted.body or "").encode("utf-8")
        changes |= _length_of(held)
        if held and head.value(b"content-type") is None:
            changes[b"content-type"] = b"application/json"
    if not changes and start_line == head.start_line:
        return RequestMessage(head.raw, held)
    return RequestMessage(head.rewritten(start_line, changes), held)


def rewrite_response(
    head: ResponseHead, method: str, held: bytes, shown: ServerResponse, wanted: ServerResponse
) -> tuple[ResponseHead, bytes]:
    """
    Make the answer that the client gets of one whose body is held.

    Args:
        head: The engine's.
        method: The request's.
        held: The whole body, as it came.
        shown: What the first hook was shown.
        wanted: What the last hook made of it.

    Returns:
        The head, and the body as it stands on the wire.
    """
    if wanted == shown:
        return head, held
    changes = _changed_type(shown, wanted)
    body = payload(head, held)
    if wanted.body != shown.body:
        body = (wanted.body or "").encode("utf-8")
    if wanted.code in _BODILESS:
        body = b""
        changes |= {b"content-length": None, b"transfer-encoding": None}
    elif method == "HEAD":
        body = b""
    else:
        changes |= _length_of(body)
    return _rewritten(head, wanted.code, changes), body


def rewrite_response_head(
    head: ResponseHead, shown: ServerResponse, wanted: ServerResponse
) -> ResponseHead:
    """
    Make the head that the client gets of an answer whose body streams on, and is framed as it was.
    """
    code = head.status if wanted.code in _BODILESS else wanted.code
    changes = _changed_type(shown, wanted)
    if code == head.status and not changes:
        return head
    return _rewritten(head, code, changes)


def _changed_type(shown: ServerResponse, wanted: ServerResponse) -> dict[bytes, bytes | None]:
    if wanted.content_type is None or wanted.content_type == shown.content_type:
        return {}
    return {b"content-type": wanted.content_type.encode("ascii")}


def _length_of(body: bytes) -> dict[bytes, bytes | None]:
    return {
        b"content-length": b"%d" % len(body),
        b"transfer-encoding": None,
        b"trailer": None,
    }


def _rewritten(head: ResponseHead, code: int, changes: dict[bytes, bytes | None]) -> ResponseHead:
    start_line = head.start_line
    if code != head.status:
        start_line = status_line(code).encode("ascii")
    return ResponseHead.parse(head.rewritten(start_line, changes))
