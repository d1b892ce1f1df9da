"""
Datasets in pools of a real zfs-fuse.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import pytest_twisted
from powerstrip_flocker.errors import StorageError
from powerstrip_flocker.options import check_root
from powerstrip_flocker.storage.command import StorageReactor
from powerstrip_flocker.storage.zfs import ZfsStorage

from tests.adapters.flocker.storage.on_disk import DiskContract, DiskHost, start
from tests.adapters.flocker.storage.pools import ZfsFusePool, why_no_zfs


class ZfsHost(DiskHost):
    """
    A host with a pool of its own.
    """

    def __init__(self, reactor: StorageReactor, pool: ZfsFusePool) -> None:
        self.reactor = reactor
        self.pool = pool
        self._start()

    def reboot(self) -> None:
        self.pool.reboot()
        self._start()

    def _start(self) -> None:
        pool = self.pool
        storage = ZfsStorage(self.reactor, pool.name, pool.enter)
        super().__init__(storage, pool.mount_point, pool.outside(pool.mount_point), pool.enter)


@pytest.fixture(scope="module")
def pools() -> Iterator[list[ZfsFusePool]]:
    reason = why_no_zfs()
    if reason is not None:
        pytest.skip(reason)
    with ZfsFusePool() as one, ZfsFusePool() as two:
        yield [one, two]


@pytest.fixture
def hosts(reactor: StorageReactor, pools: list[ZfsFusePool]) -> Iterator[list[ZfsHost]]:
    hosts = [ZfsHost(reactor, pool) for pool in pools]
    start(hosts)
    yield hosts
    for pool in pools:
        pool.empty()


class TestZfs(DiskContract):
    """
    All that is promised, on zfs-fuse.
    """


@pytest_twisted.ensureDeferred
async def test_what_a_crash_left_of_a_receive_goes_at_the_start(hosts: list[ZfsHost]) -> None:
    """
    It never was a dataset.
    """
    hosts[0].pool.run("zfs", "create", "flocker/test1:receiving")
    assert await hosts[0].storage.names() == []
    await hosts[0].storage.start()
    assert hosts[0].pool.run("zfs", "list", "-H", "-r", "-o", "name", "flocker") == "flocker\n"


@pytest_twisted.ensureDeferred
async def test_a_pool_without_a_mount_point_is_refused(hosts: list[ZfsHost]) -> None:
    """
    The error says what to do, which the adapter takes.
    """
    pool = hosts[0].pool
    pool.run("zfs", "create", "-o", "mountpoint=none", "flocker/below")
    with pytest.raises(StorageError, match="zfs set mountpoint=/var/lib/flocker flocker/below"):
        await ZfsStorage(hosts[0].reactor, "flocker/below", pool.enter).start()
    assert check_root("/var/lib/flocker") is None


@pytest_twisted.ensureDeferred
async def test_a_pool_that_is_not_there_is_refused(hosts: list[ZfsHost]) -> None:
    """
    The error is what zfs says.
    """
    with pytest.raises(StorageError, match="cannot open 'nosuch': dataset does not exist"):
        await ZfsStorage(hosts[0].reactor, "nosuch", hosts[0].pool.enter).start()
