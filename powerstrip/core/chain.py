"""
The hooks of one exchange, in order: the answer of one is the input of the next.

Sans-I/O: given a way to call an adapter. What an adapter may change is decided here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from enum import Enum
from typing import TypeVar

from attrs import evolve, frozen

from powerstrip.core.config import Adapter, OnError
from powerstrip.core.payloads import (
    ClientRequest,
    ReplyError,
    RequestReply,
    ResponseReply,
    ServerResponse,
    decode_post_reply,
    decode_pre_reply,
    encode_post_hook,
    encode_pre_hook,
)
from powerstrip.core.quoting import quoted
from powerstrip.errors import HookError, HookRefused, HookReplyError

Shown = TypeVar("Shown", ClientRequest, ServerResponse)
Remarks = tuple[str, ...]


class HookKind(Enum):
    """
    On which side of the engine a hook is called.
    """

    PRE = "pre"
    POST = "post"


@frozen
class HookReport:
    """
    What one hook did, for the log.
    """

    kind: HookKind
    adapter: str
    verdict: str
    """``unchanged``, ``changed``, ``refused 403``, ``failed`` or ``ignored``."""

    seconds: float
    before: ClientRequest | ServerResponse
    after: ClientRequest | ServerResponse | None
    """What goes on, or None where the chain ended here."""

    remarks: Remarks = ()
    """Sentences for the operator: parts of the answer that were left aside, an error ignored."""


@frozen
class Chain:
    """
    Calls hooks one after another.
    """

    call: Callable[[Adapter, bytes], Awaitable[bytes]]
    """Sends an adapter its payload and gives its reply, or raises a `HookError`."""

    report: Callable[[HookReport], None]
    """Is told of each hook when it has ended, however it ended."""

    clock: Callable[[], float]
    """Seconds, monotonic."""

    async def before(
        self, adapters: Sequence[Adapter], request: ClientRequest, *, streams: bool
    ) -> ClientRequest:
        """
        Run the pre-hooks, and return the request that goes to the engine.

        Args:
            streams: Whether the request has a body that hooks are not shown, which goes on as is.

        Raises:
            HookError: when an adapter refuses, or fails and is not configured to be ignored then.
        """
        for adapter in adapters:
            request = await self._hook(
                HookKind.PRE,
                adapter,
                encode_pre_hook(request),
                request,
                lambda shown, data: modified_request(shown, decode_pre_reply(data), streams),
            )
        return request

    async def after(
        self, adapters: Sequence[Adapter], request: ClientRequest, response: ServerResponse
    ) -> ServerResponse:
        """
        Run the post-hooks, and return the answer that goes to the client.

        Args:
            request: The client's own.
            response: The engine's, with a body of None where it is not shown.

        Raises:
            HookError: when an adapter refuses, or fails and is not configured to be ignored then.
        """
        for adapter in adapters:
            response = await self._hook(
                HookKind.POST,
                adapter,
                encode_post_hook(request, response),
                response,
                lambda shown, data: modified_response(shown, decode_post_reply(data)),
            )
        return response

    async def _hook(
        self,
        kind: HookKind,
        adapter: Adapter,
        payload: bytes,
        shown: Shown,
        decide: Callable[[Shown, bytes], tuple[Shown, Remarks]],
    ) -> Shown:
        started = self.clock()

        def report(verdict: str, after: Shown | None, remarks: Remarks) -> None:
            seconds = self.clock() - started
            self.report(HookReport(kind, adapter.name, verdict, seconds, shown, after, remarks))

        try:
            value, remarks = await self._decision(adapter, payload, shown, decide)
        except HookError as error:
            if _is_ignored(adapter, error):
                report("ignored", shown, (str(error),))
                return shown
            refused = isinstance(error, HookRefused)
            report(f"refused {error.status}" if refused else "failed", None, (str(error),))
            raise
        report("unchanged" if value == shown else "changed", value, remarks)
        return value

    async def _decision(
        self,
        adapter: Adapter,
        payload: bytes,
        shown: Shown,
        decide: Callable[[Shown, bytes], tuple[Shown, Remarks]],
    ) -> tuple[Shown, Remarks]:
        reply = await self.call(adapter, payload)
        try:
            return decide(shown, reply)
        except ReplyError as error:
            raise HookReplyError(adapter.name, adapter.display_url, str(error)) from error


def modified_request(
    shown: ClientRequest, reply: RequestReply, streams: bool
) -> tuple[ClientRequest, Remarks]:
    """
    What a pre-hook's answer makes of the request: its query and its body may change.

    Another method or path is left aside, so that the endpoint that matched is the one that runs:
    ClusterHQ's own flocker adapter answers with its own URL there.

    Raises:
        ReplyError: for a query that can't stand in a request line.
    """
    remarks = []
    request = shown.request
    if reply.method not in (None, shown.method):
        remarks.append(f"another method in the answer is left aside: {quoted(reply.method)}")
    if reply.request not in (None, shown.request):
        path = reply.request.partition("?")[0]  # a query may hold a secret: build arguments
        if path != shown.request.partition("?")[0]:
            remarks.append(f"another path in the answer is left aside: {quoted(path)}")
        elif not _stands_in_request_line(reply.request):
            raise ReplyError("answered a Request that can't stand in a request line")
        else:
            request = reply.request
    body = reply.body or None
    if streams:
        if body is not None:
            remarks.append("a Body in the answer is left aside: the client's streams on")
        body = None
    return ClientRequest(shown.method, request, body), tuple(remarks)


def modified_response(
    shown: ServerResponse, reply: ResponseReply
) -> tuple[ServerResponse, Remarks]:
    """
    What a post-hook's answer makes of the engine's: type, body and status may change.

    Raises:
        ReplyError: for a status that can't end an exchange, or a type that can't stand in a header.
    """
    if reply.code not in (None, shown.code) and reply.code < 200:
        raise ReplyError(f"answered {reply.code} as the Code of a last answer")
    if reply.content_type not in (None, shown.content_type) and not _is_plain(reply.content_type):
        raise ReplyError("answered a ContentType that can't stand in a header")
    remarks: Remarks = ()
    body: str | None = reply.body or ""
    if shown.body is None:
        if body:
            remarks = ("a Body in the answer is left aside: the engine's is not held",)
        body = None
    changed = evolve(
        shown,
        body=body,
        content_type=shown.content_type if reply.content_type is None else reply.content_type,
        code=shown.code if reply.code is None else reply.code,
    )
    return changed, remarks


def _is_ignored(adapter: Adapter, error: HookError) -> bool:
    # A refusal is a decision, which stands; a 5xx is an adapter that failed.
    decided = isinstance(error, HookRefused) and error.status < 500
    return adapter.on_error is OnError.IGNORE and not decided


def _stands_in_request_line(request: str) -> bool:
    # Nor may a client send a "#": parsers differ on whether the query ends there (`RoutedPath`).
    return _is_plain(request) and " " not in request and "#" not in request


def _is_plain(text: str) -> bool:
    return text.isascii() and text.isprintable()
