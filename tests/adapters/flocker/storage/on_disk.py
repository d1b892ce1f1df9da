"""
What the storages on real file systems have in common: hosts of them, and what they promise beyond.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import pytest_twisted
from powerstrip_flocker.errors import StorageError
from powerstrip_flocker.interfaces import IStorage
from twisted.internet.defer import Deferred

from tests.adapters.flocker.storage.contract import NewHost, StorageContract
from tests.adapters.flocker.storage.using import (
    container_with,
    make_directory,
    process_in,
    thread_with,
)


class DiskHost:
    """
    A host whose storage is below a directory.

    Args:
        root: The directory, as commands that `enter` leads have it.
        outside: The same directory, for others.
    """

    def __init__(
        self, storage: IStorage, root: Path, outside: Path, enter: Sequence[str] = ()
    ) -> None:
        self.storage = storage
        self.root = root
        self.outside = outside
        self.enter = enter

    def read(self, name: str) -> dict[str, bytes]:
        return {it.name: it.read_bytes() for it in (self.outside / name).iterdir()}

    def write(self, name: str, file: str, content: bytes) -> None:
        (self.outside / name / file).write_bytes(content)

    def make_directory(self, name: str) -> None:
        make_directory(self.root / name / "below", self.enter)

    def using(self, name: str) -> AbstractContextManager[None]:
        return process_in(self.root / name, self.enter)

    def container(self, name: str, inside: str) -> AbstractContextManager[None]:
        """
        Have a container with a dataset, which sees it beside where it is here.
        """
        return container_with(self.root / name, self.root / inside, self.enter)

    def thread(self, name: str, inside: str) -> AbstractContextManager[None]:
        """
        Have a process of which one thread has a dataset, as the engine copies into a container.
        """
        return thread_with(self.root / name, self.root / inside, self.enter)

    def made(self) -> set[str]:
        """
        What is in the directory.
        """
        return {it.name for it in self.outside.iterdir() if it.name != ":datasets"}


def start(hosts: Sequence[DiskHost]) -> None:
    for host in hosts:
        pytest_twisted.blockon(Deferred.fromCoroutine(host.storage.start()))


class DiskContract(StorageContract):
    """
    Subclasses have a fixture `hosts`: two of them, started.
    """

    @pytest.fixture
    def new_host(self, hosts: list[DiskHost]) -> NewHost:
        return iter(hosts).__next__

    @pytest.mark.parametrize("inside", ["data", "test1"])
    @pytest_twisted.ensureDeferred
    async def test_what_a_container_has_mounted_is_not_fenced(
        self, hosts: list[DiskHost], inside: str
    ) -> None:
        """
        It has it in a mount namespace of its own, at the same path or at another one.
        """
        storage = hosts[0].storage
        await storage.create("test1")
        with hosts[0].container("test1", inside):
            with pytest.raises(StorageError, match=f"test1 is in use: .*sleep.* at .*{inside}"):
                await storage.fence("test1")
            assert await storage.is_writable("test1")
            hosts[0].write("test1", "file", b"hello")
        await storage.fence("test1")
        assert not await storage.is_writable("test1")

    @pytest_twisted.ensureDeferred
    async def test_what_a_thread_alone_has_mounted_is_not_fenced(
        self, hosts: list[DiskHost]
    ) -> None:
        """
        No other thread of its process sees it.
        """
        storage = hosts[0].storage
        await storage.create("test1")
        with hosts[0].thread("test1", "data"):
            with pytest.raises(StorageError, match=r"test1 is in use: .*python.* at .*data"):
                await storage.fence("test1")
            assert await storage.is_writable("test1")
        await storage.fence("test1")
        assert not await storage.is_writable("test1")

    @pytest_twisted.ensureDeferred
    async def test_nothing_is_left_where_a_destroyed_dataset_was(
        self, hosts: list[DiskHost]
    ) -> None:
        """
        Nor after a crash in the middle of its destruction, when the storage has started again.
        """
        host = hosts[0]
        before = host.made()
        await host.storage.create("test1")
        assert host.made() == before | {"test1"}
        await host.storage.destroy("test1")
        assert host.made() == before
        (host.outside / ":mounted" / "test1").mkdir()
        (host.outside / "test1").symlink_to(":mounted/test1/data")
        await host.storage.start()
        assert host.made() == before
        assert list((host.outside / ":mounted").iterdir()) == []

    @pytest_twisted.ensureDeferred
    async def test_what_an_engine_made_before_is_replaced(self, hosts: list[DiskHost]) -> None:
        """
        It made an empty directory where the dataset is to be.
        """
        (hosts[0].outside / "test1").mkdir()
        await hosts[0].storage.create("test1")
        hosts[0].write("test1", "file", b"hello")
        await hosts[0].storage.fence("test1")
        with pytest.raises(OSError, match="test1"):
            hosts[0].make_directory("test1")

    @pytest_twisted.ensureDeferred
    async def test_what_was_written_there_before_stays(self, hosts: list[DiskHost]) -> None:
        """
        The error names what is in the way, and no dataset is made.
        """
        in_the_way = hosts[0].outside / "test1"
        in_the_way.mkdir()
        (in_the_way / "file").write_bytes(b"hello")
        with pytest.raises(StorageError, match="test1"):
            await hosts[0].storage.create("test1")
        assert await hosts[0].storage.names() == []
        assert hosts[0].read("test1") == {"file": b"hello"}
        (in_the_way / "file").unlink()
        in_the_way.rmdir()
