"""
One request and its response, as both lanes move them.

I/O: two directions at once, since an engine may answer while a request still uploads. The exchange
has ended when both have. What a lane does on the way is in `relay` and `hooked`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from powerstrip.core.chain import HookReport
from powerstrip.core.http1 import Body, RequestHead, ResponseHead, UntilCloseBody
from powerstrip.errors import PowerstripError, UpstreamProtocolError

if TYPE_CHECKING:
    from powerstrip.net.downstream import Downstream
    from powerstrip.net.upstream import Upstream


class Exchange:
    """
    Moves a request to the engine, and the answer to the client.
    """

    __slots__ = (
        "_closes",
        "_request_ended",
        "_response_ended",
        "_tunnelled",
        "connection",
        "over",
        "request",
        "request_body",
        "response_body",
        "started",
        "status",
        "upstream",
    )

    lane: str

    def __init__(self, connection: Downstream, request: RequestHead, started: float) -> None:
        """
        Args:
            started: When its head was in, in seconds.
        """
        self.connection = connection
        self.request = request
        self.started = started
        self.request_body: Body | None = None
        self.response_body: Body | None = None
        self.status: int | None = None
        """That of the head that the client was sent, or None before."""

        self.upstream: Upstream | None = None
        """The connection that the exchange runs on, once the request goes there."""

        self.over = False
        self._request_ended = False
        self._response_ended = False
        self._tunnelled = False
        self._closes = False

    @property
    def hook_reports(self) -> tuple[HookReport, ...]:
        """
        What its hooks did so far.
        """
        return ()

    @property
    def awaits_hooks(self) -> bool:
        """
        Whether adapters are at work for a client that was told nothing yet.
        """
        return False

    # What a lane does

    def send_request(self, head: bytes, body: Body, upstream: Upstream) -> None:
        """
        Send a head on, and the body that follows it as it comes.
        """
        self.upstream = upstream
        self.request_body = body
        upstream.reader.read_head(self._head_came)
        if body.ended:
            self._request_ended = True
            upstream.stream.write(head)
        else:
            self.connection.reader.relay_body(body, upstream.stream, self._end_request, first=head)
        if self.connection.reader.has_ended:
            self._tell_earlier_end()

    def send_held_request(self, message: bytes, upstream: Upstream) -> None:
        """
        Send a head and its whole body.
        """
        self.upstream = upstream
        upstream.reader.read_head(self._head_came)
        self._request_ended = True
        upstream.stream.write(message)
        self._tell_earlier_end()

    def response_came(self, response: ResponseHead) -> None:
        """
        Deal with the engine's answer, whose head is in.
        """
        raise NotImplementedError

    def send_response(self, response: ResponseHead, first: bytes, body: Body) -> None:
        """
        Send the client a head, and the body that follows it as it comes.

        Args:
            response: What the client is told.
            first: Its bytes, and those of the body that are here.
            body: What is still to come.
        """
        self.status = response.status
        self._closes = self._closes or response.closes or isinstance(body, UntilCloseBody)
        self.response_body = body
        assert self.upstream is not None
        self.upstream.reader.relay_body(
            body, self.connection.stream, self._end_response, first=first
        )

    def tunnel(self, response: ResponseHead) -> None:
        """
        Send the client the head after which the connection is no longer HTTP, and join the sides.
        """
        self._tunnelled = True
        request_has_ended, self._request_ended = self._request_ended, False
        self.send_response(response, response.raw, UntilCloseBody())
        if request_has_ended and not self.over:
            self._tunnel_request()

    def fail(self, error: PowerstripError) -> None:
        """
        End the exchange with an error, which the client is told if it was told nothing yet.
        """
        if self.over:
            return
        if self.status is not None:
            self.abandon(str(error))
            return
        self.status = error.status
        self._finish(closes=True, error=error)

    def abandon(self, why: str) -> None:
        """
        End the exchange at once: nothing more can be told to the client.
        """
        if not self.over:
            self.over = True
            self.connection.exchange_abandoned(self, why)

    # What happens on either side

    def downstream_ended(self) -> None:
        """
        The client has half-closed, or gone.
        """
        if self.connection.stream.peer_has_gone():
            if self.upstream is not None:
                # What it has sent still counts, as it would on the engine's own socket.
                self.upstream.stream.close()
                self.connection.upstream = None
            self.abandon("the client left")
        elif self.upstream is not None and not self.connection.reader.has_pending:
            self.upstream.stream.half_close()

    def upstream_ended(self) -> None:
        """
        The engine has closed.
        """
        if self.status is None:
            self.fail(
                UpstreamProtocolError("the Docker Engine closed the connection without an answer")
            )
        elif self._response_ended:  # it did not wait for the rest of the request
            self._finish(closes=True)
        else:
            self.abandon("the engine broke off its answer")

    def upstream_write_failed(self) -> None:
        """
        The engine takes no more of the request. Its answer may be on its way.
        """
        if self._tunnelled and self._response_ended:
            self._finish(closes=True)
        elif not self._request_ended:
            self.connection.reader.discard()

    def _tell_earlier_end(self) -> None:
        # The client may have ended while there was no engine yet to be told.
        if self.connection.reader.has_ended and not self.over:
            self.downstream_ended()

    def _head_came(self, raw: bytes) -> None:
        if self.over:
            return
        log = self.connection.proxy.log
        if log.traces:
            log.response_came(self.connection, raw)
        try:
            response = ResponseHead.parse(raw)
            if response.is_interim:
                self._relay_interim(response)
            else:
                self.response_came(response)
        except PowerstripError as error:
            self.fail(error)

    def _relay_interim(self, response: ResponseHead) -> None:
        assert self.upstream is not None
        self.connection.stream.write(response.raw)
        self.upstream.reader.read_head(self._head_came)

    def _end_request(self) -> None:
        if self.over:
            return
        if self._tunnelled:
            self._tunnel_request()
            return
        self._request_ended = True
        if self._response_ended:
            self._finish()

    def _tunnel_request(self) -> None:
        assert self.upstream is not None
        body = self.request_body = UntilCloseBody()
        self.connection.reader.relay_body(body, self.upstream.stream, self._end_tunnel_request)

    def _end_tunnel_request(self) -> None:
        if self.over:
            return
        self._request_ended = True
        assert self.upstream is not None
        if self._response_ended or self.connection.stream.peer_has_gone():
            self._finish(closes=True)
        else:
            self.upstream.stream.half_close()
            self.connection.watch()

    def _end_response(self) -> None:
        if self.over:
            return
        self._response_ended = True
        assert self.upstream is not None
        if self._tunnelled and not self._request_ended:
            if self.upstream.stream.peer_has_gone():
                self._finish(closes=True)
            else:
                self.connection.stream.half_close()
        elif self._request_ended or self._closes:
            self._finish()
        elif self.upstream.reader.has_ended:  # while hooks were at work
            self._finish(closes=True)

    def _finish(self, *, closes: bool = False, error: PowerstripError | None = None) -> None:
        if not self.over:
            self.over = True
            self.connection.exchange_ended(self, closes=closes or self._closes, error=error)
