"""
The contract of the control service's API, on the fake and, where one is named, on a real one; and
what is said of one that can't be asked.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest
import pytest_twisted
from attrs import evolve, field, frozen
from powerstrip_flocker.control_service.client import ControlServiceClient
from powerstrip_flocker.control_service.exchange import (
    ANSWER_SECONDS,
    ControlAnswerLost,
    ControlRefused,
    ControlServiceError,
    ControlTls,
    Exchange,
)
from treq.testing import StubTreq
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock, deferLater
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from tests.adapters.flocker.control_service.contract import ControlServiceContract
from tests.adapters.flocker.control_service.keys import Cluster
from tests.adapters.flocker.control_service.server import URL, FakeHost

# Twisted's own, of a certificate that it shows.
pytestmark = pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")

REAL_URL = os.environ.get("FLOCKER_CONTROL_SERVICE_BASE_URL")
REAL_FILES = [
    Path(os.environ.get(f"FLOCKER_CONTROL_SERVICE_{it}", "/")) for it in ("CA", "CERT", "KEY")
]
"""``cluster.crt``, and a user's ``NAME.crt`` and ``NAME.key``."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    return Cluster.make(tmp_path_factory.mktemp("cluster"))


@pytest_twisted.async_yield_fixture
async def fake_host(reactor: Any, cluster: Cluster) -> AsyncIterator[FakeHost]:
    host = FakeHost.listen(reactor, cluster, Clock())
    yield host
    await host.stop()


class TestFakeControlService(ControlServiceContract):
    """
    Over TLS, on loopback.
    """

    @pytest.fixture(params=[1.0, 15.0])
    def host(self, fake_host: FakeHost, request: pytest.FixtureRequest) -> FakeHost:
        fake_host.service.lag_seconds = request.param
        return fake_host


@frozen
class RealHost:
    """
    The control service of a cluster of at least two nodes, which is there for tests.
    """

    reactor: Any
    nodes: list[str] = field(factory=list)

    @property
    def exchange(self) -> Exchange:
        return Exchange.over_tls(self.reactor, str(REAL_URL), ControlTls.load(*REAL_FILES))

    def stranger(self) -> Exchange:
        tls = evolve(ControlTls.load(*REAL_FILES), own=None)
        return Exchange.over_tls(self.reactor, str(REAL_URL), tls)

    async def wait(self) -> None:
        await deferLater(self.reactor, 1.0)


@pytest.mark.skipif(REAL_URL is None, reason="FLOCKER_CONTROL_SERVICE_BASE_URL names none")
class TestRealControlService(ControlServiceContract):
    """
    As the environment says, with ``FLOCKER_CONTROL_SERVICE_CA``, ``…_CERT`` and ``…_KEY``.
    """

    @pytest_twisted.async_yield_fixture
    async def host(self, reactor: Any) -> AsyncIterator[RealHost]:
        host = RealHost(reactor)
        nodes = await ControlServiceClient(host.exchange).nodes()
        host.nodes.extend(it.uuid for it in nodes[:2])
        yield host


async def sentence_of(exchange: Exchange) -> str:
    """
    What is said when the version can't be asked for.
    """
    with pytest.raises(ControlServiceError) as failed:
        await exchange.ask("GET", "/version")
    assert not isinstance(failed.value, ControlRefused)
    return str(failed.value)


@pytest_twisted.ensureDeferred
async def test_a_node_is_no_user(fake_host: FakeHost) -> None:
    """
    Its certificate is the cluster's too, and not let in.
    """
    fake_host.cluster.sign("node", "node-11111111")
    assert "TLS has failed" in await sentence_of(fake_host.by(fake_host.tls("node")))


@pytest.mark.parametrize("hosts", [None, ["node2.example"], ["127.0.0.1"]])
@pytest_twisted.ensureDeferred
async def test_another_of_the_cluster_is_not_believed(
    reactor: Any, cluster: Cluster, hosts: list[str] | None
) -> None:
    """
    Only a control service's certificate has its name: a node that stood in its place has none, and
    by what address it is reached is nothing to go by.
    """
    cluster.sign("node2", "node-22222222", hosts)
    host = FakeHost.listen(reactor, cluster, Clock(), user="node2")
    try:
        assert "not that of a control service" in await sentence_of(host.exchange)
    finally:
        await host.stop()


@pytest_twisted.ensureDeferred
async def test_another_cluster_is_not_believed(fake_host: FakeHost, tmp_path: Path) -> None:
    """
    Its certificates are signed by another.
    """
    other = Cluster.make(tmp_path / "other")
    tls = ControlTls.load(other.ca, other.cert("plugin"), other.key("plugin"))
    assert "not that of a control service of this cluster" in await sentence_of(fake_host.by(tls))


@pytest_twisted.ensureDeferred
async def test_one_that_is_not_there_is_said(fake_host: FakeHost) -> None:
    """
    Nothing can have happened.
    """
    exchange = fake_host.exchange
    await fake_host.stop()
    assert "can't be asked" in await sentence_of(exchange)


@pytest_twisted.ensureDeferred
async def test_one_that_hangs_up_leaves_a_doubt(reactor: Any, cluster: Cluster) -> None:
    """
    What it was asked for may have happened.
    """

    class HangUp(Protocol):
        def dataReceived(self, data: bytes) -> None:
            self.transport.loseConnection()  # type: ignore[union-attr]

    host = FakeHost.listen(reactor, cluster, Clock())
    factory = Factory.forProtocol(HangUp)
    factory.noisy = False
    host.port.factory.wrappedFactory = factory
    try:
        with pytest.raises(ControlAnswerLost, match="hung up"):
            await host.exchange.ask("POST", "/configuration/datasets", {})
    finally:
        await host.stop()


class _Silent(Resource):
    isLeaf = True

    def render(self, request: Any) -> int:
        return NOT_DONE_YET


def test_one_that_says_nothing_leaves_a_doubt() -> None:
    """
    It is waited for as long as is bearable.
    """
    clock = Clock()
    exchange = Exchange(clock, URL, cast(Any, StubTreq(_Silent())))
    asking = Deferred.fromCoroutine(exchange.ask("GET", "/version"))
    clock.advance(ANSWER_SECONDS)
    failure = asking.result
    asking.addErrback(lambda _: None)
    assert "no answer within 10 s" in failure.getErrorMessage()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "url",
    [
        "http://control:4523/v1",
        "control:4523",
        "https:///v1",
        "https://user:secret@control/v1",
        "https://control:port/v1",
    ],
)
def test_what_is_no_url_is_said(url: str) -> None:
    """
    The sentence shows one.
    """
    with pytest.raises(ControlServiceError, match="such as https://control:4523/v1"):
        Exchange(Clock(), url, None)  # type: ignore[arg-type]


def test_tls_files_that_are_no_good_are_said(tmp_path: Path, cluster: Cluster) -> None:
    """
    The sentence names the file.
    """
    missing = tmp_path / "missing.crt"
    with pytest.raises(ControlServiceError, match=r"missing\.crt"):
        ControlTls.load(missing, cluster.cert("plugin"), cluster.key("plugin"))
    with pytest.raises(ControlServiceError, match=r"control\.key is not the key of"):
        ControlTls.load(cluster.ca, cluster.cert("plugin"), cluster.key("control"))
