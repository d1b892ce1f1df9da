"""
What every storage promises to the adapter: one class of tests, for the fake and the real ones.
"""

from __future__ import annotations

import itertools
import os
import subprocess
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import pytest
import pytest_twisted
from powerstrip_flocker.errors import NoSpaceError, StorageError
from powerstrip_flocker.interfaces import IStorage, Snapshot
from powerstrip_flocker.storage.command import refusal
from zope.interface.verify import verifyObject


class StorageHost(Protocol):
    """
    A host that has a storage of its own.
    """

    storage: IStorage

    def read(self, name: str) -> dict[str, bytes]:
        """
        The files of a dataset that is writable.
        """

    def write(self, name: str, file: str, content: bytes) -> None:
        """
        Write a file of a dataset, as a container does.

        Raises:
            OSError: It can't be written.
        """

    def make_directory(self, name: str) -> None:
        """
        Have a directory below a dataset's mount point, made with all above it where there is none:
        what the engine does with the source of a bind.

        Raises:
            OSError: It can't be made.
        """

    def using(self, name: str) -> AbstractContextManager[object]:
        """
        Have a process that has a dataset open.
        """

    def reboot(self) -> None:
        """
        Start the host again. Its `storage` is another one then, which has not been started.
        """


NewHost = Callable[[], StorageHost]


