"""
Where a machine keeps its datasets: a pool of ZFS, or btrfs where there is no FUSE.

I/O: each in a file, mounted in the machine's own mount namespace. Standard library only.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from demo.mounts import MountNamespace
from demo.stage import Program, StageError, ignore

__all__ = ["BtrfsPool", "NewPool", "Pool", "ZfsFusePool", "new_pool", "why_not"]

PROGRAMS = "/usr/sbin:/sbin"
"""Where these commands are, of which not every path tells."""

NAME = "flocker"
"""Of the pool, or of its directory. Each machine's is another one."""

START_SECONDS = 20.0

ZFS_FUSE = """
mkdir -p /var/lib/zfs /run/zfs /var/lock/zfs
mount --bind "$1/lib" /var/lib/zfs
mount --bind "$1/run" /run/zfs
mount --bind "$1/lock" /var/lock/zfs
exec zfs-fuse --no-daemon --no-kstat-mount --max-arc-size 64
"""
"""
Becomes a zfs-fuse of the machine's own. /var/lib/zfs tells which pools are its: two of them that
have that in common would each open all pools, and destroy them.
"""


def why_not() -> str | None:
    """
    The reason why there can be no pool here, or None where there can.
    """
    if _has_zfs_fuse() or shutil.which("mkfs.btrfs", path=_path()):
        return None
    return "not installed: zfs-fuse or btrfs-progs (scripts/install-storage installs them)"


class Pool(Protocol):
    """
    A file system with snapshots.
    """

    storage: str
    """What ``--storage`` of the flocker adapter takes."""

    mount_point: Path
    """Where datasets are mounted, each by its name."""

    def start(self) -> None:
        """
        Make it, or take it up again after `kill`.
        """

    def stop(self) -> None:
        """
        Let it go.
        """

    def kill(self) -> None:
        """
        Have it end as by the machine's end. `start` takes it up again.
        """


NewPool = Callable[[Path, MountNamespace, int], Pool]
"""Given what `new_pool` is."""


def new_pool(directory: Path, mounts: MountNamespace, size_bytes: int) -> Pool:
    """
    The best that this machine can have.

    Args:
        directory: Of its own, below which all of it lies.
        size_bytes: Of the file; only what is written takes room.
    """
    if _has_zfs_fuse():
        return ZfsFusePool(directory, mounts, size_bytes)
    return BtrfsPool(directory, mounts, size_bytes)


class ZfsFusePool:
    """
    A pool, and the zfs-fuse that serves it.
    """

    def __init__(self, directory: Path, mounts: MountNamespace, size_bytes: int) -> None:
        self._directory = directory
        self._mounts = mounts
        self._size_bytes = size_bytes
        self.storage = f"zfs:{NAME}"
        self.mount_point = directory / "datasets"
        self._daemon: Program | None = None

    def start(self) -> None:
        """
        See `Pool`.
        """
        is_new = not self._directory.exists()
        for part in ("lib", "run", "lock", "datasets"):
            (self._directory / part).mkdir(parents=True, exist_ok=True)
        (self._directory / "run" / "zfs_socket").unlink(missing_ok=True)
        _make_file(self._directory / "file", self._size_bytes)
        command = [*self._mounts.enter, "env", f"PATH={_path()}"]
        command += ["sh", "-ec", ZFS_FUSE, "sh", str(self._directory)]
        self._daemon = Program("zfs-fuse", command, ignore)
        self._daemon.wait_for(lambda: _succeeds(self._mounts, "zpool", "list"), START_SECONDS)
        if is_new:
            place = (str(self.mount_point), NAME, str(self._directory / "file"))
            _run(self._mounts, "zpool", "create", "-m", *place)
        else:
            _run(self._mounts, "zfs", "mount", "-a")

    def stop(self) -> None:
        """
        See `Pool`.
        """
        self.kill()  # nothing of it is kept

    def kill(self) -> None:
        """
        See `Pool`.
        """
        if self._daemon is not None:
            self._daemon.kill()
            self._daemon = None


class BtrfsPool:
    """
    A btrfs in a file.
    """

    def __init__(self, directory: Path, mounts: MountNamespace, size_bytes: int) -> None:
        self._directory = directory
        self._mounts = mounts
        self._size_bytes = size_bytes
        self.mount_point = directory / "datasets"
        self.storage = f"btrfs:{self.mount_point}"

    def start(self) -> None:
        """
        See `Pool`.
        """
        is_new = not self._directory.exists()
        self.mount_point.mkdir(parents=True, exist_ok=True)
        file = str(self._directory / "file")
        if is_new:
            _make_file(Path(file), self._size_bytes)
            _run(self._mounts, "mkfs.btrfs", "-q", file)
        _run(self._mounts, "mount", "-o", "loop", file, str(self.mount_point))

    def stop(self) -> None:
        """
        See `Pool`.
        """
        if self._directory.exists():
            _succeeds(self._mounts, "umount", "--recursive", "--lazy", str(self.mount_point))

    def kill(self) -> None:
        """
        See `Pool`.
        """
        self.stop()


def _has_zfs_fuse() -> bool:
    return Path("/dev/fuse").exists() and shutil.which("zfs-fuse", path=_path()) is not None


def _make_file(path: Path, size_bytes: int) -> None:
    with path.open("ab") as file:
        file.truncate(size_bytes)


def _path() -> str:
    return f"{os.environ['PATH']}:{PROGRAMS}"


def _run(mounts: MountNamespace, *command: str) -> None:
    done = _in(mounts, *command)
    if done.returncode != 0:
        raise StageError(f"{' '.join(command)}: {done.stderr.strip()}")


def _succeeds(mounts: MountNamespace, *command: str) -> bool:
    return _in(mounts, *command).returncode == 0


def _in(mounts: MountNamespace, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": _path()}
    inside = [*mounts.enter, *command]
    return subprocess.run(inside, capture_output=True, text=True, env=environment)
