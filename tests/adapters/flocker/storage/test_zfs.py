"""
Datasets in pools of a real zfs-fuse.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import pytest_twisted
from powerstrip_flocker.errors import StorageError
from powerstrip_flocker.storage.command import StorageReactor
from powerstrip_flocker.storage.zfs import ZfsStorage
from twisted.internet.defer import Deferred

from tests.adapters.flocker.storage.contract import NewHost, StorageContract
from tests.adapters.flocker.storage.pools import ZfsFusePool, why_no_zfs
from tests.adapters.flocker.storage.using import container_with, process_in


class ZfsHost:
    """
    A host with a pool of its own.
    """

    def __init__(self, reactor: StorageReactor, pool: ZfsFusePool) -> None:
        self.reactor = reactor
        self.pool = pool
        self.storage = ZfsStorage(reactor, pool.name, pool.enter)

    def path(self, name: str) -> Path:
        """
        Where a dataset is found from outside of the pool's namespace.
        """
        return self.pool.outside(self.storage.mount_point(name))

    def read(self, name: str) -> dict[str, bytes]:
        return {it.name: it.read_bytes() for it in self.path(name).iterdir()}

    def write(self, name: str, file: str, content: bytes) -> None:
        if not self.path(name).is_mount():
            raise OSError(f"{name} is not mounted")
        with (self.path(name) / file).open("wb") as opened:
            opened.write(content)

    def using(self, name: str) -> AbstractContextManager[None]:
        return process_in(self.storage.mount_point(name), self.pool.enter)

    def reboot(self) -> None:
        self.pool.reboot()
        self.storage = ZfsStorage(self.reactor, self.pool.name, self.pool.enter)


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
    for host in hosts:
        pytest_twisted.blockon(Deferred.fromCoroutine(host.storage.start()))
    yield hosts
    for pool in pools:
        pool.empty()


class TestZfs(StorageContract):
    @pytest.fixture
    def new_host(self, hosts: list[ZfsHost]) -> NewHost:
        return iter(hosts).__next__


@pytest.mark.parametrize("inside", ["data", "test1"])
@pytest_twisted.ensureDeferred
async def test_what_a_container_has_mounted_is_not_fenced(
    hosts: list[ZfsHost], inside: str
) -> None:
    """
    It has it in a mount namespace of its own, at the same path or at another one.
    """
    storage = hosts[0].storage
    await storage.create("test1")
    path = storage.mount_point("test1")
    with container_with(path, path.parent / inside, hosts[0].pool.enter):
        with pytest.raises(StorageError, match=f"test1 is in use: .*sleep.* at .*{inside}"):
            await storage.fence("test1")
        assert await storage.is_writable("test1")
        hosts[0].write("test1", "file", b"hello")
    await storage.fence("test1")
    assert not await storage.is_writable("test1")


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
    The error says what to do.
    """
    pool = hosts[0].pool
    pool.run("zfs", "create", "-o", "mountpoint=none", "flocker/below")
    with pytest.raises(StorageError, match="zfs set mountpoint=/flocker flocker/below"):
        await ZfsStorage(hosts[0].reactor, "flocker/below", pool.enter).start()


@pytest_twisted.ensureDeferred
async def test_a_pool_that_is_not_there_is_refused(hosts: list[ZfsHost]) -> None:
    """
    The error is what zfs says.
    """
    with pytest.raises(StorageError, match="cannot open 'nosuch': dataset does not exist"):
        await ZfsStorage(hosts[0].reactor, "nosuch", hosts[0].pool.enter).start()
