"""
What one node asks another over TLS, and what it is told when that can't be.
"""

from __future__ import annotations

import pytest
import pytest_twisted
from powerstrip_flocker.interfaces import IPeer
from powerstrip_flocker.testing import FakeStorage
from zope.interface.verify import verifyObject

from tests.adapters.flocker.peers.nodes import Cluster, Node

# pyOpenSSL's own, of a certificate that Twisted shows.
pytestmark = pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")


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
