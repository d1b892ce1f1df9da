"""
Datasets on a real btrfs, in a file.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import pytest_twisted
from powerstrip_flocker.errors import StorageError
from powerstrip_flocker.storage.btrfs import BtrfsStorage
from powerstrip_flocker.storage.command import StorageReactor

from tests.adapters.flocker.storage.on_disk import DiskContract, DiskHost, start
from tests.adapters.flocker.storage.pools import BtrfsFile, BtrfsFileElsewhere, why_no_btrfs


class BtrfsHost(DiskHost):
    """
    A host whose storage is a btrfs of its own.
    """

    def __init__(self, reactor: StorageReactor, file: BtrfsFile) -> None:
        self._reactor = reactor
        self._file = file
        outside = file.root / file.mount_point.relative_to("/")
        super().__init__(self._storage(), file.mount_point, outside, file.enter)

    def reboot(self) -> None:
        self._file.reboot()
        self.storage = self._storage()

    def _storage(self) -> BtrfsStorage:
        file = self._file
        return BtrfsStorage(self._reactor, file.mount_point, file.enter, file.root)


def made(reactor: StorageReactor, kind: type[BtrfsFile]) -> Iterator[list[BtrfsHost]]:
    """
    Two hosts, started, while they are used.
    """
    reason = why_no_btrfs()
    if reason is not None:
        pytest.skip(reason)
    with kind() as one, kind() as two:
        hosts = [BtrfsHost(reactor, file) for file in (one, two)]
        start(hosts)
        yield hosts


@pytest.fixture
def hosts(reactor: StorageReactor) -> Iterator[list[BtrfsHost]]:
    yield from made(reactor, BtrfsFile)


class TestBtrfs(DiskContract):
    """
    All that is promised, on btrfs.
    """


class TestBtrfsElsewhere(DiskContract):
    """
    The same, for an adapter that doesn't see it mounted: as in a container.
    """

    @pytest.fixture
    def hosts(self, reactor: StorageReactor) -> Iterator[list[BtrfsHost]]:
        yield from made(reactor, BtrfsFileElsewhere)


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


def make_subvolumes_in(host: BtrfsHost, name: str) -> Path:
    """
    Make a subvolume inside of a dataset, and one inside of that.
    """
    inner = host.root / name / "some where" / "inner"
    inner.parent.mkdir()
    for path in (inner, inner / "innermost"):
        subprocess.run(["btrfs", "subvolume", "create", str(path)], check=True, capture_output=True)
    return inner


@pytest.mark.parametrize("is_fenced", [False, True])
@pytest_twisted.ensureDeferred
async def test_a_dataset_with_subvolumes_inside_is_destroyed(
    hosts: list[BtrfsHost], is_fenced: bool
) -> None:
    """
    They go with it, also when it is read-only.
    """
    storage = hosts[0].storage
    await storage.create("test1")
    await storage.snapshot("test1", "s1")
    make_subvolumes_in(hosts[0], "test1")
    if is_fenced:
        await storage.fence("test1")
    await storage.destroy("test1")
    assert not await storage.exists("test1")
    assert list((hosts[0].root / ":datasets").iterdir()) == []


@pytest_twisted.ensureDeferred
async def test_what_a_snapshot_would_leave_out_is_not_lost(hosts: list[BtrfsHost]) -> None:
    """
    There is no snapshot of a dataset with subvolumes inside, fenced or not; the error names them.
    """
    storage = hosts[0].storage
    await storage.create("test1")
    inner = make_subvolumes_in(hosts[0], "test1")
    (inner / "file").write_bytes(b"hello")
    with pytest.raises(StorageError, match=r"test1, .*: some where/inner$"):
        await storage.snapshot("test1", "s1")
    await storage.fence("test1")
    with pytest.raises(StorageError, match=r"test1, .*: some where/inner$"):
        await storage.snapshot("test1", "s1")
    assert await storage.snapshots("test1") == []
    await storage.set_writable("test1")
    assert (inner / "file").read_bytes() == b"hello"


@pytest_twisted.ensureDeferred
async def test_a_directory_elsewhere_is_refused(reactor: StorageReactor, tmp_path: Path) -> None:
    """
    The error names it.
    """
    with pytest.raises(StorageError, match=f"{tmp_path} is not on btrfs"):
        await BtrfsStorage(reactor, tmp_path).start()
