"""
The fake control service, on loopback with TLS, or in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from attrs import evolve, frozen
from powerstrip_flocker.control_service.exchange import ControlTls, Exchange
from powerstrip_flocker.control_service.testing import FakeControlService, UserContextFactory
from powerstrip_flocker.pem import read_authorities, read_own
from treq.testing import StubTreq
from twisted.internet.defer import maybeDeferred
from twisted.internet.task import Clock
from twisted.web.server import Site

from tests.adapters.flocker.control_service.keys import Cluster

NODES = ("11111111-0000-4000-8000-000000000001", "22222222-0000-4000-8000-000000000002")
ERA = "eeeeeeee-0000-4000-8000-00000000000e"
URL = "https://control.example/v1"


def fake(clock: Clock, **more: Any) -> FakeControlService:
    """
    One with two nodes, the first of which is this one.
    """
    hosts = dict(zip(NODES, ("192.0.2.1", "192.0.2.2"), strict=True))
    return FakeControlService(clock, hosts, {ERA: NODES[0]}, **more)


def in_memory(service: FakeControlService, clock: Clock) -> Exchange:
    """
    HTTP without a network.
    """
    return Exchange(clock, URL, cast(Any, StubTreq(service.app.resource())))


class _QuietSite(Site):
    noisy = False


@frozen
class FakeHost:
    """
    A `ControlHost` whose control service is the fake.
    """

    reactor: Any
    cluster: Cluster
    clock: Clock
    service: FakeControlService
    port: Any

    @classmethod
    def listen(
        cls, reactor: Any, cluster: Cluster, clock: Clock, user: str = "control"
    ) -> FakeHost:
        """
        Begin.

        Args:
            user: Whose certificate it has.
        """
        service = fake(clock)
        own = read_own(cluster.cert(user), cluster.key(user))
        tls = UserContextFactory(read_authorities(cluster.ca)[0], own)
        site = _QuietSite(service.app.resource())
        port = reactor.listenSSL(0, site, tls, interface="127.0.0.1")
        return cls(reactor, cluster, clock, service, port)

    @property
    def nodes(self) -> Sequence[str]:
        return NODES

    @property
    def url(self) -> str:
        """
        Its base URL: by its address, which its certificate does not have.
        """
        return f"https://127.0.0.1:{self.port.getHost().port}/v1"

    @property
    def exchange(self) -> Exchange:
        return self.by(self.tls("plugin"))

    def stranger(self) -> Exchange:
        return self.by(evolve(self.tls("plugin"), own=None))

    def by(self, tls: ControlTls) -> Exchange:
        """
        Somebody who asks with these files.
        """
        return Exchange.over_tls(self.reactor, self.url, tls)

    def tls(self, user: str) -> ControlTls:
        """
        A user's files.
        """
        return ControlTls.load(self.cluster.ca, self.cluster.cert(user), self.cluster.key(user))

    async def stop(self) -> None:
        """
        Let nobody in any more.
        """
        await maybeDeferred(self.port.stopListening)

    async def wait(self) -> None:
        self.clock.advance(1.0)
