"""
Datasets of real file systems go from node to node, over TLS.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from random import Random

import pytest
import pytest_twisted
from attrs import frozen
from powerstrip_flocker.errors import NoSpaceError, PeerError, StorageError
from powerstrip_flocker.interfaces import Snapshot
from powerstrip_flocker.storage.btrfs import BtrfsStorage
from powerstrip_flocker.storage.command import StorageReactor
from powerstrip_flocker.storage.zfs import ZfsStorage

from tests.adapters.flocker.peers.line import Line
from tests.adapters.flocker.peers.nodes import Cluster, Node
from tests.adapters.flocker.storage.on_disk import DiskHost
from tests.adapters.flocker.storage.pools import (
    BtrfsFile,
    ZfsFusePool,
    why_no_btrfs,
    why_no_zfs,
)

# pyOpenSSL's own, of a certificate that Twisted shows.
pytestmark = pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")

CUTS = 8

LAST_BYTES = 200
"""What comes after the stream, in TLS and in HTTP: a line that is cut there may be cut too late."""


@frozen
class Pair:
    """
    Two nodes with a file system each. The first has the dataset `test1`.
    """

    cluster: Cluster
    first: Node
    second: Node
    hosts: list[DiskHost]

    async def fetch(self, snapshot: Snapshot, base: Snapshot | None, limit: int | None) -> int:
        """
        Fetch over a line that is cut after so many bytes.

        Returns:
            How many there were, where it was not.
        """

        def change(before: int, data: bytes) -> bytes | None:
            if limit is not None and before + len(data) > limit:
                self.cluster.reactor.callLater(0, line.cut)
                return data[: max(0, limit - before)]
            return data

        to_port = int(self.first.port.address.rpartition(":")[2])
        line = Line(self.cluster.reactor, to_port, change)
        self.cluster.nodes.addresses["node1"] = line.open()
        base_name = None if base is None else base.name
        ledger = self.second.ledger
        entry = await ledger.get("test1")
        assert entry is not None
        claim = await ledger.claim(entry, "node2")
        try:
            peer = self.second.peer("node1")
            await peer.fetch(claim, snapshot.name, base_name, lambda *_: None)
        finally:
            await ledger.release(claim)
            await line.close()
            self.cluster.nodes.addresses["node1"] = self.first.port.address
        return line.answered_bytes


async def pair(cluster: Cluster, hosts: list[DiskHost]) -> Pair:
    first = await cluster.start("node1", hosts[0].storage)
    second = await cluster.start("node2", hosts[1].storage)
    await first.mover.have(["test1"])
    return Pair(cluster, first, second, hosts)


async def forget(host: DiskHost) -> None:
    """
    Remove what a receive that was cut has left, which zfs-fuse may be about to do by itself.
    """
    try:
        await host.storage.forget_partial("test1")
    except StorageError as error:
        if "dataset does not exist" not in str(error):
            raise


@pytest.fixture(scope="module")
def pools() -> Iterator[list[ZfsFusePool]]:
    """
    Two pools of zfs-fuse, one for each node.
    """
    reason = why_no_zfs()
    if reason is not None:
        pytest.skip(reason)
    with ZfsFusePool() as one, ZfsFusePool() as two:
        yield [one, two]


class OnDisk:
    """
    Subclasses have a fixture `nodes`: a `Pair`.
    """

    @pytest_twisted.ensureDeferred
    async def test_it_moves_back_and_forth(self, nodes: Pair) -> None:
        """
        With what each side has written.
        """
        first, second = nodes.hosts
        written = {}
        for turn in range(3):
            for here, there, node in ((first, second, nodes.second), (second, first, nodes.first)):
                written[f"file{turn}"] = Random(turn).randbytes(300_000)
                here.write("test1", f"file{turn}", written[f"file{turn}"])
                await node.mover.bring(["test1"])
                assert written == there.read("test1")
                assert not await here.storage.is_writable("test1")

    @pytest_twisted.ensureDeferred
    async def test_a_stream_that_was_cut_leaves_what_there_was(self, nodes: Pair) -> None:
        """
        At any byte: nothing where there was nothing, and the replica as it was.
        """
        first, second = nodes.hosts
        random = Random(11)
        base: Snapshot | None = None
        for turn in range(2):
            content = random.randbytes(1_000_000)
            first.write("test1", f"file{turn}", content)
            newest = await first.storage.snapshot("test1", f"s{turn}")
            total = await nodes.fetch(newest, base, None)
            if base is None:
                await second.storage.destroy("test1")
            else:
                await second.storage.roll_back("test1", base.name)
            limits = [random.randrange(3000, total - LAST_BYTES) for _ in range(CUTS - 2)]
            for limit in (*limits, total - LAST_BYTES, total - LAST_BYTES - 100):
                with pytest.raises(PeerError):
                    await nodes.fetch(newest, base, limit)
                await forget(second)
                assert await second.storage.exists("test1") is (base is not None)
                if base is not None:
                    here = await second.storage.snapshots("test1")
                    assert [it.identity for it in here] == [base.identity]
                    # As a move does: zfs-fuse is busy for a while after it was cut.
                    await second.storage.roll_back("test1", base.name)
            await nodes.fetch(newest, base, None)
            here = await second.storage.snapshots("test1")
            assert here[-1].identity == newest.identity
            base = newest
        await second.storage.set_writable("test1")
        assert first.read("test1") == second.read("test1")

    @pytest_twisted.ensureDeferred
    async def test_no_space_is_said(self, nodes: Pair) -> None:
        """
        Then it stays where it is.
        """
        first, second = nodes.hosts
        await nodes.second.mover.have(["test2"])
        for part in range(3):
            first.write("test1", f"file{part}", Random(part).randbytes(2**20 * 9))
        with suppress(OSError):
            for part in range(20):
                second.write("test2", f"file{part}", Random(part).randbytes(2**20 * 9))
        with pytest.raises(NoSpaceError):
            await nodes.second.mover.bring(["test1"])
        await forget(second)
        assert not await second.storage.exists("test1")
        await nodes.first.mover.have(["test1"])
        assert len(first.read("test1")) == 3


class TestZfs(OnDisk):
    """
    Pools of zfs-fuse.
    """

    @pytest_twisted.async_yield_fixture
    async def nodes(
        self, cluster: Cluster, reactor: StorageReactor, pools: list[ZfsFusePool]
    ) -> AsyncIterator[Pair]:
        storages = [ZfsStorage(reactor, it.name, it.enter) for it in pools]
        hosts = [
            DiskHost(storage, pool.mount_point, pool.outside(pool.mount_point), pool.enter)
            for storage, pool in zip(storages, pools, strict=True)
        ]
        yield await pair(cluster, hosts)
        await cluster.stop()
        cluster.started.clear()
        for pool in pools:
            pool.empty()


class TestBtrfs(OnDisk):
    """
    A btrfs in a file.
    """

    @pytest_twisted.async_yield_fixture
    async def nodes(self, cluster: Cluster, reactor: StorageReactor) -> AsyncIterator[Pair]:
        reason = why_no_btrfs()
        if reason is not None:
            pytest.skip(reason)
        with BtrfsFile() as one, BtrfsFile() as two:
            roots = [it.mount_point for it in (one, two)]
            hosts = [DiskHost(BtrfsStorage(reactor, it), it, it) for it in roots]
            yield await pair(cluster, hosts)
            await cluster.stop()
            cluster.started.clear()
