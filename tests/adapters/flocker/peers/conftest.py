"""
Nodes, with and without TLS.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from powerstrip_flocker.peers.keys import make_keys

from tests.adapters.flocker.peers.nodes import Cluster


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """
    The files of three nodes.
    """
    directory = tmp_path_factory.mktemp("keys")
    make_keys(directory, ["node1", "node2", "node3"])
    return directory


@pytest_twisted.async_yield_fixture
async def cluster(reactor: Any, keys: Path) -> AsyncIterator[Cluster]:
    """
    No nodes yet; all that are started have ended when the test has.
    """
    cluster = Cluster(reactor, keys)
    yield cluster
    await cluster.stop()
