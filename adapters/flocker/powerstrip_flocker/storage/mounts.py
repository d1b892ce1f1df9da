"""
Where a file system is mounted, in this mount namespace and in those of containers.

`umount` succeeds while a container has the same file system mounted elsewhere: its bind mount is
another one, and what is open below that counts there alone (mount_namespaces(7)). Such a container
would write on. So each thread's ``mountinfo`` in ``/proc`` is looked at, see proc_pid_mountinfo(5);
from a container, that takes the host's PID namespace.

I/O: reads ``/proc`` and runs commands.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path

from attrs import frozen
from twisted.internet.task import deferLater

from powerstrip_flocker.errors import StorageError
from powerstrip_flocker.storage.command import Commands

__all__ = ["Mount", "Mounts", "parse_mounts"]

Step = Callable[[], Awaitable[object]]

LOOKS = 10
LOOK_SECONDS = 0.1

_ESCAPE = re.compile(r"\\([0-7]{3})")


@frozen
class Mount:
    """
    A line of mountinfo.
    """

    number: str
    """Its own among all mounts of the host."""

    device: str
    """The file system's, as in ``0:48``: the same for each mount of it, and another file system's
    as soon as it is mounted nowhere."""

    root: str
    """What of the file system is mounted."""

    path: str
    """Where."""

    is_private: bool
    """Whether it stays when one that it was copied from goes."""

    source: str
    """The file system's type and what it is on, as in ``btrfs /dev/sdb``."""

    def is_shown_by(self, other: Mount) -> bool:
        """
        Whether the other one has what is mounted here, or a part of it.
        """
        is_same = (self.device, self.source) == (other.device, other.source)
        return is_same and (
            self.root == other.root or other.root.startswith(self.root.rstrip("/") + "/")
        )


def parse_mounts(text: str) -> Sequence[Mount]:
    """
    The lines of a mountinfo, in the order in which they were mounted.
    """
    return [_parse_mount(line.split(" ")) for line in text.splitlines()]


def _parse_mount(words: Sequence[str]) -> Mount:
    number, _, device, root, path = words[:5]
    shared_to = words.index("-", 6)
    source = _unescape(" ".join(words[shared_to + 1 : shared_to + 3]))
    return Mount(number, device, _unescape(root), _unescape(path), shared_to == 6, source)


def _unescape(word: str) -> str:
    return _ESCAPE.sub(lambda found: chr(int(found[1], 8)), word)


@frozen
class Mounts:
    """
    The mounts that commands see.
    """

    commands: Commands

    async def at(self, path: Path) -> Mount | None:
        """
        What is mounted at a path: the uppermost.
        """
        for mount in reversed(parse_mounts(await self.commands.run("cat", "/proc/self/mountinfo"))):
            if mount.path == str(path):
                return mount
        return None

    async def unmount(self, path: Path, unmount: Step, mount: Step) -> None:
        """
        Unmount what is mounted at a path, unless it is used.

        Args:
            unmount: Does it.
            mount: Undoes it.

        Raises:
            StorageError: It is used, and mounted as before.
        """
        found = await self.at(path)
        if found is None:
            return
        # A copy of this mount in another namespace, at the same path, may go with it. Any other one
        # stays, and is refused now: zfs-fuse can't mount again what is still mounted somewhere.
        used = await self._still_used(path, lambda it: _stays(it, found))
        if used is not None:
            raise used
        await unmount()
        used = await self._still_used(path, found.is_shown_by)
        if used is not None:
            await mount()
            raise used

    async def _still_used(
        self, path: Path, is_wanted: Callable[[Mount], bool]
    ) -> StorageError | None:
        """
        Say who has a mount. Who has it for a moment is waited for: each program that runs in a
        namespace of its own begins with a copy of all mounts.
        """
        for _ in range(LOOKS):
            pid, mount = next(_mounts_of_all(is_wanted), ("", None))
            if mount is None:
                return None
            used = _used(path, pid, mount)
            await deferLater(self.commands.reactor, LOOK_SECONDS)
        return used


def _stays(mount: Mount, unmounted: Mount) -> bool:
    is_copy = mount.path.endswith(unmounted.path) and not mount.is_private
    is_other = mount.number != unmounted.number
    return is_other and not is_copy and unmounted.is_shown_by(mount)


def _used(path: Path, pid: str, mount: Mount) -> StorageError:
    name = "?"
    with contextlib.suppress(OSError):
        name = Path("/proc", pid, "comm").read_text().strip()
    return StorageError(f"{path} is in use: process {pid} ({name}) has it mounted at {mount.path}")


def _mounts_of_all(is_wanted: Callable[[Mount], bool]) -> Iterator[tuple[str, Mount]]:
    """
    The mounts in all namespaces that are wanted, each with a process that sees it.
    """
    seen = set()
    for pid, thread in _threads():
        # It may end while it is looked at.
        with contextlib.suppress(OSError):
            namespace = os.readlink(thread / "ns" / "mnt")
            if namespace not in seen:
                text = (thread / "mountinfo").read_text(errors="surrogateescape")
                seen.add(namespace)
                yield from ((pid, it) for it in parse_mounts(text) if is_wanted(it))


def _threads() -> Iterator[tuple[str, Path]]:
    """
    What /proc has of each thread, with its process: one can have a namespace of its own, as that of
    dockerd has which copies files into a stopped container (moby, daemon/containerfs_linux.go).
    """
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            for thread in os.listdir(f"/proc/{pid}/task"):
                yield pid, Path("/proc", pid, "task", thread)
