"""
What the wait program needs of a container's ``HostConfig``: a mount, and a network of its own.

Sans-I/O: JSON objects in, JSON objects out.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Sequence
from typing import TypeAlias

from attrs import frozen

from powerstrip.adapter.json_text import Json, JsonObject
from powerstrip.adapter.members import object_of, objects, text, texts
from powerstrip_weave.errors import RequestError

__all__ = ["PLACE", "WaitBind", "WaitMount", "WaitVolume", "check_host_config", "set_mount"]

PLACE = "/.powerstrip-weave"
"""The directory of the wait program in a container."""

_MISPLACED = """
Annotations AutoRemove Binds BlkioDeviceReadBps BlkioDeviceReadIOps BlkioDeviceWriteBps
BlkioDeviceWriteIOps BlkioWeight BlkioWeightDevice CapAdd CapDrop Cgroup CgroupParent CgroupnsMode
CpuPeriod CpuQuota CpuRealtimePeriod CpuRealtimeRuntime CpusetMems DeviceCgroupRules DeviceRequests
Devices Dns DnsOptions DnsSearch ExtraHosts GroupAdd Init IpcMode Isolation KernelMemory
KernelMemoryTCP Links LogConfig MaskedPaths MemoryReservation MemorySwappiness Mounts NanoCpus
NetworkMode OomKillDisable OomScoreAdj PidMode PidsLimit PortBindings Privileged PublishAllPorts
ReadonlyPaths ReadonlyRootfs RestartPolicy Runtime SecurityOpt ShmSize StorageOpt Sysctls Tmpfs
UTSMode Ulimits UsernsMode VolumesFrom
"""
"""
Members of ``HostConfig`` that some engines read from a body without one, and only there.

``Memory``, ``MemorySwap``, ``CpuShares`` and ``CpusetCpus`` they read beside one as well.
"""


@frozen
class WaitBind:
    """
    The wait program comes into containers from a directory of the host.
    """

    host_directory: str

    @property
    def entry(self) -> str:
        """
        The entry of ``Binds``.
        """
        return f"{self.host_directory}:{PLACE}:ro"


@frozen
class WaitVolume:
    """
    The wait program comes into containers from a volume of another one, which has it at its place.
    """

    container: str
    """Its name."""

    @property
    def entry(self) -> str:
        """
        The entry of ``VolumesFrom``.
        """
        return f"{self.container}:ro"


WaitMount: TypeAlias = WaitBind | WaitVolume


def check_host_config(request: JsonObject) -> None:
    """
    Refuses a container that can't have an address.

    Args:
        request: The whole body.

    Raises:
        RequestError: when it has no network of its own, or a second ``HostConfig`` beside the one
            that is to get the mount.
    """
    host_config = object_of(request.get("HostConfig"))
    if request.get("HostConfig") is None:
        # Up to Docker 24 the body itself is a HostConfig where it has none, and no longer where it
        # has one: getHostConfig in moby runconfig/config_unix.go.
        for name in _MISPLACED.split():
            if request.get(name):
                raise RequestError(f"{name} must be in HostConfig where there is a WEAVE_CIDR")
    mode = text(host_config.get("NetworkMode"))
    if mode == "host":
        raise RequestError("a container with the host's network can't have a WEAVE_CIDR too")
    if mode.startswith("container:"):
        raise RequestError(
            "a container with another one's network can't have a WEAVE_CIDR too: "
            "give it to the other one"
        )


def set_mount(host_config: JsonObject, mount: WaitMount, *, wanted: bool) -> JsonObject:
    """
    The same with the wait program's mount, once, or without it.

    What else is mounted at its place gives way. The place is nobody else's, and where something is
    there, a tool makes a container anew and says what the old one had: perhaps from an adapter that
    kept the program elsewhere. The engine would refuse a second mount, or prefer the old one.
    """
    binds, volumes_from = texts(host_config.get("Binds")), texts(host_config.get("VolumesFrom"))
    mounts = objects(host_config.get("Mounts"))
    bind = mount.entry if wanted and isinstance(mount, WaitBind) else None
    source = mount.entry if wanted and isinstance(mount, WaitVolume) else None
    changed: dict[str, list[Json]] = {
        "Binds": [*_put(binds, _is_at_place, bind)],
        "VolumesFrom": [*_put(volumes_from, lambda entry: _is_from(entry, mount), source)],
        "Mounts": [m for m in mounts if _cleaned(text(m.get("Target"))) != PLACE],
    }
    return host_config | {
        name: entries
        for name, entries in changed.items()
        if entries != (host_config.get(name) or [])
    }


def _put(entries: Sequence[str], is_ours: Callable[[str], bool], ours: str | None) -> list[str]:
    kept = [entry for entry in entries if entry == ours or not is_ours(entry)]
    return kept if ours is None or ours in kept else [*kept, ours]


def _is_at_place(bind: str) -> bool:
    """
    Whether a bind has the program's place: ``PLACE``, ``SOURCE:PLACE`` or ``SOURCE:PLACE:OPTIONS``.
    """
    parts = bind.split(":")
    return _cleaned(parts[min(1, len(parts) - 1)]) == PLACE


def _is_from(entry: str, mount: WaitMount) -> bool:
    return isinstance(mount, WaitVolume) and entry.partition(":")[0] == mount.container


def _cleaned(path: str) -> str:
    return posixpath.normpath(path)
