"""
What one node asks another over TLS, and what it is told when that can't be.
"""

from __future__ import annotations

from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from attrs import evolve
from powerstrip_flocker.errors import (
    ConflictError,
    FlockerError,
    InUseError,
    LedgerError,
    PeerError,
    StorageError,
)
from powerstrip_flocker.interfaces import Claim, IPeer
from powerstrip_flocker.peers.addresses import parse_peer_address
from powerstrip_flocker.peers.keys import make_keys
from powerstrip_flocker.peers.port import PeerPort
from powerstrip_flocker.peers.tls import PeerTls
from powerstrip_flocker.testing import FakeStorage
from treq.client import HTTPClient
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import Certificate, optionsForClientTLS, trustRootFromCertificates
from twisted.internet.task import deferLater
from twisted.web.client import Agent, HTTPConnectionPool
from zope.interface.verify import verifyObject

from powerstrip.listening import ListenError
from tests.adapters.flocker.peers.nodes import Cluster, Node, load

# pyOpenSSL's own, of a certificate that Twisted shows.
pytestmark = pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")


NO_CLAIM = Claim("test1", "node2", "0")

FETCH = b'{"name": "a", "node": "node2", "token": "0", %b}'


async def claim_of(node: Node) -> Claim:
    """
    Have a node move `test1`.
    """
    entry = await node.ledger.get("test1")
    assert entry is not None
    return await node.ledger.claim(entry, node.name)


async def two(cluster: Cluster, silence_seconds: float = 15.0) -> tuple[Node, Node]:
    """
    Two nodes, of which the first has the dataset `test1`.
    """
    one, other = FakeStorage(), FakeStorage()
    first = await cluster.start("node1", one, silence_seconds)
    second = await cluster.start("node2", other, silence_seconds)
    await first.mover.have(["test1"])
    one.write("test1", "file", b"hello")
    return first, second


@pytest_twisted.ensureDeferred
async def test_a_dataset_moves_and_comes_back(cluster: Cluster) -> None:
    """
    With what is in it, by the real move, over real connections.
    """
    first, second = await two(cluster)
    assert verifyObject(IPeer, second.peer("node1"))
    for origin, target in [(first, second), (second, first)] * 2:
        await target.mover.bring(["test1"])
        assert target.storage.read("test1") == {"file": b"hello"}
        assert await target.storage.is_writable("test1")
        assert not await origin.storage.is_writable("test1")


@pytest_twisted.ensureDeferred
async def test_it_moves_in_the_clear_too(reactor: Any) -> None:
    """
    On loopback.
    """
    cluster = Cluster(reactor, None)
    try:
        _, second = await two(cluster)
        await second.mover.bring(["test1"])
        assert second.storage.read("test1") == {"file": b"hello"}
    finally:
        await cluster.stop()


@pytest_twisted.ensureDeferred
async def test_a_node_is_told_to_bring(cluster: Cluster) -> None:
    """
    And to forget, and to look.
    """
    first, second = await two(cluster)
    await first.peer("node2").bring("test1")
    assert second.storage.read("test1") == {"file": b"hello"}
    await first.peer("node2").look("test1")
    assert await second.storage.is_writable("test1")
    await second.mover.destroy("test1")
    assert not await first.storage.exists("test1")


@pytest_twisted.ensureDeferred
async def test_errors_are_raised_as_they_were(cluster: Cluster) -> None:
    """
    Of their class, with their text, and of which node they speak.
    """
    first, second = await two(cluster)
    first.uses.users = ["web"]
    with pytest.raises(InUseError) as raised:
        await second.mover.bring(["test1"])
    assert str(raised.value) == "test1 is used by web on node1"
    first.uses.users = []
    first.storage.busy.add("test1")
    with pytest.raises(StorageError, match=r"^node1: .*test1"):
        await second.mover.bring(["test1"])
    claim = await claim_of(second)
    with pytest.raises(StorageError, match="there is no snapshot any"):
        await second.peer("node1").fetch(claim, "any", None, lambda *_: None)
    first.ledger.failure = LedgerError("etcd is away")
    with pytest.raises(LedgerError, match=r"^etcd is away$"):
        await second.peer("node1").look("test1")


