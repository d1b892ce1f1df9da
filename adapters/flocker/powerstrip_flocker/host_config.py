"""
The sources of what is mounted into a container, as its ``HostConfig`` names them.

Sans-I/O: JSON objects in, JSON objects and texts out. The same in a request to create a container
and in what the engine says of one.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from powerstrip.adapter.json_text import Json, JsonObject
from powerstrip.adapter.members import object_of, objects, text, texts

__all__ = ["bind_sources", "containers_from", "volume_paths", "with_bind_sources"]


def bind_sources(host_config: JsonObject) -> list[str]:
    """
    The sources of the entries of ``Binds``, and of ``Mounts`` of type bind, in order.

    Those of ``Binds`` can also be the names of volumes.
    """
    binds = [entry.partition(":") for entry in texts(host_config.get("Binds"))]
    mounts = objects(host_config.get("Mounts"))
    return [source for source, colon, _ in binds if colon] + [
        text(mount.get("Source")) for mount in mounts if _is_bind(mount)
    ]


def with_bind_sources(host_config: JsonObject, change: Callable[[str], str]) -> JsonObject:
    """
    The same with other sources for its binds.

    Args:
        change: Gives the new source for an old one. One with a colon can't stand in ``Binds``.
    """
    changed: dict[str, list[Json]] = {
        "Binds": [_changed_bind(entry, change) for entry in texts(host_config.get("Binds"))],
        "Mounts": [_changed_mount(mount, change) for mount in objects(host_config.get("Mounts"))],
    }
    return host_config | {
        name: entries
        for name, entries in changed.items()
        if entries != (host_config.get(name) or [])
    }


def volume_paths(host_config: JsonObject) -> list[str]:
    """
    The paths of the host that volumes are to be made of: by the options of their drivers.

    Docker's own driver passes them to mount(2): the path is the ``device`` of a bind, and stands
    among the comma-separated ``o`` of an overlay. One after a host's name is on another machine, as
    ``:/data`` is for NFS.
    """
    paths: list[str] = []
    for mount in objects(host_config.get("Mounts")):
        volume = object_of(mount.get("VolumeOptions"))
        driver = object_of(volume.get("DriverConfig"))
        for option in object_of(driver.get("Options")).values():
            for value in re.split("[,=]", text(option)):
                if value.startswith("/"):
                    paths += value.split(":")  # the lower directories of an overlay
    return paths


def containers_from(host_config: JsonObject) -> tuple[str, ...]:
    """
    The containers of ``VolumesFrom``, each once, by id or by name.
    """
    entries = texts(host_config.get("VolumesFrom"))
    return tuple(dict.fromkeys(entry.partition(":")[0] for entry in entries))


def _changed_bind(entry: str, change: Callable[[str], str]) -> str:
    """
    The bind ``SOURCE:TARGET`` or ``SOURCE:TARGET:OPTIONS``; without a colon it is a volume's target
    (moby ``volume/mounts/linux_parser.go``).
    """
    source, colon, rest = entry.partition(":")
    return f"{change(source)}{colon}{rest}" if colon else entry


def _changed_mount(mount: JsonObject, change: Callable[[str], str]) -> JsonObject:
    if not _is_bind(mount):
        return mount
    source = text(mount.get("Source"))
    wanted = change(source)
    return mount if wanted == source else mount | {"Source": wanted}


def _is_bind(mount: JsonObject) -> bool:
    return mount.get("Type") == "bind"
