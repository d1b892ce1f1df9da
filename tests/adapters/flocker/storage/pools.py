"""
File systems for tests, each in a file: pools of zfs-fuse, and btrfs.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Self

SIZE_BYTES = 128 * 2**20
"""Of the file; only what is written takes room."""

START_SECONDS = 20.0

PROGRAMS = "/usr/sbin:/sbin"
"""Where these commands are, of which not every path tells."""

DAEMON = """
mkdir -p /run/zfs /var/lock/zfs
mount --bind "$1/lib" /var/lib/zfs
mount --bind "$1/run" /run/zfs
mount --bind "$1/lock" /var/lock/zfs
exec zfs-fuse --no-daemon --no-kstat-mount --max-arc-size 32
"""
"""
Becomes a zfs-fuse of its own. /var/lib/zfs tells which pools are its: two of them that have that in
common would each open all pools, and destroy them. Its socket is in /run/zfs, and what it locks in
/var/lock/zfs: another one that finds it locked ends, and says nothing.
"""


def why_no_zfs() -> str | None:
    """
    The reason why there can be no pool here, or None.
    """
    if os.geteuid() != 0:
        return "zfs-fuse needs root"
    if not Path("/dev/fuse").exists():
        return "zfs-fuse needs /dev/fuse"
    return _why_not_installed("zfs-fuse")


def why_no_btrfs() -> str | None:
    """
    The reason why there can be no btrfs here, or None.
    """
    if os.geteuid() != 0:
        return "mounting needs root"
    if "\tbtrfs\n" not in Path("/proc/filesystems").read_text():
        subprocess.run(["modprobe", "btrfs"], capture_output=True, env=_environment())
    if "\tbtrfs\n" not in Path("/proc/filesystems").read_text():
        return "this kernel has no btrfs"
    return _why_not_installed("btrfs")


def _why_not_installed(program: str) -> str | None:
    found = shutil.which(program, path=f"{os.environ['PATH']}:{PROGRAMS}")
    return None if found else f"there is no {program}: scripts/install-storage"


class _FileSystem(ABC):
    """
    A file system that is there while it is used.
    """

    def __init__(self, prefix: str) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix=prefix, dir="/tmp"))

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            undo.callback(self.stop)
            self._make()
            undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @abstractmethod
    def _make(self) -> None:
        """
        Have it there.
        """

    @abstractmethod
    def stop(self) -> None:
        """
        Leave nothing of it, also when it is not there as a whole.
        """


class ZfsFusePool(_FileSystem):
    """
    A pool, and a zfs-fuse that knows only this one, in a mount namespace of its own.

    All of it goes when it is left. Processes that `enter` leads into the namespace have to end
    before.
    """

    def __init__(self, name: str = "flocker") -> None:
        super().__init__("zfs-")
        self.name = name
        self._daemon: subprocess.Popen[bytes] | None = None

    @property
    def mount_point(self) -> Path:
        """
        Where the pool is mounted, for those in its namespace.
        """
        return self._directory / "mounts"

    @property
    def enter(self) -> Sequence[str]:
        """
        What stands before a command that is to run in its namespace.
        """
        assert self._daemon is not None
        return ("nsenter", f"--mount=/proc/{self._daemon.pid}/ns/mnt")

    def outside(self, path: Path) -> Path:
        """
        Where a path in its namespace is found from outside.
        """
        assert self._daemon is not None
        return Path(f"/proc/{self._daemon.pid}/root", *path.parts[1:])

    def run(self, *command: str) -> str:
        """
        What a command says that runs in its namespace.
        """
        return _run(*self.enter, *command)

    def empty(self) -> None:
        """
        Destroy all that is in the pool. What was just unmounted may be busy for a moment.
        """
        names = self.run("zfs", "list", "-H", "-r", "-o", "name", self.name).split()[1:]
        for name in names:
            destroy = (*self.enter, "zfs", "destroy", "-r", name)
            _wait_until(lambda destroy=destroy: _succeeds(*destroy))  # type: ignore[misc]

    def reboot(self) -> None:
        """
        Do what a host does that loses its power and starts again.
        """
        self._kill()
        self._start()
        self.run("zfs", "mount", "-a")

    def stop(self) -> None:
        self._kill()
        shutil.rmtree(self._directory)

    def _make(self) -> None:
        for part in ("lib", "run", "lock", "mounts"):
            (self._directory / part).mkdir()
        with (self._directory / "pool").open("wb") as file:
            file.truncate(SIZE_BYTES)
        self._start()
        mount_point, file_name = str(self.mount_point), str(self._directory / "pool")
        self.run("zpool", "create", "-m", mount_point, self.name, file_name)

    def _start(self) -> None:
        socket = self._directory / "run" / "zfs_socket"
        socket.unlink(missing_ok=True)
        unshare = ["unshare", "--mount", "--propagation", "private"]
        with (self._directory / "log").open("ab") as log:
            self._daemon = subprocess.Popen(
                [*unshare, "sh", "-ec", DAEMON, "sh", str(self._directory)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=_environment(),
            )
        _wait_until(socket.exists)
        _wait_until(lambda: _succeeds(*self.enter, "zpool", "list"))

    def _kill(self) -> None:
        if self._daemon is not None:
            self._daemon.kill()
            self._daemon.wait()
            self._daemon = None


class BtrfsFile(_FileSystem):
    """
    A btrfs, mounted while it is used.
    """

    def __init__(self) -> None:
        super().__init__("btrfs-")
        self.mount_point = self._directory / "mounted"

    @property
    def enter(self) -> Sequence[str]:
        """
        What stands before a command that is to run where it is mounted.
        """
        return ()

    @property
    def root(self) -> Path:
        """
        What ``/`` is there, seen from here.
        """
        return Path("/")

    @property
    def _file(self) -> Path:
        return self._directory / "file"

    def reboot(self) -> None:
        """
        Do what a host does that starts again.
        """
        self._unmount()
        self._mount()

    def stop(self) -> None:
        if self.mount_point.is_mount():
            self._unmount()
        shutil.rmtree(self._directory)

    def _make(self) -> None:
        self.mount_point.mkdir()
        with self._file.open("wb") as file:
            file.truncate(SIZE_BYTES)
        _run("mkfs.btrfs", "-q", str(self._file))
        self._mount()

    def _mount(self) -> None:
        _run(*self.enter, "mount", "-o", "loop", str(self._file), str(self.mount_point))

    def _unmount(self) -> None:
        _run(*self.enter, "umount", "--recursive", str(self.mount_point))


class BtrfsFileElsewhere(BtrfsFile):
    """
    A btrfs that is mounted in a mount namespace of its own, and nowhere else.
    """

    def __init__(self) -> None:
        super().__init__()
        self._sleeper: subprocess.Popen[bytes] | None = None

    @property
    def enter(self) -> Sequence[str]:
        return ("nsenter", f"--mount=/proc/{self._process}/ns/mnt")

    @property
    def root(self) -> Path:
        return Path(f"/proc/{self._process}/root")

    @property
    def _process(self) -> int:
        assert self._sleeper is not None
        return self._sleeper.pid

    def stop(self) -> None:
        if self._sleeper is not None:
            # What is mounted there goes with the last process that is there.
            self._sleeper.kill()
            self._sleeper.communicate()
        shutil.rmtree(self._directory)

    def _make(self) -> None:
        unshare = ("unshare", "--mount", "--propagation", "private")
        self._sleeper = subprocess.Popen(
            [*unshare, "sh", "-c", "echo ready; exec sleep 600"], stdout=subprocess.PIPE
        )
        assert self._sleeper.stdout is not None
        assert self._sleeper.stdout.readline() == b"ready\n"
        super()._make()


def _environment() -> dict[str, str]:
    return {**os.environ, "PATH": f"{os.environ['PATH']}:{PROGRAMS}"}


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, env=_environment())
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


def _succeeds(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, env=_environment()).returncode == 0


def _wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not is_so():
        if time.monotonic() > deadline:
            raise RuntimeError("zfs-fuse doesn't do it")
        time.sleep(0.05)