@pytest_twisted.ensureDeferred
async def test_what_nobody_expected_is_in_the_log_there(
    cluster: Cluster, logged_failures: Any
) -> None:
    """
    The node that asked is not told more, and does not take the other for dead.
    """
    first, second = await two(cluster)
    first.ledger.failure = ZeroDivisionError("oh")
    with pytest.raises(FlockerError, match=r"^node1 has failed: its log says how$") as raised:
        await second.peer("node1").look("test1")
    assert type(raised.value) is FlockerError
    assert len(logged_failures.flush(ZeroDivisionError)) == 1
    first.ledger.failure = None


@pytest_twisted.ensureDeferred
async def test_a_node_that_is_starting_says_so(cluster: Cluster) -> None:
    """
    It is not dead, so that nobody promotes a replica of what it owns.
    """
    first, second = await two(cluster)
    first.resource._is_open = False
    with pytest.raises(ConflictError, match="node1 is starting or stopping: try again"):
        await second.peer("node1").look("test1")
    with pytest.raises(ConflictError, match="node1 is starting or stopping: try again"):
        await second.peer("node1").fetch(NO_CLAIM, "any", None, lambda *_: None)


@pytest_twisted.ensureDeferred
async def test_only_its_node_has_a_claim_fenced(cluster: Cluster) -> None:
    """
    Another one, of the same CA, is refused by its certificate.
    """
    first, second = await two(cluster)
    third = await cluster.start("node3", FakeStorage())
    claim = await claim_of(second)
    for method in (third.peer("node1").prepare, third.peer("node1").fence):
        with pytest.raises(FlockerError, match="node3 can't have test1 moved to node2"):
            await method(claim)
    assert await first.storage.is_writable("test1")
    assert len(await second.peer("node1").prepare(claim)) == 1
    assert len(await second.peer("node1").fence(claim)) == 2
    assert not await first.storage.is_writable("test1")


@pytest_twisted.ensureDeferred
async def test_only_who_moves_a_dataset_is_sent_it(cluster: Cluster) -> None:
    """
    Not another node of the same CA, nor one whose move is over, nor by a node that owns it no more.
    """
    _, second = await two(cluster)
    third = await cluster.start("node3", FakeStorage())
    claim = await claim_of(second)
    (snapshot,) = await second.peer("node1").prepare(claim)

    def fetch(node: Node, claim: Claim, owner: str = "node1") -> Awaitable[None]:
        return node.peer(owner).fetch(claim, snapshot.name, None, lambda *_: None)

    with pytest.raises(FlockerError, match="node3 can't have test1 moved to node2"):
        await fetch(third, claim)
    with pytest.raises(ConflictError, match="the move of test1 to node3 has ended"):
        await fetch(third, evolve(claim, node="node3"))
    with pytest.raises(ConflictError, match="test1 does not belong to node3"):
        await fetch(second, claim, owner="node3")
    assert not await third.storage.exists("test1")
    await fetch(second, claim)
    assert [snapshot] == list(await second.storage.snapshots("test1"))
    await second.storage.destroy("test1")
    await second.ledger.release(claim)
    with pytest.raises(ConflictError, match="the move of test1 to node2 has ended"):
        await fetch(second, claim)
    assert not await second.storage.exists("test1")


@pytest_twisted.ensureDeferred
async def test_a_ledger_that_takes_long_is_no_silence(cluster: Cluster, reactor: Any) -> None:
    """
    The owner asks it before it sends anything.
    """
    first, second = await two(cluster, silence_seconds=1.5)
    claim = await claim_of(second)
    (snapshot,) = await second.peer("node1").prepare(claim)

    async def gate(method: str) -> None:
        await deferLater(reactor, 0.8, lambda: None)

    first.ledger.gate = gate
    await second.peer("node1").fetch(claim, snapshot.name, None, lambda *_: None)
    assert [snapshot] == list(await second.storage.snapshots("test1"))


