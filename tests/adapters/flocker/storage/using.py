"""
Processes that use a directory, as commands on a host do and as containers do.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

CONTAINER = """
mounted=$(dirname "$(realpath "$1")")
mkdir -p "$2"
mount --bind "$1" "$2"
[ "$1" = "$2" ] || umount "$mounted"
cd /
echo ready
exec sleep 600
"""
"""
Mounts elsewhere what is found at the mount point of a dataset, and has only that: as the engine
does for a container. What is found is a directory in the file system that is mounted.
"""


def make_directory(path: Path, enter: Sequence[str] = ()) -> None:
    """
    Do what the engine does with the source of a bind.

    Raises:
        OSError: It can't be made.
    """
    done = subprocess.run([*enter, "mkdir", "-p", str(path)], capture_output=True, text=True)
    if done.returncode != 0:
        raise OSError(done.stderr)


@contextmanager
def process_in(path: Path, enter: Sequence[str] = ()) -> Iterator[None]:
    """
    Have a process whose working directory is there.
    """
    with _running(*enter, "sh", "-ec", 'cd "$1"; echo ready; exec sleep 600', "sh", str(path)):
        yield


@contextmanager
def container_with(path: Path, inside: Path, enter: Sequence[str] = ()) -> Iterator[None]:
    """
    Have a process in another mount namespace, which sees a directory there under another name.
    """
    unshare = ("unshare", "--mount", "--propagation", "private")
    with _running(*enter, *unshare, "sh", "-ec", CONTAINER, "sh", str(path), str(inside)):
        yield


@contextmanager
def _running(*command: str) -> Iterator[None]:
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"ready\n"
            yield
        finally:
            process.kill()
