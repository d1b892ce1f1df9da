"""
Ownership records in a file, for one node by itself.

I/O: one file of JSON, which is replaced as a whole, and a lock beside it. Files are written in a
thread, as a disk that is busy receiving may take seconds.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

from attrs import frozen
from twisted.internet.interfaces import IReactorThreads
from twisted.internet.threads import deferToThreadPool
from zope.interface import implementer

from powerstrip_flocker.datasets.record import Record, decode, encode
from powerstrip_flocker.errors import ConflictError, LedgerError
from powerstrip_flocker.interfaces import Claim, Entry, ILedger

__all__ = ["FileLedger"]

FORMAT = 1

_T = TypeVar("_T")


@frozen
class _Content:
    """
    What stands in the file at one moment.
    """

    revision: int
    """The highest that was ever given."""

    entries: Mapping[str, Entry]

    def with_record(self, record: Record) -> _Content:
        entry = Entry(record, self.revision + 1)
        return _Content(entry.revision, {**self.entries, record.name: entry})

    def without(self, name: str) -> _Content:
        rest = {other: entry for other, entry in self.entries.items() if other != name}
        return _Content(self.revision + 1, rest)

    def check(self, entry: Entry) -> None:
        name = entry.record.name
        there = self.entries.get(name)
        if there is None or there.revision != entry.revision:
            raise ConflictError(f"the record of {name} has been changed since it was read")


@implementer(ILedger)
class FileLedger:
    """
    The records of a node that has no others.
    """

    def __init__(self, reactor: IReactorThreads, path: Path) -> None:
        """
        Args:
            path: The file. It is made where it is not there, with its directory.
        """
        self._reactor = reactor
        self._path = path
        self._turn = Lock()
        self._lock_file: int | None = None
        self._content: _Content | None = None
        # Nothing of a move outlives the process that makes it: claims need no file.
        self._claims: dict[str, Claim] = {}

    async def start(self) -> None:
        if self._lock_file is None:
            self._lock_file = self._take_lock()
        await self._in_turn(self._read)

    async def stop(self) -> None:
        def close() -> None:
            assert self._lock_file is not None
            os.close(self._lock_file)
            self._lock_file = None
            self._content = None
            self._claims.clear()

        if self._lock_file is not None:
            await self._in_turn(close)

    async def get(self, name: str) -> Entry | None:
        content = await self._in_turn(self._read)
        return content.entries.get(name)

    async def all(self) -> Sequence[Entry]:
        content = await self._in_turn(self._read)
        return tuple(entry for _, entry in sorted(content.entries.items()))

    async def create(self, record: Record) -> Entry:
        def change() -> Entry:
            content = self._read()
            if record.name in content.entries:
                raise ConflictError(f"there is a dataset {record.name} already")
            return self._write(content.with_record(record)).entries[record.name]

        return await self._in_turn(change)

    async def replace(self, entry: Entry, record: Record) -> Entry:
        def change() -> Entry:
            content = self._read()
            content.check(entry)
            return self._write(content.with_record(record)).entries[record.name]

        return await self._in_turn(change)

    async def delete(self, entry: Entry) -> None:
        def change() -> None:
            content = self._read()
            content.check(entry)
            self._write(content.without(entry.record.name))

        await self._in_turn(change)

    async def claim(self, entry: Entry, node: str) -> Claim:
        name = entry.record.name

        def change() -> Claim:
            self._read().check(entry)
            if (held := self._claims.get(name)) is not None:
                raise ConflictError(f"{name} is being moved to {held.node} already")
            self._claims[name] = claim = Claim(name, node, os.urandom(8).hex())
            return claim

        return await self._in_turn(change)

    async def claim_of(self, name: str) -> Claim | None:
        return await self._in_turn(lambda: self._claims.get(name))

    async def commit(self, claim: Claim, entry: Entry, record: Record) -> Entry:
        def change() -> Entry:
            if self._claims.get(claim.name) != claim:
                raise ConflictError(f"the move of {claim.name} to {claim.node} has been ended")
            content = self._read()
            content.check(entry)
            written = self._write(content.with_record(record)).entries[record.name]
            del self._claims[claim.name]
            return written

        return await self._in_turn(change)

    async def release(self, claim: Claim) -> None:
        def change() -> None:
            if self._claims.get(claim.name) == claim:
                del self._claims[claim.name]

        await self._in_turn(change)

    async def _in_turn(self, act: Callable[[], _T]) -> _T:
        """
        Do something in a thread, and nothing else meanwhile: also when nobody waits any more.
        """

        def act_alone() -> _T:
            with self._turn:
                if self._lock_file is None:
                    raise LedgerError(f"{self._path} is not open")
                return act()

        pool = self._reactor.getThreadPool()
        result: _T = await deferToThreadPool(self._reactor, pool, act_alone)
        return result

    def _take_lock(self) -> int:
        path = self._path.with_name(self._path.name + ".lock")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            lock_file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise LedgerError(f"{path} can't be made: {error.strerror}") from error
        try:
            fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(lock_file)
            raise LedgerError(f"{self._path} is in use by another process") from error
        return lock_file

    def _read(self) -> _Content:
        if self._content is None:
            try:
                content = _parse(self._path.read_bytes())
                # Its name may not be there for good, if whoever wrote it got no further.
                _sync_directory(self._path.parent)
                self._content = content
            except FileNotFoundError:
                self._content = _Content(0, {})
            except OSError as error:
                raise LedgerError(f"{self._path} can't be read: {error.strerror}") from error
            except ValueError as error:
                raise LedgerError(f"{self._path} can't be understood: {error}") from error
        return self._content

    def _write(self, content: _Content) -> _Content:
        # Until the directory is on disk too it can't be said which of the two is the file after a
        # power cut. So what is there is read again after a failure.
        self._content = None
        try:
            _replace(self._path, _format(content))
        except OSError as error:
            raise LedgerError(f"{self._path} can't be written: {error.strerror}") from error
        self._content = content
        return content


def _replace(path: Path, written: bytes) -> None:
    """
    Write a file so that after a crash at any moment the old one or the new one is there, whole.
    """
    new = path.with_name(path.name + ".new")
    try:
        with open(new, "wb", opener=_only_for_owner) as file:
            file.write(written)
            file.flush()
            os.fsync(file.fileno())
        os.rename(new, path)
    except OSError:
        new.unlink(missing_ok=True)
        raise
    _sync_directory(path.parent)


def _sync_directory(path: Path) -> None:
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _only_for_owner(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _format(content: _Content) -> bytes:
    entries = [
        {"revision": entry.revision, "record": json.loads(encode(entry.record))}
        for _, entry in sorted(content.entries.items())
    ]
    written = {"format": FORMAT, "revision": content.revision, "entries": entries}
    return json.dumps(written, indent=1).encode("ascii") + b"\n"


def _parse(written: bytes) -> _Content:
    try:
        value: Any = json.loads(written)
        if value["format"] != FORMAT:
            raise ValueError(f"it is of format {value['format']}, which is not {FORMAT}")
        entries = [
            Entry(decode(json.dumps(it["record"]).encode("ascii")), int(it["revision"]))
            for it in value["entries"]
        ]
        by_name = {entry.record.name: entry for entry in entries}
        if len(by_name) != len(entries):
            raise ValueError("a dataset comes twice")
        return _Content(int(value["revision"]), by_name)
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"it is not what was written: {error!r}") from error
