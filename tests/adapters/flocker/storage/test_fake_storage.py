"""
The storage in memory does what the real ones do.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import pytest_twisted
from powerstrip_flocker.testing import FakeStorage

from tests.adapters.flocker.storage.contract import NewHost, StorageContract


class FakeHost:
    """
    A host whose storage is in memory.
    """

    def __init__(self, directory: Path) -> None:
        self.storage = FakeStorage(free_bytes=2**23, directory=directory)

    def read(self, name: str) -> dict[str, bytes]:
        return self.storage.read(name)

    def write(self, name: str, file: str, content: bytes) -> None:
        self.storage.write(name, file, content)

    def make_directory(self, name: str) -> None:
        self.storage.make_directory(name)

    @contextmanager
    def using(self, name: str) -> Iterator[None]:
        self.storage.busy.add(name)
        yield
        self.storage.busy.remove(name)

    def reboot(self) -> None:
        self.storage.reboot()


class TestFakeStorage(StorageContract):
    @pytest.fixture
    def new_host(self, tmp_path_factory: pytest.TempPathFactory) -> NewHost:
        return lambda: FakeHost(tmp_path_factory.mktemp("storage"))


@pytest_twisted.ensureDeferred
async def test_no_directory_is_made_where_no_command_is_asked_for() -> None:
    """
    Tests that make thousands of storages in memory leave nothing on disk, even when killed.
    """
    storage = FakeStorage()
    await storage.create("test1")
    await storage.snapshot("test1", "s1")
    await storage.forget_partial("test1")
    other = FakeStorage()
    other.received("test1", None, storage.sent("test1", "s1", None))
    await other.start()
    assert (storage.directory, other.directory) == (None, None)