@pytest_twisted.ensureDeferred
async def test_a_node_that_never_was_is_said(cluster: Cluster) -> None:
    """
    So is one that is there no more.
    """
    _, second = await two(cluster)
    with pytest.raises(PeerError, match="node9 has never said where other nodes reach it"):
        await second.peer("node9").look("test1")
    second.nodes.addresses["node8"] = "127.0.0.1:1"
    with pytest.raises(PeerError, match=r"node8 at 127\.0\.0\.1:1: it can't be reached: .*refused"):
        await second.peer("node8").look("test1")
    second.nodes.addresses["node7"] = "nonsense"
    with pytest.raises(FlockerError, match="nonsense"):
        await second.peer("node7").look("test1")


@pytest_twisted.ensureDeferred
async def test_what_is_no_node_is_said(cluster: Cluster, reactor: Any) -> None:
    """
    A silent one is given up after a while.
    """
    _, second = await two(cluster, silence_seconds=0.3)
    factory = Factory()
    factory.noisy = False
    factory.buildProtocol = lambda _: Protocol()  # type: ignore[method-assign]
    port = reactor.listenTCP(0, factory, interface="127.0.0.1")
    second.nodes.addresses["node1"] = f"127.0.0.1:{port.getHost().port}"
    began = reactor.seconds()
    try:
        with pytest.raises(PeerError, match=r"it has given no sign of life for 0\.3 s"):
            await second.peer("node1").look("test1")
        with pytest.raises(PeerError, match="no sign of life"):
            await second.peer("node1").fetch(NO_CLAIM, "any", None, lambda *_: None)
        assert reactor.seconds() - began < 5
    finally:
        await port.stopListening()


@pytest_twisted.ensureDeferred
async def test_who_takes_long_and_lives_is_waited_for(cluster: Cluster, reactor: Any) -> None:
    """
    The bound is one on silence.
    """
    first, second = await two(cluster, silence_seconds=1.5)

    async def gate(method: str) -> None:
        await deferLater(reactor, 1.2, lambda: None)

    first.ledger.gate = gate
    await second.peer("node1").look("test1")
    first.ledger.gate = None


@pytest_twisted.ensureDeferred
async def test_a_call_can_be_cancelled(cluster: Cluster, reactor: Any) -> None:
    """
    At each of its moments, and nothing is logged.
    """
    first, second = await two(cluster)
    opening = Deferred[None]()

    async def gate(method: str) -> None:
        await opening

    first.ledger.gate = gate
    for seconds in (0, 0.001, 0.01, 0.1, 0.3):
        looking = Deferred.fromCoroutine(second.peer("node1").look("test1"))
        await deferLater(reactor, seconds, lambda: None)
        looking.cancel()
        # Until it is connected, Twisted may say that the other side's name could not be looked up.
        with pytest.raises(CancelledError if seconds == 0.3 else (CancelledError, PeerError)):
            await looking
    opening.callback(None)


@pytest_twisted.ensureDeferred
async def test_a_ca_that_is_not_ours_has_no_nodes(
    cluster: Cluster, tmp_path: Path, keys: Path
) -> None:
    """
    Neither side believes the other.
    """
    _, second = await two(cluster)
    make_keys(tmp_path, ["node1", "node2"])
    peer = second.peer("node1")
    peer._tls = load(tmp_path, "node2")
    with pytest.raises(PeerError, match=r"no certificate of node1 that .*ca\.pem has signed"):
        await peer.look("test1")
    # It believes the other side, and shows what is not of its CA.
    ours = load(keys, "node2")
    peer._tls = evolve(ours, own=load(tmp_path, "node2")._own)
    with pytest.raises(PeerError, match="it does not let this node in by its certificate"):
        await peer.look("test1")


@pytest_twisted.ensureDeferred
async def test_another_node_is_not_taken_for_the_one(cluster: Cluster) -> None:
    """
    Though it is one of the same CA, and is found where the one should be.
    """
    first, second = await two(cluster)
    second.nodes.addresses["node3"] = first.port.address
    with pytest.raises(PeerError, match=r"no certificate of node3 that .*ca\.pem has signed"):
        await second.peer("node3").look("test1")


