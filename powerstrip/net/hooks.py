"""
Calls adapters: one POST of JSON for each hook, over connections that are kept alive.

I/O: treq, with a bound on the time and on the size of a reply.
"""

from __future__ import annotations

from functools import lru_cache

from hyperlink import URL
from treq.client import HTTPClient
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.error import ConnectError, DNSLookupError
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.python.failure import Failure
from twisted.web.client import URI, Agent, HTTPConnectionPool
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgentEndpointFactory, IResponse
from zope.interface import implementer

from powerstrip.core.adapter_urls import AdapterUrl
from powerstrip.core.config import Adapter
from powerstrip.errors import (
    HookConnectError,
    HookError,
    HookRefused,
    HookReplyError,
    HookTimeout,
)
from powerstrip.interfaces import IHookClient
from powerstrip.net.agents import quiet_pool
from powerstrip.net.collecting import OverLimitError, collect
from powerstrip.net.endpoints import CONNECT_SECONDS, tcp_endpoint
from powerstrip.net.reactor import Reactor
from powerstrip.net.tls import host_tls

KEEP_ALIVE_SECONDS = 1.5
"""
How long an idle connection is kept: less than adapters' servers do (gunicorn 2 seconds, Node 5),
since a hook can't be sent again when its connection turns out to be closed.
"""

CONNECTIONS_PER_ADAPTER = 32

REPLY_OVERHEAD_BYTES = 64 * 1024
"""What a reply may have beside its body."""


_STAND_IN = "adapter"
"""Stands for the host in URLs: treq refuses names and addresses that adapters may well have."""

_Place = tuple[bool, str, int, str | None]


@implementer(IHookClient)
class HookClient:
    """
    Sends hooks to adapters.
    """

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self._clients: dict[_Place, HTTPClient] = {}
        self._pools: list[HTTPConnectionPool] = []

    async def call(self, adapter: Adapter, payload: bytes) -> bytes:
        """
        Send a hook, and give the adapter's reply (`IHookClient`).
        """
        calling = Deferred.fromCoroutine(self._post(adapter, payload))
        limit = self._reactor.callLater(adapter.timeout_seconds, calling.cancel)
        try:
            return await _cancelled_as_such(calling)
        except HookError:
            raise
        except Exception as error:
            if not limit.active():
                what = f"timed out after {adapter.timeout_seconds:g} s"
                raise HookTimeout(adapter.name, adapter.display_url, what) from None
            if isinstance(error, CancelledError):
                raise
            raise HookConnectError(adapter.name, adapter.display_url, _what_broke(error)) from error
        finally:
            if limit.active():
                limit.cancel()

    async def close(self) -> None:
        """
        Close the connections that are kept.
        """
        for pool in self._pools:
            await pool.closeCachedConnections()

    async def _post(self, adapter: Adapter, payload: bytes) -> bytes:
        location = adapter.location
        response = await self._client(location).post(
            _url(location),
            data=payload,
            headers=Headers({"Content-Type": ["application/json"], "Host": [location.authority]}),
            allow_redirects=False,
            unbuffered=True,
        )
        body = await _collect(adapter, response)
        if response.code >= 400:
            content_type = response.headers.getRawHeaders("content-type", [None])[0]
            raise HookRefused(adapter.name, adapter.display_url, response.code, content_type, body)
        if not 200 <= response.code < 300:
            what = f"answered with status {response.code}"
            raise HookReplyError(adapter.name, adapter.display_url, what)
        return body

    def _client(self, location: AdapterUrl) -> HTTPClient:
        place = (location.tls, location.host, location.port, location.socket_path)
        if place not in self._clients:
            pool = quiet_pool(self._reactor, persistent=True)
            pool.cachedConnectionTimeout = KEEP_ALIVE_SECONDS  # type: ignore[assignment]
            pool.maxPersistentPerHost = CONNECTIONS_PER_ADAPTER
            self._pools.append(pool)
            endpoints = _AdapterEndpoint(self._reactor, location)
            agent = Agent.usingEndpointFactory(self._reactor, endpoints, pool=pool)
            self._clients[place] = HTTPClient(agent)
        return self._clients[place]


class _WrittenUrl(URL):
    """
    A URL that is spelt as it is to be sent: to encode it anew takes a third of a hook's time.
    """

    def to_uri(self) -> URL:
        return self


@lru_cache
def _url(location: AdapterUrl) -> URL:
    return _WrittenUrl.from_text(
        f"{'https' if location.tls else 'http'}://{_STAND_IN}{location.target}"
    )


@implementer(IAgentEndpointFactory)
class _AdapterEndpoint:
    """
    Leads to one adapter, whatever a URL says.
    """

    def __init__(self, reactor: Reactor, location: AdapterUrl) -> None:
        self._endpoint = _endpoint(reactor, location)

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        return self._endpoint


def _endpoint(reactor: Reactor, location: AdapterUrl) -> IStreamClientEndpoint:
    if location.socket_path is not None:
        return UNIXClientEndpoint(reactor, location.socket_path, timeout=CONNECT_SECONDS)
    tls = host_tls(location.host) if location.tls else None
    return tcp_endpoint(reactor, location.host, location.port, tls)


async def _collect(adapter: Adapter, response: IResponse) -> bytes:
    # Each character of a body may take six in JSON: "\u0041".
    limit = 6 * adapter.max_body_bytes + REPLY_OVERHEAD_BYTES
    try:
        return await collect(response, limit)
    except OverLimitError:
        what = f"answered more than {limit} bytes"
        raise HookReplyError(adapter.name, adapter.display_url, what) from None


def _cancelled_as_such(calling: Deferred[bytes]) -> Deferred[bytes]:
    """
    Wait for a call, and cancel it with the waiting.

    A call that is cancelled ends in an error of the step that it was at: a failed look-up of the
    adapter's name, even. Who has cancelled the waiting is to see a `CancelledError`.
    """

    def cancel(waiting: Deferred[bytes]) -> None:
        waiting.errback(CancelledError())
        calling.cancel()

    def tell(outcome: bytes | Failure) -> None:
        if not waiting.called:
            waiting.callback(outcome)

    waiting: Deferred[bytes] = Deferred(cancel)
    calling.addBoth(tell)
    return waiting


def _what_broke(error: Exception) -> str:
    if isinstance(error, (ConnectError, DNSLookupError)):
        return f"can't be reached: {error}"
    reasons = _reasons(error)
    return f"broke off: {reasons[0].getErrorMessage() if reasons else error}"


def _reasons(error: Exception) -> list[Failure]:
    # What `twisted.web.client.ResponseFailed` and its kin wrap.
    reasons: list[Failure] = getattr(error, "reasons", [])
    return reasons
