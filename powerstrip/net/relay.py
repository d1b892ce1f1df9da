"""
The pass lane: an exchange that no hook sees.

I/O: head, body and answer go on as they came; the heads are read to know where the bodies end.
"""

from __future__ import annotations

from powerstrip.core.hijack import leaves_http
from powerstrip.core.http1 import ResponseHead
from powerstrip.net.exchange import Exchange
from powerstrip.net.upstream import Upstream


class PassExchange(Exchange):
    """
    Passes a request and its answer.
    """

    __slots__ = ()

    lane = "pass"

    def begin(self, upstream: Upstream) -> None:
        """
        Send the request on.
        """
        self.send_request(self.request.raw, self.request.body(), upstream)

    def response_came(self, response: ResponseHead) -> None:
        if leaves_http(self.request, response):
            self.tunnel(response)
        else:
            self.send_response(response, response.raw, response.body(self.request.method))
