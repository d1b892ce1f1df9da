"""
Where a path leads when its symbolic links are followed, as the engine follows them.

I/O: reads links. They are those of a host whose root may be elsewhere here, as it is for an adapter
in a container: what an absolute link names begins at that root.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

from powerstrip_flocker.errors import RequestError
from powerstrip_flocker.places import is_below

__all__ = ["MAX_LINKS", "check_stays_inside", "led_to"]

MAX_LINKS = 255
"""More than the kernel follows (path_resolution(7): 40)."""


def check_stays_inside(path: str, mount_point: str, root: Path) -> None:
    """
    Refuses a path in a dataset that leads out of it.

    A container can make such a link when the path has been looked at: who may run containers may
    mount any path of the host by its own name. What this holds is that what names a dataset is
    kept and moved with it.

    Args:
        path: As it is on the host.
        root: Where the host's root is here.

    Raises:
        RequestError: It does.
    """
    top = led_to(mount_point, root)
    if not is_below(led_to(path, root), top):
        raise RequestError(f"{path} leads out of the dataset, by a symbolic link")


def led_to(path: str, root: Path) -> str:
    """
    The absolute path that it is in the end. What is missing is taken as it is written.

    Raises:
        RequestError: when its links lead nowhere.
    """
    left = path.split("/")[::-1]
    steps: list[str] = []
    links = 0
    while left:
        part = left.pop()
        if part in ("", "."):
            continue
        if part == "..":
            del steps[-1:]
            continue
        target = _target(root.joinpath(*steps, part))
        if target is None:
            steps.append(part)
            continue
        links += 1
        if links > MAX_LINKS:
            raise RequestError(f"{path} has symbolic links that lead nowhere")
        if target.startswith("/"):
            steps = []
        left += target.split("/")[::-1]
    return "/" + "/".join(steps)


def _target(path: Path) -> str | None:
    try:
        return os.readlink(path)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOENT, errno.ENOTDIR):
            return None
        raise RequestError(f"{path} can't be looked at: {error.strerror}") from error
