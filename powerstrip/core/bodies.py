"""
Which bodies a hook is shown, and which go by it.

Sans-I/O. A body that a hook must see is held, within a bound. Archives and endless answers can't
be, and what is secret may not be: they are announced with ``Body: null`` and stream on untouched.
"""

from __future__ import annotations

import re

from powerstrip.core.endpoints import RoutedPath
from powerstrip.core.http1 import RequestHead, ResponseHead
from powerstrip.core.members import check_members
from powerstrip.errors import DownstreamProtocolError

# Archives, and tunnels of their own. By endpoint and not by the client's Content-Type: a client
# can't hide a body that the engine reads as JSON by calling it a tar.
_ARCHIVES = re.compile(
    r"/(?:build|images/load|images/create|plugins/create|session|grpc"
    r"|containers/.+/(?:archive|attach))",
    re.DOTALL,
)
_ENDLESS = re.compile(
    r"/(?:events|session|grpc|images/get|images/.+/get|exec/.+/start"
    r"|containers/.+/(?:logs|stats|wait|attach|attach/ws|archive|export)"
    r"|(?:services|tasks)/.+/logs)",
    re.DOTALL,
)
_SECRET = re.compile(r"/auth")  # credentials in, a token out
_BINARY = re.compile(
    r"application/(?:x-tar|x-gzip|gzip|octet-stream|vnd\.docker\..*-stream)", re.IGNORECASE
)
_JSON = re.compile(r"application/(?:.+\+)?json", re.IGNORECASE)


def shows_request_body(head: RequestHead, path: RoutedPath) -> bool:
    """
    Whether hooks are shown this request's body.
    """
    if _SECRET.fullmatch(path.unversioned):
        return False
    return not _ARCHIVES.fullmatch(path.unversioned) or bool(
        _JSON.fullmatch(_media_type(head.value(b"content-type")))
    )


def request_text(body: bytes, path: RoutedPath) -> str | None:
    """
    The text of a request's body that hooks are shown: None where it is empty, or not JSON.

    Raises:
        DownstreamProtocolError: for JSON with more than one reading, since what a hook saw must be
            what the engine does.
    """
    if not body:
        return None
    is_json = body.lstrip(b" \t\r\n")[:1] in (b"{", b"[")
    if not is_json:
        # Go's decoder takes nothing else for a struct or a list, so this is nothing to the engine.
        return None
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        # Go puts U+FFFD in place of what is not UTF-8 and goes on.
        raise DownstreamProtocolError("the body is not UTF-8") from None
    check_members(text, path)
    return text


def holds_response_body(path: RoutedPath, response: ResponseHead) -> bool:
    """
    Whether the body of this answer can be held for post-hooks: it ends, and soon.

    An error's always can: the engine writes those as one small JSON document.
    """
    if _SECRET.fullmatch(path.unversioned):
        return False
    if response.status >= 400:
        return True
    if _ENDLESS.fullmatch(path.unversioned):
        return False
    return not _BINARY.fullmatch(_media_type(response.value(b"content-type")))


def response_text(body: bytes) -> str | None:
    """
    The text that post-hooks are shown of an answer: None where it is not text.
    """
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _media_type(content_type: bytes | None) -> str:
    return (content_type or b"").partition(b";")[0].strip(b" \t").decode("latin-1")
