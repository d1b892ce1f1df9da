"""
Which answers leave HTTP: after them the connection carries a container's bytes or another protocol.

Sans-I/O. Request and response both count. A client that only asks to leave HTTP has not left it, or
it could send a request past its hooks behind an ``Upgrade`` that the engine does not follow.
"""

from __future__ import annotations

import re

from powerstrip.core.endpoints import RoutedPath
from powerstrip.core.http1 import RequestHead, ResponseHead
from powerstrip.errors import UpstreamProtocolError

# moby's routes that hijack: containers and exec (api/server/router/container), BuildKit's
# (api/server/router/session, api/server/router/grpc).
_HIJACKING = re.compile(r"/(?:containers/.+/attach(?:/ws)?|exec/.+/start|session|grpc)", re.DOTALL)
_RAW_STREAM = re.compile(rb"application/vnd\.docker\.(?:raw|multiplexed)-stream")


def leaves_http(request: RequestHead, response: ResponseHead) -> bool:
    """
    Whether the connection is a tunnel after this answer.

    The engine answers attach and exec start with ``101 UPGRADED`` if the request carries
    ``Upgrade``, else with a ``200`` whose raw stream has neither a length nor an end of its own
    (moby, ``postContainersAttach``).

    Raises:
        UpstreamProtocolError: for a ``101`` where no endpoint is known to hijack: HTTP/2 behind it
            could carry requests that no hook would see.
    """
    if response.status == 101:
        if request.value(b"upgrade") is None or not _may_hijack(request):
            raise UpstreamProtocolError("the engine left HTTP where it is not known to")
        return True
    return (
        response.status == 200
        and response.length is None
        and not response.is_chunked
        and _RAW_STREAM.match(response.value(b"content-type") or b"") is not None
        and _may_hijack(request)
    )


def _may_hijack(request: RequestHead) -> bool:
    return _HIJACKING.fullmatch(RoutedPath.parse(request.target).unversioned) is not None
