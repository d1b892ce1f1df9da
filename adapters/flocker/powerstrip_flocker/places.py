"""
Where the source of a mount leads: into a dataset, or elsewhere.

Sans-I/O: paths in, values out. Symbolic links are not looked at.
"""

from __future__ import annotations

from attrs import frozen

from powerstrip_flocker.errors import RequestError
from powerstrip_flocker.names import check_name

__all__ = ["Place", "cleaned", "is_below", "place_of"]

_ROOT = "flocker"


@frozen
class Place:
    """
    A dataset, or a file or directory in it.
    """

    dataset: str
    """The dataset's name, which is a good one."""

    below: str = ""
    """The way there from the top of the dataset, cleaned, or nothing for the top itself. A symbolic
    link on it may lead out of the dataset: whoever mounts it has to look."""

    def on_host(self, mount_point: str) -> str:
        """
        Where it is on a host that has the dataset mounted there.
        """
        return cleaned(f"{mount_point}/{self.below}")


def place_of(source: str) -> Place | None:
    """
    The place that a mount's source names, or None where it is no dataset's.

    The path is cleaned as the engine does it (Go's ``path.Clean`` in moby ``volume/mounts``), by
    its letters alone, and counts as what is left of it.

    Raises:
        RequestError: when it is in /flocker and no dataset's, and when it has been there on its way
            to somewhere else: such a path is a mistake, or meant to deceive.
    """
    if not source.startswith("/"):
        return None  # a named volume
    steps: list[str] = []
    was_inside = False
    for part in source.split("/"):
        _step(steps, part)
        was_inside = was_inside or steps[:1] == [_ROOT]
    if steps[:1] == [_ROOT]:
        if len(steps) == 1:
            raise RequestError(
                "/flocker itself can't be mounted: name a dataset in it, as in /flocker/NAME"
            )
        check_name(steps[1])
        return Place(steps[1], "/".join(steps[2:]))
    if was_inside:
        raise RequestError(f"the path {_shown(source)} leads out of /flocker")
    return None


def cleaned(path: str) -> str:
    """
    An absolute path without ``.``, ``..`` and needless slashes, as Go's ``path.Clean`` makes it.

    Python's own keeps two slashes at the beginning, as POSIX lets it: ``//flocker`` is no
    ``/flocker`` to it.
    """
    steps: list[str] = []
    for part in path.split("/"):
        _step(steps, part)
    return "/" + "/".join(steps)


def is_below(path: str, directory: str) -> bool:
    """
    Whether an absolute path is a directory's own, or one of what is in it.
    """
    path, directory = cleaned(path), cleaned(directory)
    return path == directory or path.startswith(f"{directory.rstrip('/')}/")


def _step(steps: list[str], part: str) -> None:
    if part == "..":
        del steps[-1:]
    elif part not in ("", "."):
        steps.append(part)


def _shown(path: str) -> str:
    return repr(path if len(path) <= 100 else f"{path[:99]}…")
