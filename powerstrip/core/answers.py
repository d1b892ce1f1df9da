"""
The answers that come from Powerstrip itself, in Docker's own form, which every client prints.

Sans-I/O: an error in, the bytes of a response out.
"""

from __future__ import annotations

import json
from http import HTTPStatus

from powerstrip.errors import HookRefused, PowerstripError


def error_answer(error: PowerstripError, method: str) -> bytes:
    """
    The response for an error: ``{"message": "powerstrip: …"}``, or an adapter's refusal as it is.

    The connection closes after it: a part of the request may still be on its way.

    Args:
        method: The request's: an answer to HEAD has no body.
    """
    if isinstance(error, HookRefused):
        body, content_type = error.body, _header_value(error.content_type) or "text/plain"
    else:
        message = {"message": f"powerstrip: {error}"}
        body, content_type = json.dumps(message).encode("ascii") + b"\n", "application/json"
    head = (
        f"{status_line(error.status)}\r\n"
        f"Content-Type: {content_type}\r\n"
        f"Content-Length: {len(body)}\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode("ascii") + (b"" if method == "HEAD" else body)


def _header_value(text: str | None) -> str | None:
    return text if text is not None and text.isascii() and text.isprintable() else None


def status_line(status: int) -> str:
    """
    The first line of a response, with the phrase that RFC 9110 gives the status, if it gives one.
    """
    try:
        return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"HTTP/1.1 {status} "
