"""
A ledger in a file: the contract, and what becomes of the file when something goes wrong.
"""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from attrs import define, evolve
from powerstrip_flocker.errors import LedgerError
from powerstrip_flocker.ledger.file import FileLedger

from tests.adapters.flocker.ledger.contract import A, B, LedgerContract


@define
class FileHost:
    """
    A ledger in a file of its own.
    """

    reactor: Any
    path: Path
    ledger: FileLedger

    async def open(self) -> FileLedger:
        await self.ledger.stop()
        self.ledger = FileLedger(self.reactor, self.path)
        await self.ledger.start()
        return self.ledger


@pytest_twisted.async_yield_fixture
async def host(tmp_path: Path, reactor: Any) -> AsyncIterator[FileHost]:
    """
    A ledger that has been started, in a directory that it has made.
    """
    path = tmp_path / "state" / "datasets.json"
    ledger = FileLedger(reactor, path)
    await ledger.start()
    host = FileHost(reactor, path, ledger)
    yield host
    await host.ledger.stop()


class TestFileLedger(LedgerContract):
    """
    The contract.
    """


@pytest_twisted.ensureDeferred
async def test_the_file_is_for_its_owner_only(host: FileHost) -> None:
    """
    As is the lock, and nothing else is left beside them.
    """
    await host.ledger.create(A)
    files = {path.name: stat.S_IMODE(path.stat().st_mode) for path in host.path.parent.iterdir()}
    assert files == {"datasets.json": 0o600, "datasets.json.lock": 0o600}


@pytest_twisted.ensureDeferred
async def test_a_second_one_does_not_start(host: FileHost) -> None:
    """
    Two would overwrite what the other has written.
    """
    second = FileLedger(host.reactor, host.path)
    with pytest.raises(LedgerError, match=r"datasets\.json is in use by another process"):
        await second.start()
    await second.stop()
    with pytest.raises(LedgerError, match="in use"):
        await second.start()


@pytest_twisted.ensureDeferred
async def test_one_that_is_not_started_says_so(host: FileHost) -> None:
    """
    Neither before nor after.
    """
    await host.ledger.stop()
    with pytest.raises(LedgerError, match="is not open"):
        await host.ledger.get("test1")


@pytest_twisted.ensureDeferred
async def test_a_full_disk_changes_nothing(host: FileHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    The sentence names the file, and the records are those of before.
    """
    entry = await host.ledger.create(A)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(LedgerError, match=r"datasets\.json can't be written: No space"):
            await host.ledger.replace(entry, evolve(A, generation=2))
    assert await host.ledger.get("test1") == entry
    assert not host.path.with_name("datasets.json.new").exists()


@pytest_twisted.ensureDeferred
async def test_after_a_doubtful_write_the_file_tells(
    host: FileHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The new file has its name, and only its directory could not be made to last.
    """
    entry = await host.ledger.create(A)
    claim = await host.ledger.claim(entry, "node2")
    sync = os.fsync

    def fail_for_directories(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(5, "Input/output error")
        sync(descriptor)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fail_for_directories)
        with pytest.raises(LedgerError, match="can't be written"):
            await host.ledger.commit(claim, entry, evolve(A, owner="node2"))
        with pytest.raises(LedgerError, match="can't be read"):
            await host.ledger.get("test1")
    found = await host.ledger.get("test1")
    assert found is not None
    assert found.record.owner == "node2"


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        ("", "it is not JSON|Expecting value"),
        ("[]", "it is not what was written"),
        ("{}", "it is not what was written"),
        ('{"format": 9, "revision": 0, "entries": []}', "it is of format 9"),
        ('{"format": 1, "revision": 0, "entries": [{"revision": 1, "record": {}}]}', "lacks"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_broken_file_is_not_guessed_at(
    tmp_path: Path, reactor: Any, written: str, sentence: str
) -> None:
    """
    Nothing starts, and the file stays as it is for whoever mends it.
    """
    path = tmp_path / "datasets.json"
    path.write_text(written)
    ledger = FileLedger(reactor, path)
    with pytest.raises(LedgerError, match=f"can't be understood: .*({sentence})"):
        await ledger.start()
    await ledger.stop()
    assert path.read_text() == written


@pytest_twisted.ensureDeferred
async def test_a_dataset_that_comes_twice_is_not_guessed_at(host: FileHost) -> None:
    """
    One of the two would be lost.
    """
    await host.ledger.create(A)
    await host.ledger.stop()
    content = json.loads(host.path.read_text())
    content["entries"] *= 2
    host.path.write_text(json.dumps(content))
    with pytest.raises(LedgerError, match="a dataset comes twice"):
        await host.open()


@pytest_twisted.ensureDeferred
async def test_what_a_crash_has_left_is_no_hindrance(host: FileHost) -> None:
    """
    Half of a new file counts for nothing.
    """
    await host.ledger.create(A)
    host.path.with_name("datasets.json.new").write_text('{"format": 1, "rev')
    other = await host.open()
    await other.create(B)
    assert [it.record for it in await (await host.open()).all()] == [A, B]


WRITER = """
import sys
from pathlib import Path
from attrs import evolve
from twisted.internet import reactor
from twisted.internet.task import react
from twisted.internet.defer import ensureDeferred
from powerstrip_flocker.datasets.record import Record
from powerstrip_flocker.ledger.file import FileLedger

async def write(reactor):
    ledger = FileLedger(reactor, Path(sys.argv[1]))
    await ledger.start()
    entry = await ledger.create(Record("test1", "id", "node1", 0))
    while True:
        record = evolve(entry.record, generation=entry.record.generation + 1)
        entry = await ledger.replace(entry, record)
        print(entry.record.generation, flush=True)

react(lambda reactor: ensureDeferred(write(reactor)))
"""


@pytest_twisted.ensureDeferred
async def test_kill_9_loses_nothing_that_was_answered(tmp_path: Path, reactor: Any) -> None:
    """
    In the middle of writing, five times; the lock is free at once.
    """
    for attempt in range(5):
        path = tmp_path / str(attempt) / "datasets.json"
        writer = subprocess.Popen([sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(0.02 * (attempt + 1))
        writer.send_signal(signal.SIGKILL)
        answered = int(writer.communicate()[0].split()[-1])
        ledger = FileLedger(reactor, path)
        await ledger.start()
        found = await ledger.get("test1")
        await ledger.stop()
        assert found is not None
        assert found.record.generation in (answered, answered + 1)
