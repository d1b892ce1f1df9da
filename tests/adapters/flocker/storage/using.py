"""
Processes that use a directory, as commands on a host do and as containers do.
"""

from __future__ import annotations

import subprocess
import sys
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

THREAD = '''
import ctypes, subprocess, sys, threading, time

MOUNT = """
mount --make-rslave /
mounted=$(dirname "$(realpath "$1")")
mkdir -p "$2"
mount --bind --make-private "$1" "$2"
umount "$mounted"
"""
CLONE_NEWNS = 0x20000

def run():
    assert ctypes.CDLL(None).unshare(CLONE_NEWNS) == 0
    subprocess.run(["sh", "-ec", MOUNT, "sh", *sys.argv[1:]], check=True)
    print("ready", flush=True)
    time.sleep(600)

threading.Thread(target=run).start()
'''
"""
Mounts elsewhere what is found at the mount point of a dataset, in the mount namespace of a thread:
as the engine does while it copies files into a stopped container.
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
def thread_with(path: Path, inside: Path, enter: Sequence[str] = ()) -> Iterator[None]:
    """
    Have a process of which a thread alone sees a directory there under another name.
    """
    with _running(*enter, sys.executable, "-c", THREAD, str(path), str(inside)):
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
