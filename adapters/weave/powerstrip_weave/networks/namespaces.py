"""
Network namespaces, and whose they are.

I/O: a thread that has entered a namespace ends there, so none is ever left in a wrong one.
"""

from __future__ import annotations

import ctypes
import errno
import os
import select
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Self, TypeVar

from powerstrip_weave.errors import NetworkError, NotRunning
from powerstrip_weave.interfaces import RunningContainer

OWN_NAMESPACE = Path("/proc/self/ns/net")

CLONE_NEWNET = 0x40000000
"""setns(2): only a network namespace will do."""

_T = TypeVar("_T")
_libc = ctypes.CDLL(None, use_errno=True)


class Namespace:
    """
    A network namespace, which stays as long as it is held open here.
    """

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """
        Hold it no longer.
        """
        if self._fd != -1:
            os.close(self._fd)
            self._fd = -1

    def fileno(self) -> int:
        return self._fd

    def is_same_as(self, other: Namespace) -> bool:
        return os.path.sameopenfile(self._fd, other._fd)

    def within(self, work: Callable[[], _T]) -> _T:
        """
        Do something in this namespace, such as to open a socket, which then belongs to it.

        A namespace is entered by a thread, not by a process. The thread is a new one and ends
        with the work, whatever comes of it: there is no way back that could fail.
        """
        done: Future[_T] = Future()

        def run() -> None:
            try:
                _enter(self._fd)
                done.set_result(work())
            except BaseException as error:
                done.set_exception(error)

        thread = Thread(target=run)
        thread.start()
        thread.join()
        return done.result()

    def open_socket(self, family: int, kind: int, protocol: int) -> socket.socket:
        return self.within(lambda: socket.socket(family, kind, protocol))


class ContainerNamespace(Namespace):
    """
    The network namespace of a container's process 1, and that process.
    """

    def __init__(self, container: RunningContainer, pidfd: int) -> None:
        super().__init__(Path(f"/proc/{container.pid}/ns/net"))
        self._container = container
        self._pidfd = pidfd

    def check_running(self) -> None:
        """
        Raises:
            NotRunning: the container's process 1 has ended.
        """
        # pidfd_open(2): readable once the process has ended, be it waited for or not.
        if select.select([self._pidfd], [], [], 0)[0]:
            raise _ended(self._container)


@contextmanager
def namespace_of(container: RunningContainer) -> Iterator[ContainerNamespace]:
    """
    The network namespace of a container, and never that of another process.

    A process id says nothing once its process has ended: it may be another's, even the host's.
    So the process is held first, then what ``/proc`` says of that id is read, and the process is
    seen to run still: what was read in between was its own. That it is the container's is read
    off its cgroups, which every engine names after the container.

    Raises:
        NotRunning: the container has ended.
        NetworkError: this process may not look into it.
    """
    try:
        pidfd = os.pidfd_open(container.pid)
    except OSError as error:
        raise _explained(error, container) from error
    try:
        with _open(container, pidfd) as namespace:
            if container.id not in _cgroups(container):
                raise _ended(container)
            namespace.check_running()
            yield namespace
    finally:
        os.close(pidfd)


def _enter(fd: int) -> None:
    if _libc.setns(fd, CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"entering a network namespace: {os.strerror(number)}")


def _open(container: RunningContainer, pidfd: int) -> ContainerNamespace:
    try:
        return ContainerNamespace(container, pidfd)
    except OSError as error:
        raise _explained(error, container) from error


def _cgroups(container: RunningContainer) -> str:
    try:
        return Path(f"/proc/{container.pid}/cgroup").read_text()
    except OSError as error:
        raise _explained(error, container) from error


def _explained(error: OSError, container: RunningContainer) -> NetworkError:
    """
    What it means that a container's process can't be looked into.
    """
    if error.errno in (errno.ESRCH, errno.ENOENT, errno.EINVAL):  # EINVAL: process 0
        return _ended(container)
    if error.errno in (errno.EACCES, errno.EPERM):
        # ptrace(2), "Ptrace access mode checking": another user's process, or a confined one.
        return NetworkError(
            f"no right to look into the container {container.id[:12]}: that needs CAP_SYS_PTRACE"
        )
    return NetworkError(f"the container {container.id[:12]} can't be looked into: {error.strerror}")


def _ended(container: RunningContainer) -> NotRunning:
    return NotRunning(
        f"the container {container.id[:12]} has ended: it is not process {container.pid}"
    )