class StorageContract:
    """
    Subclasses have a fixture `new_host`, which makes hosts whose storages have been started.
    """

    @pytest.fixture
    def host(self, new_host: NewHost) -> StorageHost:
        return new_host()

    def test_it_is_a_storage(self, host: StorageHost) -> None:
        """
        It has what a storage has.
        """
        assert verifyObject(IStorage, host.storage)

    @pytest_twisted.ensureDeferred
    async def test_a_new_dataset_is_empty_and_writable(self, host: StorageHost) -> None:
        """
        It is listed, and what is written to it can be read.
        """
        assert not await host.storage.exists("test1")
        await host.storage.create("test1")
        assert await host.storage.exists("test1")
        assert await host.storage.names() == ["test1"]
        assert await host.storage.is_writable("test1")
        assert host.read("test1") == {}
        host.write("test1", "file", b"hello")
        assert host.read("test1") == {"file": b"hello"}

    @pytest_twisted.ensureDeferred
    async def test_a_dataset_is_not_created_twice(self, host: StorageHost) -> None:
        """
        The first one stays as it is.
        """
        await host.storage.create("test1")
        host.write("test1", "file", b"hello")
        with pytest.raises(StorageError, match="test1"):
            await host.storage.create("test1")
        assert host.read("test1") == {"file": b"hello"}

    @pytest_twisted.ensureDeferred
    async def test_a_fenced_dataset_cannot_be_written(self, host: StorageHost) -> None:
        """
        It can be again, with all that was in it, when it is made writable; both may be repeated.
        """
        await host.storage.create("test1")
        host.write("test1", "file", b"hello")
        await host.storage.fence("test1")
        await host.storage.fence("test1")
        assert not await host.storage.is_writable("test1")
        with pytest.raises(OSError, match="test1"):
            host.write("test1", "file", b"late")
        await host.storage.set_writable("test1")
        await host.storage.set_writable("test1")
        assert await host.storage.is_writable("test1")
        assert host.read("test1") == {"file": b"hello"}

    @pytest_twisted.ensureDeferred
    async def test_where_a_dataset_is_not_writable_no_directory_can_be_made(
        self, new_host: NewHost
    ) -> None:
        """
        What a container wrote there would be lost. It can be made again where it is writable.
        """
        one, two = new_host(), new_host()
        await _filled(one)
        one.make_directory("test1")
        await one.storage.fence("test1")
        _refuse_directory(one)
        await one.storage.roll_back("test1", "s1")
        _refuse_directory(one)
        await one.storage.set_writable("test1")
        one.make_directory("test1")
        await one.storage.roll_back("test1", "s1")
        one.make_directory("test1")
        one.reboot()
        _refuse_directory(one)
        await one.storage.start()
        _refuse_directory(one)
        _receive(two, _sent(one, "s1"))
        _refuse_directory(two)
        await two.storage.start()
        _refuse_directory(two)
        await two.storage.set_writable("test1")
        two.make_directory("test1")

    @pytest_twisted.ensureDeferred
    async def test_what_is_in_use_is_not_fenced(self, host: StorageHost) -> None:
        """
        It stays writable, and is fenced when nobody uses it any more.
        """
        await host.storage.create("test1")
        with host.using("test1"):
            with pytest.raises(StorageError, match="test1"):
                await host.storage.fence("test1")
            assert await host.storage.is_writable("test1")
            host.write("test1", "file", b"hello")
            with pytest.raises(StorageError, match="test1"):
                await host.storage.destroy("test1")
            assert host.read("test1") == {"file": b"hello"}
        await host.storage.fence("test1")
        assert not await host.storage.is_writable("test1")

    @pytest_twisted.ensureDeferred
    async def test_nothing_is_writable_after_a_reboot(self, host: StorageHost) -> None:
        """
        Not until it is made so, be it fenced or not; then all is there.
        """
        for name in ("fenced", "owned"):
            await host.storage.create(name)
            host.write(name, "file", b"hello")
            await host.storage.snapshot(name, "s1")
        await host.storage.fence("fenced")
        host.reboot()
        await host.storage.start()
        assert await host.storage.names() == ["fenced", "owned"]
        for name in ("fenced", "owned"):
            assert not await host.storage.is_writable(name)
            with pytest.raises(OSError, match=name):
                host.write(name, "file", b"late")
            await host.storage.set_writable(name)
            assert host.read(name) == {"file": b"hello"}

    @pytest_twisted.ensureDeferred
    async def test_snapshots_are_listed_as_they_were_taken(self, host: StorageHost) -> None:
        """
        Each has another identity; names have nothing to do with their order.
        """
        await host.storage.create("test1")
        assert await host.storage.snapshots("test1") == []
        taken = [await host.storage.snapshot("test1", name) for name in ("s2", "s1", "s3")]
        assert [it.name for it in taken] == ["s2", "s1", "s3"]
        assert len({it.identity for it in taken}) == 3
        assert taken == await host.storage.snapshots("test1")

    @pytest_twisted.ensureDeferred
    async def test_a_snapshot_is_not_taken_twice(self, host: StorageHost) -> None:
        """
        Who asks again may have written since.
        """
        await host.storage.create("test1")
        taken = await host.storage.snapshot("test1", "s1")
        with pytest.raises(StorageError, match="s1"):
            await host.storage.snapshot("test1", "s1")
        assert [taken] == await host.storage.snapshots("test1")

    @pytest_twisted.ensureDeferred
    async def test_deleted_snapshots_are_gone(self, host: StorageHost) -> None:
        """
        The dataset keeps what is in it, and to delete again does nothing.
        """
        await host.storage.create("test1")
        host.write("test1", "file", b"hello")
        await host.storage.snapshot("test1", "s1")
        await host.storage.fence("test1")
        await host.storage.snapshot("test1", "s2")
        for name in ("s2", "s1", "s1"):
            await host.storage.delete_snapshot("test1", name)
        assert await host.storage.snapshots("test1") == []
        await host.storage.set_writable("test1")
        assert host.read("test1") == {"file": b"hello"}

    @pytest.mark.parametrize("is_fenced", [False, True])
    @pytest_twisted.ensureDeferred
    async def test_it_is_rolled_back(self, host: StorageHost, is_fenced: bool) -> None:
        """
        What came later is gone, snapshots too, and it is writable if it was.
        """
        await host.storage.create("test1")
        host.write("test1", "file", b"old")
        first = await host.storage.snapshot("test1", "s1")
        host.write("test1", "file", b"new")
        await host.storage.snapshot("test1", "s2")
        host.write("test1", "other", b"newer")
        if is_fenced:
            await host.storage.fence("test1")
        await host.storage.roll_back("test1", "s1")
        assert [first] == await host.storage.snapshots("test1")
        assert is_fenced is not await host.storage.is_writable("test1")
        await host.storage.set_writable("test1")
        assert host.read("test1") == {"file": b"old"}

    @pytest_twisted.ensureDeferred
    async def test_what_is_in_use_is_not_rolled_back(self, host: StorageHost) -> None:
        """
        A process would find other files than those it has opened.
        """
        await host.storage.create("test1")
        await host.storage.snapshot("test1", "s1")
        host.write("test1", "file", b"hello")
        with host.using("test1"), pytest.raises(StorageError, match="test1"):
            await host.storage.roll_back("test1", "s1")
        assert host.read("test1") == {"file": b"hello"}

    @pytest_twisted.ensureDeferred
    async def test_it_is_not_rolled_back_to_what_is_not_there(self, host: StorageHost) -> None:
        """
        Nothing is lost then.
        """
        await host.storage.create("test1")
        host.write("test1", "file", b"hello")
        with pytest.raises(StorageError, match="nosuch"):
            await host.storage.roll_back("test1", "nosuch")
        assert host.read("test1") == {"file": b"hello"}

    @pytest_twisted.ensureDeferred
    async def test_a_destroyed_dataset_is_gone(self, host: StorageHost) -> None:
        """
        One of the same name can be created, and to destroy again does nothing.
        """
        await host.storage.create("test1")
        host.write("test1", "file", b"hello")
        await host.storage.snapshot("test1", "s1")
        await host.storage.destroy("test1")
        await host.storage.destroy("test1")
        assert not await host.storage.exists("test1")
        await host.storage.create("test1")
        assert host.read("test1") == {}
        assert await host.storage.snapshots("test1") == []

    @pytest_twisted.ensureDeferred
    async def test_what_is_not_there_cannot_be_used(self, host: StorageHost) -> None:
        """
        The error names it.
        """
        for asked in (
            host.storage.set_writable("nosuch"),
            host.storage.snapshot("nosuch", "s1"),
            host.storage.snapshots("nosuch"),
            host.storage.space("nosuch"),
        ):
            with pytest.raises(StorageError, match="nosuch"):
                await asked

    @pytest_twisted.ensureDeferred
    async def test_a_received_dataset_is_a_replica(self, new_host: NewHost) -> None:
        """
        It is read-only, has the same snapshot, and all that was in it.
        """
        one, two = new_host(), new_host()
        taken = await _filled(one)
        _receive(two, _sent(one, "s1"))
        assert await two.storage.names() == ["test1"]
        assert not await two.storage.is_writable("test1")
        with pytest.raises(OSError, match="test1"):
            two.write("test1", "file", b"no")
        assert [_known(taken)] == [_known(it) for it in await two.storage.snapshots("test1")]
        await two.storage.set_writable("test1")
        assert one.read("test1") == two.read("test1")

    @pytest_twisted.ensureDeferred
    async def test_only_differences_go_back_and_forth(self, new_host: NewHost) -> None:
        """
        Each side in turn is the one that is written, and identities stay the same.
        """
        hosts = [new_host(), new_host()]
        known = [_known(await _filled(hosts[0]))]
        await hosts[0].storage.fence("test1")
        whole = _sent(hosts[0], "s1")
        _receive(hosts[1], whole)
        for turn in range(2, 7):
            one, two = hosts[(turn + 1) % 2], hosts[turn % 2]
            await one.storage.set_writable("test1")
            one.write("test1", f"file{turn}", b"%d" % turn)
            await one.storage.fence("test1")
            known.append(_known(await one.storage.snapshot("test1", f"s{turn}")))
            sent = _sent(one, f"s{turn}", f"s{turn - 1}")
            assert len(sent) < len(whole) / 10
            await two.storage.roll_back("test1", f"s{turn - 1}")
            _receive(two, sent, f"s{turn - 1}")
            assert known == [_known(it) for it in await two.storage.snapshots("test1")]
        for host in hosts:
            await host.storage.set_writable("test1")
        assert hosts[0].read("test1") == hosts[1].read("test1")
        assert {f"file{turn}" for turn in range(2, 7)} < hosts[0].read("test1").keys()

    @pytest_twisted.ensureDeferred
    async def test_a_cut_stream_leaves_nothing_new(self, new_host: NewHost) -> None:
        """
        Wherever it was cut, the dataset isn't here, and can be received then.
        """
        one, two = new_host(), new_host()
        await _filled(one)
        stream = _sent(one, "s1")
        for length in _cuts(stream):
            with pytest.raises(StorageError):
                _receive(two, stream[:length])
            await two.storage.forget_partial("test1")
            assert not await two.storage.exists("test1"), f"cut after {length} bytes"
            assert await two.storage.names() == []
        _receive(two, stream)
        await two.storage.set_writable("test1")
        assert one.read("test1") == two.read("test1")

    @pytest_twisted.ensureDeferred
    async def test_a_cut_difference_leaves_it_as_it_was(self, new_host: NewHost) -> None:
        """
        Wherever it was cut, the last snapshot is the one before, and the rest can be received.
        """
        one, two = new_host(), new_host()
        await _filled(one)
        _receive(two, _sent(one, "s1"))
        one.write("test1", "file2", b"two")
        await one.storage.snapshot("test1", "s2")
        stream = _sent(one, "s2", "s1")
        before = await two.storage.snapshots("test1")
        for length in _cuts(stream):
            with pytest.raises(StorageError):
                _receive(two, stream[:length], "s1")
            await two.storage.start()
            assert before == await two.storage.snapshots("test1"), f"cut after {length} bytes"
        _receive(two, stream, "s1")
        await two.storage.set_writable("test1")
        assert one.read("test1") == two.read("test1")

    @pytest_twisted.ensureDeferred
    async def test_a_dataset_is_not_received_over_another(self, new_host: NewHost) -> None:
        """
        The one that was here stays.
        """
        one, two = new_host(), new_host()
        await _filled(one)
        await two.storage.create("test1")
        two.write("test1", "mine", b"mine")
        with pytest.raises(StorageError, match="test1"):
            _receive(two, _sent(one, "s1"))
        await two.storage.forget_partial("test1")
        assert two.read("test1") == {"mine": b"mine"}

    @pytest_twisted.ensureDeferred
    async def test_what_was_written_since_is_not_received_over(self, new_host: NewHost) -> None:
        """
        It has to be rolled back before, and is whole then.
        """
        one, two = new_host(), new_host()
        await _filled(one)
        _receive(two, _sent(one, "s1"))
        await two.storage.set_writable("test1")
        two.write("test1", "mine", b"mine")
        await two.storage.fence("test1")
        one.write("test1", "file2", b"two")
        await one.storage.snapshot("test1", "s2")
        stream = _sent(one, "s2", "s1")
        with pytest.raises(StorageError):
            _receive(two, stream, "s1")
        await two.storage.forget_partial("test1")
        await two.storage.snapshot("test1", "mine")
        with pytest.raises(StorageError):
            _receive(two, stream, "s1")
        await two.storage.forget_partial("test1")
        await two.storage.roll_back("test1", "s1")
        _receive(two, stream, "s1")
        await two.storage.set_writable("test1")
        assert one.read("test1") == two.read("test1")

    @pytest_twisted.ensureDeferred
    async def test_what_was_rolled_back_receives_without_its_older_snapshots(
        self, new_host: NewHost
    ) -> None:
        """
        They are deleted after it: that changes nothing of what is in it.
        """
        one, two = new_host(), new_host()
        await _filled(one)
        _receive(two, _sent(one, "s1"))
        one.write("test1", "file2", b"two")
        await one.storage.snapshot("test1", "s2")
        _receive(two, _sent(one, "s2", "s1"), "s1")
        await two.storage.roll_back("test1", "s2")
        await two.storage.delete_snapshot("test1", "s1")
        one.write("test1", "file3", b"three")
        await one.storage.snapshot("test1", "s3")
        _receive(two, _sent(one, "s3", "s2"), "s2")
        assert [it.name for it in await two.storage.snapshots("test1")] == ["s2", "s3"]
        await two.storage.set_writable("test1")
        assert one.read("test1") == two.read("test1")

    @pytest_twisted.ensureDeferred
    async def test_a_replica_outlives_its_newest_snapshot(self, new_host: NewHost) -> None:
        """
        With all that is in it.
        """
        one, two = new_host(), new_host()
        await _filled(one)
        _receive(two, _sent(one, "s1"))
        one.write("test1", "file2", b"two")
        await one.storage.snapshot("test1", "s2")
        _receive(two, _sent(one, "s2", "s1"), "s1")
        await two.storage.delete_snapshot("test1", "s2")
        await two.storage.set_writable("test1")
        assert one.read("test1") == two.read("test1")

    @pytest_twisted.ensureDeferred
    async def test_what_is_not_there_is_not_sent(self, host: StorageHost) -> None:
        """
        The command fails.
        """
        await host.storage.create("test1")
        await host.storage.snapshot("test1", "s1")
        for snapshot, base in (("nosuch", None), ("s1", "nosuch")):
            done = _run(host.storage.sending("test1", snapshot, base), b"")
            assert done.returncode != 0

    @pytest_twisted.ensureDeferred
    async def test_a_full_storage_says_so(self, new_host: NewHost) -> None:
        """
        There is an error of its own for what is too large to be received, of which nothing is left.
        """
        one, two = new_host(), new_host()
        await _filled(one)
        await two.storage.create("other")
        before = await two.storage.space("other")
        with pytest.raises(OSError, match=r"(?i)space"):
            _fill_up(two)
        space = await two.storage.space("other")
        assert space.free_bytes < before.free_bytes / 4
        assert space.used_bytes > before.free_bytes / 2
        with pytest.raises(NoSpaceError):
            _receive(two, _sent(one, "s1"))
        await two.storage.forget_partial("test1")
        assert await two.storage.names() == ["other"]

    @pytest_twisted.ensureDeferred
    async def test_it_is_estimated_what_will_be_sent(self, host: StorageHost) -> None:
        """
        About, where it is known.
        """
        await _filled(host)
        estimated = await host.storage.estimate_bytes("test1", "s1", None)
        sent = len(_sent(host, "s1"))
        assert estimated is not None
        assert sent / 2 < estimated < sent * 2
        await host.storage.snapshot("test1", "s2")
        difference = await host.storage.estimate_bytes("test1", "s2", "s1")
        assert difference is None or difference < sent / 2


