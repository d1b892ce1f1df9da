"""
What an adapter is posted by its own command.

I/O: none but a request of Twisted's, which is read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from twisted.web.iweb import IRequest

from powerstrip.adapter.errors import Refused

__all__ = ["posted_json"]


def posted_json(request: IRequest, example: str) -> Mapping[str, Any]:
    """
    The members of the JSON object in a request's body, none where there is no body.

    A browser can be made to post to this machine, but not JSON, unless it is let to (CORS).

    Args:
        example: Of what is wanted, for the sentence.

    Raises:
        Refused: 415 for another type of body, 400 for what is no object.
    """
    content_type = request.requestHeaders.getRawHeaders(b"content-type", [b""])[0]
    if content_type.partition(b";")[0].strip().lower() != b"application/json":
        raise Refused(415, "the body must be application/json")
    body = request.content.read()
    try:
        said = json.loads(body) if body else {}
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict):
        raise Refused(400, f"the body must be JSON such as {example}")
    return said
