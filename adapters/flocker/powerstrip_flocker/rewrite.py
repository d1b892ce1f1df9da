"""
The request that creates a container, changed so that it mounts datasets where they really are.

Sans-I/O: the body of a create request in, what it asks for and the body for the engine out. What
can't be read, because the engine will refuse it, asks for nothing.

The body of a start request, which could be a ``HostConfig`` up to API 1.23, is read in the same
way, unless it has a member ``HostConfig``, which no engine looks at there.
"""

from __future__ import annotations

from collections.abc import Mapping

from powerstrip.adapter.json_text import JsonObject, TooDeep, dump
from powerstrip.adapter.members import Unreadable, load_object, object_of
from powerstrip_flocker.errors import RequestError
from powerstrip_flocker.host_config import (
    bind_sources,
    containers_from,
    volume_paths,
    with_bind_sources,
)
from powerstrip_flocker.places import Place, place_of

__all__ = ["containers_in", "datasets_in", "host_config_in", "places_in", "rewritten"]


def datasets_in(body: str) -> tuple[str, ...]:
    """
    The names of the datasets that a request asks for, in order, each once.

    Raises:
        RequestError: when one can't be had.
    """
    return tuple(dict.fromkeys(place.dataset for place in places_in(body)))


def places_in(body: str) -> tuple[Place, ...]:
    """
    What a request mounts of datasets, in order, each once.

    Nothing needs to be made below a dataset: when the container starts, the engine makes the
    missing directories of ``Binds``, and it refuses to create one that has ``Mounts`` of what is
    missing, as it does outside of datasets. Both follow symbolic links.

    Raises:
        RequestError: when one can't be had.
    """
    try:
        host_config = _host_config(_load(body))
        sources, paths = bind_sources(host_config), volume_paths(host_config)
    except Unreadable:
        return ()
    for path in paths:
        _refuse_volume(path)
    places = [place for place in map(place_of, sources) if place is not None]
    return tuple(dict.fromkeys(places))


def containers_in(body: str) -> tuple[str, ...]:
    """
    The containers whose mounts a request takes over by ``VolumesFrom``, by id or by name.

    What they have of datasets (`powerstrip_flocker.in_use.datasets_of`) it asks for too. There is
    nothing to be rewritten: the engine copies their mounts, whose sources are in place already.

    Raises:
        RequestError: when the body can't be read here.
    """
    try:
        return containers_from(_host_config(_load(body)))
    except Unreadable:
        return ()


def host_config_in(body: str) -> JsonObject:
    """
    The ``HostConfig`` of a request, which is empty where the engine will refuse what it mounts.

    Raises:
        RequestError: when the body can't be read here.
    """
    try:
        host_config = _host_config(_load(body))
        bind_sources(host_config)
        volume_paths(host_config)
    except Unreadable:
        return {}
    return host_config


def rewritten(body: str, mount_points: Mapping[str, str]) -> str:
    """
    The body for the engine, in which the sources of binds are where the datasets are mounted.

    Args:
        body: The client's.
        mount_points: Of all of `datasets_in`, by name. A colon can't be in one.

    Returns:
        The same text where there is nothing to change.

    Raises:
        RequestError: when a dataset can't be had.
    """

    def on_host(source: str) -> str:
        place = place_of(source)
        return source if place is None else place.on_host(mount_points[place.dataset])

    if not places_in(body):
        return body
    request = _load(body)
    host_config = with_bind_sources(_host_config(request), on_host)
    wanted = host_config if _is_host_config(request) else request | {"HostConfig": host_config}
    try:
        return body if wanted == request else dump(wanted)
    except TooDeep as error:
        raise RequestError(str(error)) from None


def _load(body: str) -> JsonObject:
    try:
        return load_object(body)
    except TooDeep as error:
        raise RequestError(str(error)) from None


def _host_config(request: JsonObject) -> JsonObject:
    return request if _is_host_config(request) else object_of(request["HostConfig"])


def _is_host_config(request: JsonObject) -> bool:
    """
    Whether a body is to be read as a ``HostConfig`` itself.

    Up to Docker 24 it is one where it has none, and no longer where it has one: getHostConfig in
    moby runconfig/config_unix.go. Later engines do not look at its members then.
    """
    return request.get("HostConfig") is None


def _refuse_volume(path: str) -> None:
    if place_of(path) is not None:
        raise RequestError(
            f"no volume can be made of {path!r}, which would stay behind when the dataset moves: "
            "bind it instead"
        )
