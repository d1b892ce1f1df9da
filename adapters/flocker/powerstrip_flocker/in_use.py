"""
Which datasets a container has, and whether it uses them.

Sans-I/O: the engine's JSON of a container in, names out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from powerstrip.adapter.errors import EngineProtocolError
from powerstrip.adapter.members import Unreadable, object_of, objects, text
from powerstrip_flocker.host_config import bind_sources, volume_paths
from powerstrip_flocker.places import is_below

__all__ = ["datasets_in_use", "datasets_of", "is_in_use"]

_NEVER = "0001-01-01T00:00:00"
"""Go's zero time: a container was not started yet. One whose start has failed wasn't either."""


def datasets_in_use(
    inspected: Mapping[str, Any], mount_points: Mapping[str, str]
) -> tuple[str, ...]:
    """
    The datasets that may not be taken away from a container.

    Args:
        inspected: What ``docker inspect`` shows of it.
        mount_points: Of datasets on this host, by name.

    Raises:
        EngineProtocolError: when it is not what the engine says of a container.
    """
    return datasets_of(inspected, mount_points) if is_in_use(inspected) else ()


def datasets_of(inspected: Mapping[str, Any], mount_points: Mapping[str, str]) -> tuple[str, ...]:
    """
    The datasets that a container mounts when it runs, in the order of `mount_points`.

    Those count that are mounted as they are or in part, by its own request or by one that it takes
    its volumes from. A directory above a dataset's mount point does not count: it would be ``/`` of
    those who watch a whole host, and no dataset could move.

    Raises:
        EngineProtocolError: when it is not what the engine says of a container.
    """
    try:
        sources = _sources(inspected)
    except Unreadable as error:
        raise EngineProtocolError(f"the engine answered what is no container: {error}") from error
    return tuple(
        name
        for name, mount_point in mount_points.items()
        if any(is_below(source, mount_point) for source in sources)
    )


def is_in_use(inspected: Mapping[str, Any]) -> bool:
    """
    Whether a container uses what it mounts: it runs, is paused or waits for its restart, for all of
    which the engine says that it runs, or it was created and is to be started yet. One that has
    ended does not use it, though it may be started again.

    Raises:
        EngineProtocolError: when it is not what the engine says of a container.
    """
    try:
        state = inspected["State"]
        return bool(state["Running"]) or state["StartedAt"].startswith(_NEVER)
    except (KeyError, TypeError, AttributeError) as error:
        what = f"the engine answered what is no container: {error!r}"
        raise EngineProtocolError(what) from error


def _sources(inspected: Mapping[str, Any]) -> list[str]:
    """
    The paths of the host that a container has, or refers to.

    ``Mounts`` is what the engine has made of the request and of ``VolumesFrom``. What was asked for
    counts as well, and so do volumes that are made of a path, whose ``Mounts`` do not tell it.
    """
    host_config = object_of(inspected.get("HostConfig"))
    mounts = [text(mount.get("Source")) for mount in objects(inspected.get("Mounts"))]
    sources = [*mounts, *bind_sources(host_config), *volume_paths(host_config)]
    return [source for source in sources if source.startswith("/")]
