"""
Datasets as subvolumes of btrfs.

Below the path that is given, ``:datasets/NAME`` has the subvolume ``:data``, and for each snapshot
``SNAPSHOT/SNAPSHOT``. Of a dataset whose newest snapshot is all that it is, there need not be a
``:data``: it is made from that. While it is writable, ``:datasets/NAME`` is mounted as well where a
link ``NAME`` leads to its ``:data``, see `links`.

Snapshots stay read-only. One that was received and is then made writable loses, or worse keeps,
its received UUID, and with it what incremental streams are built on (btrfs-subvolume(8),
"SUBVOLUME FLAGS"). And those of what was received are taken of a writable copy: a read-only one
would have the same received UUID.

A subvolume that is made read-only can still be written by who has a file of it open; so it has to
be unmounted before, which fails then.

I/O: files, and runs ``btrfs``, ``mount`` and ``umount``.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from zope.interface import implementer

from powerstrip_flocker.errors import StorageError
from powerstrip_flocker.interfaces import IStorage, Snapshot, Space
from powerstrip_flocker.storage.command import Commands, StorageReactor
from powerstrip_flocker.storage.links import MAKE_LINK, Links
from powerstrip_flocker.storage.mounts import Mounts

__all__ = ["BtrfsStorage"]

DATASETS = ":datasets"
DATA = ":data"
RECEIVING = ":receiving"
TAKING = ":taking"
DESTROYING = ":destroying"
"""What no dataset and no snapshot can be called has a colon."""

TRAILER = "powerstrip-flocker"
"""Follows each stream, with the time of its snapshot, which btrfs doesn't send."""

SEND = f"""
set -e
taken=$(stat --format=%.Y "$1")
if [ "$#" -gt 1 ]; then
    btrfs send -q -p "$2/${{2##*/}}" "$1/${{1##*/}}"
else
    btrfs send -q "$1/${{1##*/}}"
fi
echo "{TRAILER} $taken"
"""

HOME_MODE = 0o711
"""Of ``:datasets/NAME``: a dataset may be for everybody, and the list of its snapshots is not."""

RECEIVE = f"""
{MAKE_LINK}
refuse() {{
    echo "cannot receive into $1: $2" >&2
    exit 1
}}
set -e
home=$1 base=$2
if [ -z "$base" ]; then
    for there in "$home/{DATA}" "$home"/[!:]*; do
        [ ! -e "$there" ] || refuse "$home" "it is here already"
    done
    make_link "$3" "$4" "{DATA}"
    mkdir -p -m {HOME_MODE:o} "$home"
fi
cd "$home"
if [ -n "$base" ]; then
    [ ! -e "{DATA}" ] || refuse "$home" "it may have been modified since $base"
    newest=$(btrfs inspect-internal rootid "$base/$base")
    for other in [!:]*; do
        [ ! -e "$other/$other" ] ||
            [ "$(btrfs inspect-internal rootid "$other/$other")" -le "$newest" ] ||
            refuse "$home" "$other is later than $base"
    done
fi
mkdir "{RECEIVING}"
btrfs receive -q -e "{RECEIVING}"
read -r trailer taken || refuse "$home" "the stream is cut"
[ "$trailer" = "{TRAILER}" ] || refuse "$home" "no such stream is known"
snapshot=$(ls "{RECEIVING}")
touch --date="@$taken" "{RECEIVING}"
sync --file-system .
mv --no-target-directory "{RECEIVING}" "./$snapshot"
sync --file-system .
"""
"""
Receives beside the snapshots that are here. What was received is one of them once it is complete.
"""


