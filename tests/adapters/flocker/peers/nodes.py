"""
Nodes that speak over real connections: each with storage and ledger of its own, in memory unless a
test has others.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attrs import define, field
from powerstrip_flocker.datasets.keeper import Keeper
from powerstrip_flocker.datasets.move import Mover
from powerstrip_flocker.ledger.testing import FakeLedger, FakeNodes, FakeStore
from powerstrip_flocker.peers.addresses import parse_peer_address
from powerstrip_flocker.peers.client import HttpPeer
from powerstrip_flocker.peers.port import PeerPort
from powerstrip_flocker.peers.server import PeerResource
from powerstrip_flocker.peers.tls import PeerTls
from powerstrip_flocker.testing import FakeStorage
from twisted.internet.interfaces import IReactorTime


@define
class Uses:
    """
    What a test says uses a dataset.
    """

    users: list[str] = field(factory=list)

    async def containers(self, name: str) -> Sequence[str]:
        return self.users

    def expect(self, name: str) -> None:
        pass


@define
class Shell(FakeStorage):
    """
    A storage whose commands a test gives, for ``sh``.
    """

    send: str = "exit 1"
    receive: str = "exit 1"
    expected_bytes: int | None = None

    def sending(self, name: str, snapshot: str, base: str | None) -> Sequence[str]:
        return ("sh", "-c", self.send)

    def receiving(self, name: str, base: str | None) -> Sequence[str]:
        return ("sh", "-c", self.receive)

    async def estimate_bytes(self, name: str, snapshot: str, base: str | None) -> int | None:
        return self.expected_bytes


def load(keys: Path, node: str) -> PeerTls:
    """
    A node's files, as `make_keys` has made them.
    """
    return PeerTls.load(*(keys / node / f"{it}.pem" for it in ("ca", "cert", "key")))


@define(eq=False, slots=False)
class Node:
    """
    One of them.
    """

    name: str
    reactor: Any
    tls: PeerTls | None
    nodes: FakeNodes
    storage: Any
    ledger: FakeLedger
    uses: Uses = field(factory=Uses)
    silence_seconds: float = 15.0

    def __attrs_post_init__(self) -> None:
        clock: IReactorTime = self.reactor
        self.keeper = Keeper(self.name, self.storage, self.ledger, self.uses, clock)
        self.mover = Mover(self.keeper, self.peer)
        self.resource = PeerResource(self.reactor, self.name, self.keeper, self.mover, self.storage)
        address = parse_peer_address("127.0.0.1:0")
        self.port = PeerPort(self.reactor, address, self.resource, self.tls)

    def peer(self, node: str) -> HttpPeer:
        return HttpPeer(
            self.reactor, node, self.nodes, self.storage, self.tls, self.silence_seconds
        )

    async def start(self) -> None:
        self.port.open()
        await self.nodes.announce(self.name, self.port.address)
        await self.keeper.start()
        self.resource.open()

    async def stop(self) -> None:
        await self.port.close()
        await self.keeper.stop()


@define(eq=False)
class Cluster:
    """
    All of them.
    """

    reactor: Any
    keys: Path | None
    nodes: FakeNodes = field(factory=FakeNodes)
    store: FakeStore = field(factory=FakeStore)
    started: list[Node] = field(factory=list)

    async def start(self, name: str, storage: Any, silence_seconds: float = 15.0) -> Node:
        tls = None if self.keys is None else load(self.keys, name)
        ledger = FakeLedger(self.store)
        node = Node(name, self.reactor, tls, self.nodes, storage, ledger)
        node.silence_seconds = silence_seconds
        self.started.append(node)
        await node.start()
        return node

    async def stop(self) -> None:
        for node in self.started:
            await node.stop()
