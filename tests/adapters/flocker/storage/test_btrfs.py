"""
Datasets on a real btrfs, in a file.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import pytest_twisted
from powerstrip_flocker.errors import StorageError
from powerstrip_flocker.storage.btrfs import BtrfsStorage
from powerstrip_flocker.storage.command import StorageReactor
from twisted.internet.defer import Deferred

from tests.adapters.flocker.storage.contract import NewHost, StorageContract
from tests.adapters.flocker.storage.pools import BtrfsFile, why_no_btrfs
from tests.adapters.flocker.storage.using import container_with, process_in


class BtrfsHost:
    """
    A host whose storage is a btrfs of its own.
    """

    def __init__(self, reactor: StorageReactor, file: BtrfsFile) -> None:
        self._reactor = reactor
        self._file = file
        self.storage = BtrfsStorage(reactor, file.mount_point)

    def read(self, name: str) -> dict[str, bytes]:
        return {it.name: it.read_bytes() for it in self.storage.mount_point(name).iterdir()}

    def write(self, name: str, file: str, content: bytes) -> None:
        if not self.storage.mount_point(name).is_mount():
            raise OSError(f"{name} is not mounted")
        with (self.storage.mount_point(name) / file).open("wb") as opened:
            opened.write(content)

    def using(self, name: str) -> AbstractContextManager[None]:
        return process_in(self.storage.mount_point(name))

    def reboot(self) -> None:
        self._file.reboot()
        self.storage = BtrfsStorage(self._reactor, self._file.mount_point)


@pytest.fixture
def hosts(reactor: StorageReactor) -> Iterator[list[BtrfsHost]]:
    reason = why_no_btrfs()
    if reason is not None:
        pytest.skip(reason)
    with BtrfsFile() as one, BtrfsFile() as two:
        hosts = [BtrfsHost(reactor, file) for file in (one, two)]
        for host in hosts:
            pytest_twisted.blockon(Deferred.fromCoroutine(host.storage.start()))
        yield hosts


class TestBtrfs(StorageContract):
    @pytest.fixture
    def new_host(self, hosts: list[BtrfsHost]) -> NewHost:
        return iter(hosts).__next__


@pytest.mark.parametrize("inside", ["data", "test1"])
@pytest_twisted.ensureDeferred
async def test_what_a_container_has_mounted_is_not_fenced(
    hosts: list[BtrfsHost], inside: str
) -> None:
    """
    It has it in a mount namespace of its own, at the same path or at another one.
    """
    storage = hosts[0].storage
    await storage.create("test1")
    path = storage.mount_point("test1")
    with container_with(path, path.parent / inside):
        with pytest.raises(StorageError, match=f"test1 is in use: .*sleep.* at .*{inside}"):
            await storage.fence("test1")
        assert await storage.is_writable("test1")
        hosts[0].write("test1", "file", b"hello")
    await storage.fence("test1")
    assert not await storage.is_writable("test1")


@pytest_twisted.ensureDeferred
async def test_what_a_crash_left_of_a_destruction_goes_at_the_start(
    hosts: list[BtrfsHost],
) -> None:
    """
    The dataset is gone, and one of its name can be made.
    """
    storage = hosts[0].storage
    await storage.create("test1")
    await storage.snapshot("test1", "s1")
    await storage.fence("test1")
    home = storage.mount_point("test1").parent / ":datasets" / "test1"
    home.rename(home.with_name("test1:destroying"))
    await storage.start()
    assert await storage.names() == []
    assert list(home.parent.iterdir()) == []


@pytest_twisted.ensureDeferred
async def test_a_directory_elsewhere_is_refused(reactor: StorageReactor, tmp_path: Path) -> None:
    """
    The error names it.
    """
    with pytest.raises(StorageError, match=f"{tmp_path} is not on btrfs"):
        await BtrfsStorage(reactor, tmp_path).start()