async def _filled(host: StorageHost) -> Snapshot:
    """
    Give a host the dataset test1, with its snapshot s1.
    """
    await host.storage.create("test1")
    host.write("test1", "file", b"hello")
    host.write("test1", "large", os.urandom(2**20))
    return await host.storage.snapshot("test1", "s1")


def _refuse_directory(host: StorageHost) -> None:
    with pytest.raises(OSError, match="test1"):
        host.make_directory("test1")


def _fill_up(host: StorageHost) -> None:
    """
    Write until it is full.
    """
    for block_bytes in (2**22, 2**16):
        for number in itertools.count():
            try:
                host.write("other", f"{block_bytes}-{number}", os.urandom(block_bytes))
            except OSError:
                if block_bytes == 2**16:
                    raise
                break


def _known(snapshot: Snapshot) -> tuple[str, str, int]:
    return snapshot.name, snapshot.identity, round(snapshot.created_seconds)


def _cuts(stream: bytes) -> Sequence[int]:
    """
    Some places to cut a stream: its ends, above all.
    """
    length = len(stream)
    return sorted({0, 1, 13, 100, length // 3, length // 2, length - 30, length - 2, length - 1})


def _sent(host: StorageHost, snapshot: str, base: str | None = None) -> bytes:
    done = _run(host.storage.sending("test1", snapshot, base), b"")
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def _receive(host: StorageHost, stream: bytes, base: str | None = None) -> None:
    """
    Have test1 received.

    Raises:
        StorageError: The command has failed.
    """
    done = _run(host.storage.receiving("test1", base), stream)
    if done.returncode != 0:
        raise refusal(done.stderr.decode())


def _run(command: Sequence[str], stdin: bytes) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(command, input=stdin, capture_output=True, timeout=60)
