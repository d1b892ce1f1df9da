"""
For tests of adapters, and of what calls them: hooks without a network.

I/O: none. An adapter that is one of Twisted's resources, as every Klein app is, is called in
memory, with true HTTP. The same tests hold for `FakeHookClient` as for the real client.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, cast

from treq.client import HTTPClient
from treq.testing import StubTreq
from twisted.internet.task import Clock
from twisted.web.resource import IResource, Resource, getChildForRequest
from twisted.web.server import NOT_DONE_YET, Request

from powerstrip.core.adapter_urls import AdapterUrl
from powerstrip.core.chain import Chain, HookReport
from powerstrip.core.config import Adapter
from powerstrip.core.payloads import ClientRequest, ServerResponse
from powerstrip.errors import HookConnectError
from powerstrip.net.hooks import HookClient
from powerstrip.net.reactor import Reactor

__all__ = ["FakeHookClient", "post_hook", "pre_hook"]


class FakeHookClient(HookClient):
    """
    Calls adapters in memory.
    """

    clock: Clock
    """Its time, which stands still: where it is advanced, an adapter's time may be over."""

    def __init__(self, resources: Mapping[str, IResource]) -> None:
        """
        Args:
            resources: By host, as in the adapters' URLs: who calls any other can't reach it.
        """
        self.clock = Clock()
        super().__init__(cast(Reactor, self.clock))
        self._resources = dict(resources)

    async def _post(self, adapter: Adapter, payload: bytes) -> bytes:
        host = adapter.location.host
        if host not in self._resources:
            what = "can't be reached: nothing is there"
            raise HookConnectError(adapter.name, adapter.display_url, what)
        return await super()._post(adapter, payload)

    def _client(self, location: AdapterUrl) -> HTTPClient:
        root = _Root(self._resources[location.host])
        stub = StubTreq(root)
        root.flush = stub.flush
        return cast(HTTPClient, stub)


class _Root(Resource):
    """
    Has what a resource answers later on delivered.
    """

    isLeaf = True
    flush: Any

    def __init__(self, resource: IResource) -> None:
        super().__init__()
        self._resource = resource

    def render(self, request: Request) -> int | bytes:
        answer = getChildForRequest(self._resource, request).render(request)
        if answer is NOT_DONE_YET and not request.finished:
            request.notifyFinish().addBoth(lambda _: self.flush())
        return cast("int | bytes", answer)


async def pre_hook(resource: IResource, path: str, request: ClientRequest) -> ClientRequest:
    """
    What becomes of a request that an adapter sees first.

    Args:
        path: That of the adapter's URL, such as ``/extension``.

    Raises:
        HookError: when the adapter refuses, or its reply is none.
    """
    chain, adapter = _chain(resource, path)
    return await chain.before([adapter], request, streams=False)


async def post_hook(
    resource: IResource, path: str, request: ClientRequest, response: ServerResponse
) -> ServerResponse:
    """
    What becomes of an answer of the engine's that an adapter sees before the client does.

    Args:
        path: That of the adapter's URL, such as ``/extension``.

    Raises:
        HookError: when the adapter refuses, or its reply is none.
    """
    chain, adapter = _chain(resource, path)
    return await chain.after([adapter], request, response)


def _chain(resource: IResource, path: str) -> tuple[Chain, Adapter]:
    client = FakeHookClient({"adapter": resource})
    return Chain(client.call, _ignore, time.monotonic), Adapter("adapter", f"http://adapter{path}")


def _ignore(report: HookReport) -> None:
    pass