@pytest_twisted.ensureDeferred
async def test_who_shows_no_certificate_is_not_let_in(cluster: Cluster, keys: Path) -> None:
    """
    Nor who speaks in the clear.
    """
    _, second = await two(cluster)
    peer = second.peer("node1")
    root = trustRootFromCertificates([Certificate.loadPEM((keys / "ca.pem").read_bytes())])

    class Nobody:
        ca = keys / "ca.pem"

        def client(self, node: str) -> Any:
            return optionsForClientTLS(node, trustRoot=root)

    peer._tls = Nobody()  # type: ignore[assignment]
    with pytest.raises(PeerError, match="it does not let this node in by its certificate"):
        await peer.look("test1")
    peer._tls = None
    with pytest.raises(PeerError, match="it has hung up"):
        await peer.look("test1")


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/peer/burn", b'{"name": "test1"}', 404),
        ("/", b'{"name": "test1"}', 404),
        ("/v1/peer/look", b"", 400),
        ("/v1/peer/look", b"[" * 9000, 400),
        ("/v1/peer/look", b'{"name": "../etc"}', 400),
        ("/v1/peer/look", b'{"name": "test1", "more": ""}', 400),
        ("/v1/peer/look", b'{"name": 1}', 400),
        ("/v1/peer/fetch", FETCH % b'"snapshot": "../b", "base": null', 400),
        ("/v1/peer/fetch", FETCH % b'"snapshot": "b", "base": "-c"', 400),
        ("/v1/peer/fetch", FETCH % b'"snapshot": "b", "base": "c/d"', 400),
        ("/v1/peer/fetch", b'{"name": "a", "snapshot": "b", "base": null}', 400),
    ],
)
@pytest_twisted.ensureDeferred
async def test_what_no_node_asks_is_refused(
    reactor: Any, path: str, body: bytes, status: int
) -> None:
    """
    Nothing is done for it.
    """
    cluster = Cluster(reactor, None)
    try:
        node = await cluster.start("node1", FakeStorage())
        agent = Agent(reactor, pool=HTTPConnectionPool(reactor, persistent=False))
        url = f"http://{node.port.address}{path}"
        answer = await HTTPClient(agent).post(url, data=body)
        assert answer.code == status
        await answer.content()
        assert node.storage.calls == []
    finally:
        await cluster.stop()


def test_all_the_network_is_let_in_by_tls_alone(reactor: Any) -> None:
    """
    Unless the operator says otherwise.
    """
    somewhere, loopback = parse_peer_address("0.0.0.0:0"), parse_peer_address("[::1]:0")
    resource: Any = None
    with pytest.raises(FlockerError, match="--insecure-peers allows that"):
        PeerPort(reactor, somewhere, resource, None)
    assert PeerPort(reactor, somewhere, resource, None, insecure=True).address == "0.0.0.0:0"
    assert PeerPort(reactor, loopback, resource, None).address == "[::1]:0"


@pytest_twisted.ensureDeferred
async def test_a_port_that_is_taken_is_said(cluster: Cluster, reactor: Any) -> None:
    """
    As the end of the start.
    """
    node = await cluster.start("node1", FakeStorage())
    port = PeerPort(reactor, parse_peer_address(node.port.address), node.resource, None)
    with pytest.raises(ListenError, match=r"--peer-listen 127\.0\.0\.1:\d+: Address already"):
        port.open()


@pytest.mark.parametrize("text", ["", "node1", "node1:", "a b:1", "unix:///x", "h:99999", "::1:4"])
def test_what_is_no_address_is_said(text: str) -> None:
    """
    A port is part of it.
    """
    with pytest.raises(FlockerError):
        parse_peer_address(text)


def test_files_that_do_not_fit_are_said(tmp_path: Path, keys: Path) -> None:
    """
    By name.
    """
    node1, node2 = keys / "node1", keys / "node2"
    with pytest.raises(FlockerError, match=r"key\.pem is not the key of .*cert\.pem"):
        PeerTls.load(node1 / "ca.pem", node1 / "cert.pem", node2 / "key.pem")
    with pytest.raises(FlockerError, match="none can't be read: No such file"):
        PeerTls.load(tmp_path / "none", node1 / "cert.pem", node1 / "key.pem")