@implementer(IStorage)
class BtrfsStorage:
    """
    The datasets below one directory of a btrfs.

    Args:
        path: The directory, for commands.
        enter: A command that leads to where it is mounted, where that isn't here.
        root: What ``/`` is there, seen from here.
    """

    def __init__(
        self,
        reactor: StorageReactor,
        path: Path,
        enter: Sequence[str] = (),
        root: Path = Path("/"),
    ) -> None:
        self._commands = Commands(reactor, enter)
        self._mounts = Mounts(self._commands)
        self._path = path
        self._root = root
        self._datasets = path / DATASETS
        self._links = Links(self._commands, path, DATA)

    async def start(self) -> None:
        kind = await self._commands.run("stat", "--file-system", "--format=%T", str(self._path))
        if kind.strip() != "btrfs":
            raise StorageError(f"{self._path} is not on btrfs")
        self._here(self._datasets).mkdir(mode=0o700, exist_ok=True)
        for home in self._list(self._datasets):
            if home.name.endswith(DESTROYING):
                await self._remove(home)
            else:
                await self.forget_partial(home.name)
        await self._links.tidy_up(await self.names())

    async def names(self) -> Sequence[str]:
        found = (home.name for home in self._list(self._datasets) if ":" not in home.name)
        return sorted(name for name in found if self._is_here(name))

    async def create(self, name: str) -> None:
        if self._is_here(name):
            raise StorageError(f"cannot create {name}: it is here already")
        await self._links.make(name)
        self._here(self._home(name)).mkdir(HOME_MODE, exist_ok=True)
        await self._btrfs("subvolume", "create", str(self._data(name)))
        await self.set_writable(name)

    async def exists(self, name: str) -> bool:
        return self._is_here(name)

    def mount_point(self, name: str) -> Path:
        return self._links.path(name)

    async def is_writable(self, name: str) -> bool:
        return await self._mounts.at(self._links.mounted(name)) is not None

    async def set_writable(self, name: str) -> None:
        await self._make_data(name)
        await self._set_read_only(name, False)
        await self._links.make(name)
        if not await self.is_writable(name):
            await self._mount(name)

    async def fence(self, name: str) -> None:
        self._refuse_missing(name)
        await self._unmount(name)
        if self._exists(self._data(name)):
            await self._set_read_only(name, True)

    async def snapshot(self, name: str, snapshot: str) -> Snapshot:
        await self.forget_partial(name)
        await self._make_data(name)
        if self._exists(self._snapshot(name, snapshot)):
            raise StorageError(f"cannot take the snapshot {snapshot} of {name}: it is here already")
        # A snapshot has an empty directory in place of each.
        if inner := await self._inner(self._data(name)):
            raise StorageError(
                f"cannot take the snapshot {snapshot} of {name}, which would be without what is in "
                f"the subvolumes inside of it: {', '.join(inner)}"
            )
        taking = self._home(name) / TAKING
        self._here(taking).mkdir()
        # It has the data on disk before it ends: btrfs-subvolume(8), "snapshot".
        source, target = str(self._data(name)), str(taking / snapshot)
        await self._btrfs("subvolume", "snapshot", "-r", source, target)
        self._here(taking).rename(self._here(self._home(name) / snapshot))
        await self._btrfs("filesystem", "sync", str(self._home(name)))
        if not await self.is_writable(name):
            await self._delete(self._data(name))
        return next(it for it in await self.snapshots(name) if it.name == snapshot)

    async def snapshots(self, name: str) -> Sequence[Snapshot]:
        self._refuse_missing(name)
        found = {}
        for snapshot in self._snapshot_names(name):
            path = self._snapshot(name, snapshot)
            try:
                shown = await self._show(path)
                created_seconds = self._here(path.parent).stat().st_mtime
            except (StorageError, FileNotFoundError):
                if self._exists(path):
                    raise
                continue  # it was deleted meanwhile
            received = shown["Received UUID"]
            identity = shown["UUID"] if received == "-" else received
            found[int(shown["Subvolume ID"])] = Snapshot(snapshot, identity, created_seconds)
        return [found[number] for number in sorted(found)]

    async def delete_snapshot(self, name: str, snapshot: str) -> None:
        # Of an older one nothing has to be kept, and who has no ``:data`` can still receive.
        if [it.name for it in (await self.snapshots(name))[-1:]] == [snapshot]:
            await self._make_data(name)
        await self._delete(self._snapshot(name, snapshot))
        if self._exists(self._home(name) / snapshot):
            self._here(self._home(name) / snapshot).rmdir()

    async def roll_back(self, name: str, snapshot: str) -> None:
        order = [it.name for it in await self.snapshots(name)]
        if snapshot not in order:
            raise StorageError(f"cannot roll {name} back: there is no snapshot {snapshot}")
        is_writable = await self.is_writable(name)
        await self._unmount(name)
        await self._delete(self._data(name))
        for later in reversed(order[order.index(snapshot) + 1 :]):
            await self._delete(self._snapshot(name, later))
            self._here(self._home(name) / later).rmdir()
        if is_writable:
            await self.set_writable(name)

    def sending(self, name: str, snapshot: str, base: str | None) -> Sequence[str]:
        wanted = [snapshot] if base is None else [snapshot, base]
        paths = [str(self._home(name) / it) for it in wanted]
        return self._commands.line("sh", "-c", SEND, "send", *paths)

    def receiving(self, name: str, base: str | None) -> Sequence[str]:
        arguments = str(self._home(name)), base or "", str(self._path), name
        return self._commands.line("sh", "-c", RECEIVE, "receive", *arguments)

    async def forget_partial(self, name: str) -> None:
        home = self._home(name)
        for partial in (home / RECEIVING, home / TAKING):
            if self._exists(partial):
                for subvolume in self._list(partial):
                    await self._delete(subvolume)
                self._here(partial).rmdir()
        if self._exists(home) and not self._is_here(name):
            await self._remove(home)

    async def estimate_bytes(self, name: str, snapshot: str, base: str | None) -> int | None:
        if base is not None:
            return None
        return (await self._usage(self._snapshot(name, snapshot)))[0]

    async def space(self, name: str) -> Space:
        self._refuse_missing(name)
        _total, exclusive, shared = await self._usage(self._home(name))
        found = os.statvfs(self._here(self._path))
        return Space(exclusive + shared, found.f_bavail * found.f_frsize)

    async def destroy(self, name: str) -> None:
        home = self._home(name)
        if self._exists(home):
            await self._unmount(name)
            doomed = home.with_name(name + DESTROYING)
            if self._exists(doomed):
                await self._remove(doomed)
            self._here(home).rename(self._here(doomed))
            await self._remove(doomed)
        await self._links.remove(name)

    # Where things are: as commands have it, but for `_here`

    def _here(self, path: Path) -> Path:
        return self._root / path.relative_to("/")

    def _exists(self, path: Path) -> bool:
        return self._here(path).exists()

    def _list(self, directory: Path) -> Sequence[Path]:
        return [directory / it.name for it in self._here(directory).iterdir()]

    def _home(self, name: str) -> Path:
        return self._datasets / name

    def _data(self, name: str) -> Path:
        return self._home(name) / DATA

    def _snapshot(self, name: str, snapshot: str) -> Path:
        return self._home(name) / snapshot / snapshot

    def _snapshot_names(self, name: str) -> Sequence[str]:
        found = [it.name for it in self._list(self._home(name)) if ":" not in it.name]
        return [it for it in found if self._exists(self._snapshot(name, it))]

    def _is_here(self, name: str) -> bool:
        return self._exists(self._home(name)) and (
            self._exists(self._data(name)) or bool(self._snapshot_names(name))
        )

    def _refuse_missing(self, name: str) -> None:
        if not self._is_here(name):
            raise StorageError(f"there is no dataset {name}")

    # What is done to them

    async def _make_data(self, name: str) -> None:
        """
        Have a writable subvolume with what the newest snapshot has, where there is none.
        """
        self._refuse_missing(name)
        if not self._exists(self._data(name)):
            newest = (await self.snapshots(name))[-1]
            source = str(self._snapshot(name, newest.name))
            await self._btrfs("subvolume", "snapshot", source, str(self._data(name)))

    async def _set_read_only(self, name: str, is_read_only: bool) -> None:
        value = "true" if is_read_only else "false"
        await self._btrfs("property", "set", "-t", "subvol", str(self._data(name)), "ro", value)

    async def _unmount(self, name: str) -> None:
        path = self._links.mounted(name)
        await self._mounts.unmount(
            path, lambda: self._commands.run("umount", str(path)), lambda: self._mount(name)
        )

    async def _mount(self, name: str) -> None:
        source, target = str(self._home(name)), str(self._links.mounted(name))
        await self._commands.run("mount", "--bind", source, target)

    async def _remove(self, home: Path) -> None:
        """
        Delete a dataset's directory with all that is in it.
        """
        for part in self._list(home):
            for subvolume in [part] if part.name == DATA else self._list(part):
                await self._delete(subvolume)
        shutil.rmtree(self._here(home))

    async def _delete(self, subvolume: Path) -> None:
        """
        Delete a subvolume, with those that have been made inside of it.
        """
        if not self._exists(subvolume):
            return
        if inner := await self._inner(subvolume):
            await self._btrfs("property", "set", "-t", "subvol", str(subvolume), "ro", "false")
            for path in inner:
                await self._delete(subvolume / path)
        await self._btrfs("subvolume", "delete", str(subvolume))

    async def _inner(self, subvolume: Path) -> Sequence[str]:
        """
        The paths of the subvolumes right below one, from there.
        """
        # Both commands say paths from the top of the whole btrfs, which may not be mounted.
        own = (await self._btrfs("subvolume", "show", str(subvolume))).splitlines()[0]
        lines = (await self._btrfs("subvolume", "list", "-o", str(subvolume))).splitlines()
        return [line.partition(" path ")[2].removeprefix(f"{own}/") for line in lines]

    async def _show(self, subvolume: Path) -> Mapping[str, str]:
        lines = (await self._btrfs("subvolume", "show", str(subvolume))).splitlines()
        pairs = (line.strip().partition(":") for line in lines[1:])
        return {name: value.strip() for name, _, value in pairs}

    async def _usage(self, path: Path) -> tuple[int, int, int]:
        """
        The bytes of all files below a path; of those, what is only in one of them; and what is
        shared by several, once. All are looked at, so it takes a while where there are many: btrfs
        has no such sums but those of quota groups, which slow down all that is written.
        """
        lines = await self._btrfs("filesystem", "du", "-s", "--raw", str(path))
        total, exclusive, shared = lines.splitlines()[-1].split()[:3]
        return int(total), int(exclusive), int(shared)

    async def _btrfs(self, *arguments: str) -> str:
        return await self._commands.run("btrfs", *arguments)
