"""
Where nodes are found, in a real etcd and in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import pytest_twisted
from powerstrip_flocker.datasets.record import Record
from powerstrip_flocker.errors import LedgerError
from powerstrip_flocker.interfaces import INodes
from powerstrip_flocker.ledger.etcd import EtcdLedger
from powerstrip_flocker.ledger.etcd_gateway import EtcdGateway
from powerstrip_flocker.ledger.etcd_nodes import EtcdNodes
from powerstrip_flocker.ledger.testing import FakeNodes
from zope.interface.verify import verifyObject

from tests.adapters.flocker.ledger.etcd_server import EtcdServer, start_etcd


@pytest.fixture(scope="module")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdServer]:
    """
    An etcd that lets everybody in.
    """
    server = start_etcd(tmp_path_factory.mktemp("etcd"))
    yield server
    server.stop()


class NodesContract:
    """
    Subclasses have a fixture `nodes`, which knows none yet.
    """

    @pytest_twisted.ensureDeferred
    async def test_nodes_are_found_where_they_said(self, nodes: INodes) -> None:
        """
        The last that each has said counts; a name that begins another is not the other.
        """
        assert verifyObject(INodes, nodes)
        assert await nodes.all() == {}
        await nodes.announce("node1", "192.0.2.1:4523")
        await nodes.announce("node10", "[2001:db8::1]:4523")
        await nodes.announce("node1", "192.0.2.2:4523")
        assert await nodes.address("node1") == "192.0.2.2:4523"
        assert await nodes.address("node10") == "[2001:db8::1]:4523"
        assert await nodes.address("node") is None
        found = {"node1": "192.0.2.2:4523", "node10": "[2001:db8::1]:4523"}
        assert await nodes.all() == found


class TestFakeNodes(NodesContract):
    """
    The contract.
    """

    @pytest.fixture
    def nodes(self) -> INodes:
        return FakeNodes()


class TestEtcdNodes(NodesContract):
    """
    The contract.
    """

    @pytest.fixture
    def nodes(self, etcd: EtcdServer, reactor: Any) -> INodes:
        etcd.clear()
        return EtcdNodes(EtcdGateway(reactor, etcd.endpoints))


@pytest_twisted.ensureDeferred
async def test_nodes_and_records_are_apart(etcd: EtcdServer, reactor: Any) -> None:
    """
    In the same etcd.
    """
    etcd.clear()
    gateway = EtcdGateway(reactor, etcd.endpoints)
    nodes, ledger = EtcdNodes(gateway), EtcdLedger(reactor, gateway)
    await nodes.announce("node1", "192.0.2.1:4523")
    await ledger.create(Record("test1", "id", "node1", 1))
    assert await nodes.all() == {"node1": "192.0.2.1:4523"}
    assert [it.record.name for it in await ledger.all()] == ["test1"]


@pytest_twisted.ensureDeferred
async def test_what_is_no_text_is_no_address(etcd: EtcdServer, reactor: Any) -> None:
    """
    It is said.
    """
    etcd.clear()
    etcd.put("/powerstrip/flocker/nodes/node1", b"\xff")
    with pytest.raises(LedgerError, match="what etcd has of the nodes can't be understood"):
        await EtcdNodes(EtcdGateway(reactor, etcd.endpoints)).all()


@pytest_twisted.ensureDeferred
async def test_a_fake_fails_when_it_is_told_to() -> None:
    """
    By each of its methods.
    """
    nodes = FakeNodes(failure=LedgerError("etcd is away"))
    for asking in (nodes.all(), nodes.address("node1"), nodes.announce("node1", "h:1")):
        with pytest.raises(LedgerError, match="etcd is away"):
            await asking
    assert nodes.addresses == {}
