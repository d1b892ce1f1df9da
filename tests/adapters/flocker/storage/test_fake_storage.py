"""
The storage in memory does what the real ones do.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from powerstrip_flocker.testing import FakeStorage

from tests.adapters.flocker.storage.contract import NewHost, StorageContract


class FakeHost:
    """
    A host whose storage is in memory.
    """

    def __init__(self) -> None:
        self.storage = FakeStorage(free_bytes=2**23)

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
    def new_host(self) -> NewHost:
        return FakeHost
