"""
For tests of what moves datasets: a storage in memory.

The contract tests of the real storages run on it too, so that it behaves as they do.
"""

from __future__ import annotations

import json
import secrets
import shutil
import sys
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from attrs import define, field, frozen
from zope.interface import implementer

from powerstrip_flocker.errors import NoSpaceError, StorageError
from powerstrip_flocker.interfaces import IStorage, Snapshot, Space

__all__ = ["FakeStorage"]

Files = Mapping[str, bytes]

RECEIVE = """
import hashlib, os, sys
path, base, free_bytes = sys.argv[1:]
stream = b""
with open(path + ".partial", "wb") as partial:
    while block := sys.stdin.buffer.read1():
        stream += block
        partial.write(block)
        partial.flush()
found, checksum, content = (stream.split(b"\\n", 2) + [b"", b""])[:3]
if hashlib.sha256(content).hexdigest().encode() != checksum:
    sys.exit("cannot receive: the stream is cut")
if found != base.encode():
    sys.exit("cannot receive: the most recent snapshot is not the one that the stream starts from")
if len(content) > int(free_bytes):
    sys.exit("cannot receive: out of space")
os.rename(path + ".partial", path)
"""
"""What `FakeStorage.receiving` runs: the stream becomes a file once it is there as a whole."""


@frozen
class _Taken:
    """
    A snapshot, and what is in it.
    """

    snapshot: Snapshot
    files: Files


@define
class _Dataset:
    files: dict[str, bytes] = field(factory=dict)
    taken: list[_Taken] = field(factory=list)
    is_mounted: bool = False

    def find(self, snapshot: str) -> _Taken:
        for it in self.taken:
            if it.snapshot.name == snapshot:
                return it
        raise StorageError(f"there is no snapshot {snapshot}")

    @property
    def newest_files(self) -> Files:
        return self.taken[-1].files if self.taken else {}


