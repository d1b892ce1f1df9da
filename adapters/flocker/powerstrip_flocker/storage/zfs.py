"""
Datasets as file systems of ZFS: one for each, below a pool or a file system of one.

Only what each ZFS has is used, from pool version 23 of zfs-fuse on: no ``zfs list -p``, no
``receive -o``, no resumable receive. Where a newer one knows more (``send -n``), it is tried.

What a dataset has is in its directory ``data``, which containers find by way of a link, see
`links`.

They are never mounted by ``zfs mount -a``, which runs when a host starts: a node that was away has
to ask first whether a dataset is still its own. So after a reboot none is writable until
`set_writable`.

I/O: runs ``zfs``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from twisted.internet.task import deferLater
from zope.interface import implementer

from powerstrip_flocker.errors import StorageError
from powerstrip_flocker.interfaces import IStorage, Snapshot, Space
from powerstrip_flocker.storage.command import Commands, StorageReactor
from powerstrip_flocker.storage.links import MAKE_LINK, Links
from powerstrip_flocker.storage.mounts import Mounts

__all__ = ["ZfsStorage"]

DATA = "data"
"""The directory that each dataset has: what containers mount."""

PARTIAL = ":receiving"
"""What the name of a dataset ends with that is being received; no dataset's own name can."""

BUSY_TRIES = 20
BUSY_SECONDS = 0.1
"""
A dataset stays busy for a moment after it was unmounted: the kernel tells zfs-fuse when `umount`
has ended already.
"""

_MOMENTARY = re.compile("is busy|I/O error")
"""What zfs-fuse says meanwhile; the second, of a dataset that is to be rolled back."""

RECEIVE_WHOLE = f"""
set -e
{MAKE_LINK}
if zfs list -H -o name "$1" >/dev/null 2>&1; then
    echo "cannot receive: there is a dataset $1 already" >&2
    exit 1
fi
make_link "$2" "$3" "{DATA}"
zfs receive -u "$1{PARTIAL}"
zfs set canmount=noauto "$1{PARTIAL}"
zfs set readonly=on "$1{PARTIAL}"
zfs rename "$1{PARTIAL}" "$1"
"""
"""
Receives a dataset that isn't here yet. It gets its name when it is there as a whole, and read-only.
"""


