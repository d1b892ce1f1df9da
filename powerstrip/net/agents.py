"""
Twisted's HTTP clients, as they are used here.

I/O: none until one is asked.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.web.client import URI, Agent, HTTPConnectionPool, _HTTP11ClientFactory
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

__all__ = ["agent_to", "quiet_pool"]


def quiet_pool(reactor: Any, *, persistent: bool) -> HTTPConnectionPool:
    """
    A pool whose connections' comings and goings are not in the log.
    """
    pool = HTTPConnectionPool(reactor, persistent=persistent)
    pool._factory = _QuietFactory
    return pool


def agent_to(reactor: Any, endpoint: IStreamClientEndpoint) -> Agent:
    """
    A client that reaches one endpoint, whatever a URL says, by a new connection each time.
    """
    pool = quiet_pool(reactor, persistent=False)
    agent: Agent = Agent.usingEndpointFactory(reactor, _Everywhere(endpoint), pool=pool)
    return agent


class _QuietFactory(_HTTP11ClientFactory):
    noisy = False


@implementer(IAgentEndpointFactory)
class _Everywhere:
    def __init__(self, endpoint: IStreamClientEndpoint) -> None:
        self._endpoint = endpoint

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        return self._endpoint