@implementer(IStorage)
@define(eq=False)
class FakeStorage:
    """
    The datasets of one host, in memory.

    What a command of `sending` or `receiving` reads or writes stands in files meanwhile. Where no
    processes are wanted, `sent` and `received` do the same.
    """

    root: Path = Path("/flocker")
    """Where datasets appear to be mounted. Nothing is there: see `read` and `write`."""

    free_bytes: int = 2**30
    """What can still be written, by whatever writes."""

    busy: set[str] = field(factory=set)
    """The datasets that a process has open."""

    failure: StorageError | None = None
    """Where there is one, all methods raise it that would change something."""

    calls: list[tuple[str, ...]] = field(factory=list)
    """What would have changed something: the method's name and its arguments."""

    directory: Path | None = None
    """
    Where the files of commands stand. A temporary one is made for the first command where there is
    none; it stays when the process is killed.
    """

    _datasets: dict[str, _Dataset] = field(factory=dict)
    _seconds: int = 1_700_000_000

    # What tests do with it

    def write(self, name: str, file: str, content: bytes) -> None:
        """
        Write a file, as a container does.

        Raises:
            OSError: It can't be written, or there is no room.
        """
        self.make_directory(name)
        dataset = self._datasets[name]
        if len(content) > self.free_bytes:
            raise OSError(f"{self.mount_point(name)}: no space left on device")
        self.free_bytes -= len(content)
        dataset.files[file] = content

    def make_directory(self, name: str) -> None:
        """
        Make the source of a bind below the mount point, as the engine does.

        Raises:
            OSError: It can't be made.
        """
        self._take_in()
        if not self._datasets[name].is_mounted:
            raise OSError(f"{self.mount_point(name)} leads nowhere")

    def read(self, name: str) -> dict[str, bytes]:
        """
        The files of a dataset, mounted or not.
        """
        self._take_in()
        return dict(self._datasets[name].files)

    def reboot(self) -> None:
        """
        Start the host again: nothing is mounted.
        """
        for dataset in self._datasets.values():
            dataset.is_mounted = False
        self.busy.clear()

    def sent(self, name: str, snapshot: str, base: str | None) -> bytes:
        """
        What `sending` writes.
        """
        dataset = self._find(name)
        taken = dataset.find(snapshot)
        old = dataset.find(base) if base is not None else None
        before: Files = old.files if old else {}
        content = json.dumps(
            {
                "snapshot": taken.snapshot.name,
                "identity": taken.snapshot.identity,
                "created_seconds": taken.snapshot.created_seconds,
                "removed": sorted(before.keys() - taken.files.keys()),
                "written": {
                    file: data.decode("latin-1")
                    for file, data in taken.files.items()
                    if before.get(file) != data
                },
            }
        ).encode()
        base_identity = old.snapshot.identity if old else ""
        return b"\n".join([base_identity.encode(), sha256(content).hexdigest().encode(), content])

    def received(self, name: str, base: str | None, stream: bytes) -> None:
        """
        Do what `receiving` does with a stream.

        Raises:
            StorageError: The command would have failed: nothing has changed.
        """
        self._begin("received", name)
        base_identity = self._ready_to_receive(name, base)
        found, checksum, content = (*stream.split(b"\n", 2), b"", b"")[:3]
        if sha256(content).hexdigest().encode() != checksum:
            raise StorageError("cannot receive: the stream is cut")
        if found.decode() != base_identity:
            raise StorageError("cannot receive: another snapshot is the most recent one")
        if len(content) > self.free_bytes:
            raise NoSpaceError("cannot receive: out of space")
        self._add(name, json.loads(content))

    # What IStorage asks for

    async def start(self) -> None:
        self._take_in()
        for partial in self._files(".partial"):
            partial.unlink()

    async def names(self) -> Sequence[str]:
        self._take_in()
        return sorted(self._datasets)

    async def create(self, name: str) -> None:
        self._begin("create", name)
        if name in self._datasets:
            raise StorageError(f"cannot create {name}: it is here already")
        self._datasets[name] = _Dataset(is_mounted=True)

    async def exists(self, name: str) -> bool:
        self._take_in()
        return name in self._datasets

    def mount_point(self, name: str) -> Path:
        return self.root / name

    async def is_writable(self, name: str) -> bool:
        return self._find(name).is_mounted

    async def set_writable(self, name: str) -> None:
        self._begin("set_writable", name)
        self._find(name).is_mounted = True

    async def fence(self, name: str) -> None:
        self._begin("fence", name)
        self._refuse_busy(name)
        self._find(name).is_mounted = False

    async def snapshot(self, name: str, snapshot: str) -> Snapshot:
        self._begin("snapshot", name, snapshot)
        dataset = self._find(name)
        if any(it.snapshot.name == snapshot for it in dataset.taken):
            raise StorageError(f"cannot take the snapshot {snapshot} of {name}: it is here already")
        self._seconds += 1
        taken = Snapshot(snapshot, secrets.token_hex(8), float(self._seconds))
        dataset.taken.append(_Taken(taken, dict(dataset.files)))
        return taken

    async def snapshots(self, name: str) -> Sequence[Snapshot]:
        return [it.snapshot for it in self._find(name).taken]

    async def delete_snapshot(self, name: str, snapshot: str) -> None:
        self._begin("delete_snapshot", name, snapshot)
        dataset = self._find(name)
        dataset.taken = [it for it in dataset.taken if it.snapshot.name != snapshot]

    async def roll_back(self, name: str, snapshot: str) -> None:
        self._begin("roll_back", name, snapshot)
        self._refuse_busy(name)
        dataset = self._find(name)
        taken = dataset.find(snapshot)
        dataset.files = dict(taken.files)
        del dataset.taken[dataset.taken.index(taken) + 1 :]

    def sending(self, name: str, snapshot: str, base: str | None) -> Sequence[str]:
        try:
            stream = self.sent(name, snapshot, base)
        except StorageError as error:
            return _failing(str(error))
        path = self._path(f"{name}@{snapshot}.{base or ''}.sent")
        path.write_bytes(stream)
        return ("cat", str(path))

    def receiving(self, name: str, base: str | None) -> Sequence[str]:
        try:
            self._begin("receiving", name)
            base_identity = self._ready_to_receive(name, base)
        except StorageError as error:
            return _failing(str(error))
        path = str(self._path(f"{name}.received"))
        return (sys.executable, "-ISc", RECEIVE, path, base_identity, str(self.free_bytes))

    async def forget_partial(self, name: str) -> None:
        self._begin("forget_partial", name)
        for partial in self._files(".received.partial"):
            if partial.name == f"{name}.received.partial":
                partial.unlink()

    async def estimate_bytes(self, name: str, snapshot: str, base: str | None) -> int | None:
        return len(self.sent(name, snapshot, base))

    async def space(self, name: str) -> Space:
        dataset = self._find(name)
        kept = [dataset.files, *(it.files for it in dataset.taken)]
        used_bytes = sum(len(data) for data in {data for it in kept for data in it.values()})
        return Space(used_bytes, self.free_bytes)

    async def destroy(self, name: str) -> None:
        self._begin("destroy", name)
        if name in self._datasets:
            self._refuse_busy(name)
            del self._datasets[name]

    # How it does it

    def _begin(self, *call: str) -> None:
        self._take_in()
        self.calls.append(call)
        if self.failure is not None:
            raise self.failure

    def _find(self, name: str) -> _Dataset:
        self._take_in()
        if name not in self._datasets:
            raise StorageError(f"there is no dataset {name}")
        return self._datasets[name]

    def _refuse_busy(self, name: str) -> None:
        if name in self.busy and self._find(name).is_mounted:
            raise StorageError(f"cannot unmount {self.mount_point(name)}: target is busy")

    def _ready_to_receive(self, name: str, base: str | None) -> str:
        """
        The identity of the snapshot that a stream has to start from.
        """
        if base is None:
            if name in self._datasets:
                raise StorageError(f"cannot receive: there is a dataset {name} already")
            return ""
        dataset = self._find(name)
        if dataset.is_mounted or dataset.files != dataset.newest_files:
            raise StorageError(f"cannot receive: {name} has been modified since {base}")
        if dataset.taken[-1:] != [dataset.find(base)]:
            raise StorageError(f"cannot receive: {name} has snapshots later than {base}")
        return dataset.taken[-1].snapshot.identity

    def _add(self, name: str, content: Any) -> None:
        dataset = self._datasets.setdefault(name, _Dataset())
        files = {file: d for file, d in dataset.files.items() if file not in content["removed"]}
        files |= {file: text.encode("latin-1") for file, text in content["written"].items()}
        self.free_bytes -= sum(len(text) for text in content["written"].values())
        snapshot = Snapshot(content["snapshot"], content["identity"], content["created_seconds"])
        dataset.files = files
        dataset.taken.append(_Taken(snapshot, dict(files)))

    def _take_in(self) -> None:
        """
        Do what commands that have ended since have received.
        """
        for path in self._files(".received"):
            content = path.read_bytes().split(b"\n", 2)[2]
            path.unlink()
            self._add(path.name.removesuffix(".received"), json.loads(content))

    def _files(self, ending: str) -> list[Path]:
        return sorted(self.directory.glob(f"*{ending}")) if self.directory else []

    def _path(self, name: str) -> Path:
        if self.directory is None:
            self.directory = Path(tempfile.mkdtemp(prefix="flocker-"))
            weakref.finalize(self, shutil.rmtree, self.directory, ignore_errors=True)
        return self.directory / name


def _failing(message: str) -> Sequence[str]:
    return ("sh", "-c", 'echo "$1" >&2; exit 1', "sh", message)