@implementer(IStorage)
class ZfsStorage:
    """
    The datasets below one file system of ZFS, which has a mount point.

    Args:
        pool: Its name: ``flocker``, ``tank/flocker``.
        enter: A command that leads to where it is mounted, where that isn't here.
    """

    def __init__(self, reactor: StorageReactor, pool: str, enter: Sequence[str] = ()) -> None:
        self._reactor = reactor
        self._commands = Commands(reactor, enter)
        self._mounts = Mounts(self._commands)
        self._pool = pool
        self._found_links: Links | None = None

    async def start(self) -> None:
        root = (await self._properties(self._pool, "mountpoint"))["mountpoint"]
        if not root.startswith("/"):
            raise StorageError(
                f"{self._pool} has no mount point: zfs set mountpoint=/var/lib/flocker {self._pool}"
            )
        self._found_links = Links(self._commands, Path(root), DATA)
        for name in await self._children():
            if name.endswith(PARTIAL):
                await self._zfs("destroy", "-r", self._dataset(name))
        await self._links.tidy_up(await self.names())

    async def names(self) -> Sequence[str]:
        return [name for name in await self._children() if ":" not in name]

    async def create(self, name: str) -> None:
        await self._links.make(name)
        await self._zfs("create", "-o", "canmount=noauto", self._dataset(name))
        await self.set_writable(name)

    async def exists(self, name: str) -> bool:
        return name in await self._children()

    def mount_point(self, name: str) -> Path:
        return self._links.path(name)

    async def is_writable(self, name: str) -> bool:
        # A file system that is mounted with other options than its own says so of these; when it
        # isn't mounted, they are its own.
        found = await self._properties(self._dataset(name), "mounted,readonly")
        return found == {"mounted": "yes", "readonly": "off"}

    async def set_writable(self, name: str) -> None:
        await self._zfs("set", "readonly=off", self._dataset(name))
        await self._links.make(name)
        mounted = self._links.mounted(name)
        if await self._mounts.at(mounted) is None:
            await self._zfs("set", f"mountpoint={mounted}", self._dataset(name))
            await self._zfs("mount", self._dataset(name))
        # It is here, but for one that was just created.
        await self._commands.run("mkdir", "-p", str(mounted / DATA))

    async def fence(self, name: str) -> None:
        await self._unmount(name)
        await self._zfs("set", "readonly=on", self._dataset(name))

    async def snapshot(self, name: str, snapshot: str) -> Snapshot:
        await self._zfs("snapshot", f"{self._dataset(name)}@{snapshot}")
        return next(it for it in await self.snapshots(name) if it.name == snapshot)

    async def snapshots(self, name: str) -> Sequence[Snapshot]:
        dataset = self._dataset(name)
        # Received ones keep the time at which they were taken, by a clock that may differ; the
        # transaction in which they came to be here tells their order.
        wanted = "guid,creation,createtxg"
        lines = await self._zfs(
            "get", "-r", "-H", "-p", "-o", "name,property,value", wanted, dataset
        )
        found: dict[str, dict[str, str]] = {}
        for line in lines.splitlines():
            owner, property_name, value = line.split("\t")
            if owner.startswith(f"{dataset}@"):
                found.setdefault(owner.partition("@")[2], {})[property_name] = value
        taken = sorted(found.items(), key=lambda it: int(it[1]["createtxg"]))
        return [Snapshot(it, of["guid"], float(of["creation"])) for it, of in taken]

    async def delete_snapshot(self, name: str, snapshot: str) -> None:
        if any(it.name == snapshot for it in await self.snapshots(name)):
            await self._zfs("destroy", f"{self._dataset(name)}@{snapshot}")

    async def roll_back(self, name: str, snapshot: str) -> None:
        is_mounted = await self._mounts.at(self._links.mounted(name)) is not None
        await self._unmount(name)
        try:
            await self._zfs("rollback", "-r", f"{self._dataset(name)}@{snapshot}")
        finally:
            if is_mounted:
                await self._zfs("mount", self._dataset(name))

    def sending(self, name: str, snapshot: str, base: str | None) -> Sequence[str]:
        return self._commands.line("zfs", "send", *self._range(name, snapshot, base))

    def receiving(self, name: str, base: str | None) -> Sequence[str]:
        if base is None:
            arguments = self._dataset(name), str(self._links.root), name
            return self._commands.line("sh", "-c", RECEIVE_WHOLE, "receive", *arguments)
        return self._commands.line("zfs", "receive", "-u", self._dataset(name))

    async def forget_partial(self, name: str) -> None:
        # A cut receive into a dataset that is here undoes itself.
        if name + PARTIAL in await self._children():
            await self._zfs("destroy", "-r", self._dataset(name + PARTIAL))

    async def estimate_bytes(self, name: str, snapshot: str, base: str | None) -> int | None:
        try:
            said = await self._zfs("send", "-n", "-P", *self._range(name, snapshot, base))
        except StorageError:
            return await self._estimate_without_send(name, snapshot, base)
        sizes = [line.split()[1] for line in said.splitlines() if line.startswith("size")]
        return int(sizes[-1]) if sizes else None

    async def _estimate_without_send(
        self, name: str, snapshot: str, base: str | None
    ) -> int | None:
        if base is not None:
            return None
        found = await self._properties(f"{self._dataset(name)}@{snapshot}", "referenced")
        return int(found["referenced"])

    async def space(self, name: str) -> Space:
        found = await self._properties(self._dataset(name), "used,available")
        return Space(int(found["used"]), int(found["available"]))

    async def destroy(self, name: str) -> None:
        await self.forget_partial(name)
        if await self.exists(name):
            await self._unmount(name)
            await self._zfs("destroy", "-r", self._dataset(name))
        await self._links.remove(name)

    @property
    def _links(self) -> Links:
        assert self._found_links is not None, "it has not been started"
        return self._found_links

    def _dataset(self, name: str) -> str:
        return f"{self._pool}/{name}"

    def _range(self, name: str, snapshot: str, base: str | None) -> Sequence[str]:
        dataset = self._dataset(name)
        incremental = () if base is None else ("-i", f"{dataset}@{base}")
        return (*incremental, f"{dataset}@{snapshot}")

    async def _unmount(self, name: str) -> None:
        await self._mounts.unmount(
            self._links.mounted(name),
            lambda: self._commands.run("zfs", "unmount", self._dataset(name)),
            lambda: self._zfs("mount", self._dataset(name)),
        )

    async def _children(self) -> Sequence[str]:
        """
        The names of all file systems right below the pool, with what is being received.
        """
        lines = await self._zfs("list", "-r", "-H", "-o", "name", "-t", "filesystem", self._pool)
        below = [line.removeprefix(f"{self._pool}/") for line in lines.splitlines()]
        return [name for name in below if "/" not in name and name != self._pool]

    async def _properties(self, of: str, properties: str) -> Mapping[str, str]:
        lines = await self._zfs("get", "-H", "-p", "-o", "property,value", properties, of)
        pairs = [line.split("\t") for line in lines.splitlines()]
        return dict(pairs)

    async def _zfs(self, *arguments: str) -> str:
        for _ in range(BUSY_TRIES - 1):
            try:
                return await self._commands.run("zfs", *arguments)
            except StorageError as error:
                if not _MOMENTARY.search(str(error)):
                    raise
            await deferLater(self._reactor, BUSY_SECONDS)
        return await self._commands.run("zfs", *arguments)
