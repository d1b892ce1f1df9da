"""
The hook lane: what happens to a request that hooks see, from top to bottom.

I/O: through a `HookedExchange`. What hooks are shown and may change is decided in the core.
"""

from __future__ import annotations

from collections.abc import Sequence

from twisted.web.proxy import ReverseProxyResource
from twisted.web.server import NOT_DONE_YET

from powerstrip.core.bodies import (
    holds_response_body,
    request_text,
    response_text,
    shows_request_body,
)
from powerstrip.core.chain import Chain
from powerstrip.core.config import Adapter
from powerstrip.core.endpoints import RoutedPath
from powerstrip.core.hijack import leaves_http
from powerstrip.core.http1 import ResponseHead
from powerstrip.core.parameters import check_parameters
from powerstrip.core.payloads import ClientRequest, ServerResponse
from powerstrip.core.rewrite import (
    payload,
    rewrite_request,
    rewrite_response,
    rewrite_response_head,
    shown_target,
)
from powerstrip.errors import BodyTooLarge
from powerstrip.interfaces import IHookClient
from powerstrip.net.hooked import HookedExchange
from powerstrip.net.reactor import Reactor


class ProxyResource(ReverseProxyResource):
    """
    Intercepts requests: runs the pre-hooks, the engine, and the post-hooks.

    Twisted's own reverse proxy is rendered when a request's whole body is in. This one is rendered
    when the head is in, so that what no hook must see streams.
    """

    isLeaf = True

    def __init__(self, hook_client: IHookClient, reactor: Reactor) -> None:
        super().__init__("docker", 0, b"", reactor)
        self._hook_client = hook_client

    def render(self, request: HookedExchange) -> int:
        """
        Begin the exchange, which answers the client itself.
        """
        request.run(self._exchange(request))
        return NOT_DONE_YET

    async def _exchange(self, exchange: HookedExchange) -> None:
        chain = Chain(self._hook_client.call, exchange.report, self.reactor.seconds)
        head, hooks = exchange.request, exchange.hooks
        path = RoutedPath.parse(head.target)
        check_parameters(head)

        held = await self._hold_request(exchange, path)
        text = request_text(payload(head, held), path) if held else None
        asked = ClientRequest(head.method, shown_target(head.target, path), text)
        streams = held is None or (bool(held) and text is None)
        wanted = await chain.before(hooks.pre, asked, streams=streams)

        message = rewrite_request(head, held, asked, wanted)
        response = await exchange.forward(message.head, message.body)

        if not hooks.post:
            self._pass_on(exchange, response)
        elif leaves_http(head, response):
            # Nothing of it can change: it is no longer HTTP.
            await chain.after(hooks.post, asked, _shown(response, None))
            exchange.tunnel(response)
        else:
            await self._answer(
                exchange, chain, asked, response, holds_response_body(path, response)
            )

    async def _hold_request(self, exchange: HookedExchange, path: RoutedPath) -> bytes | None:
        """
        Hold the request's body where hooks are to be shown it.

        Returns:
            The body as it came, or None where it is to stream on.

        Raises:
            BodyTooLarge: when it is over the bound: a hook is never skipped for that.
        """
        if not shows_request_body(exchange.request, path):
            return None
        adapter = _narrowest(exchange.hooks.pre + exchange.hooks.post)
        limit = adapter.max_body_bytes
        too_large = BodyTooLarge(
            f"the request's body is over the {limit} bytes that adapter {adapter.name} is shown"
            " (max_body)"
        )
        if (exchange.request.body().length or 0) > limit:
            raise too_large
        held, body = await exchange.read_body(limit)
        if body.payload_bytes > limit or not body.ended:
            raise too_large
        return held

    def _pass_on(self, exchange: HookedExchange, response: ResponseHead) -> None:
        if leaves_http(exchange.request, response):
            exchange.tunnel(response)
        else:
            body = response.body(exchange.request.method)
            exchange.send_response(response, response.raw, body)

    async def _answer(
        self,
        exchange: HookedExchange,
        chain: Chain,
        asked: ClientRequest,
        response: ResponseHead,
        holds: bool,
    ) -> None:
        method, post = exchange.request.method, exchange.hooks.post
        body = response.body(method)
        held = b""
        limit = _narrowest(post).max_body_bytes
        if holds:
            held = await exchange.read_response_body(body, limit)
        is_whole = holds and body.ended and body.payload_bytes <= limit
        text = response_text(payload(response, held)) if is_whole else None
        shown = _shown(response, text)
        wanted = await chain.after(post, asked, shown)
        if is_whole:
            response, held = rewrite_response(response, method, held, shown, wanted)
        else:
            response = rewrite_response_head(response, shown, wanted)
        exchange.send_response(response, response.raw + held, body)


def _shown(response: ResponseHead, text: str | None) -> ServerResponse:
    content_type = response.value(b"content-type")
    return ServerResponse(
        content_type=None if content_type is None else content_type.decode("latin-1"),
        body=text,
        code=response.status,
    )


def _narrowest(adapters: Sequence[Adapter]) -> Adapter:
    return min(adapters, key=lambda adapter: adapter.max_body_bytes)
