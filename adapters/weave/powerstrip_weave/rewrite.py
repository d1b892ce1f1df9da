"""
The request that creates a container, changed so that its command waits for the network.

Sans-I/O: the body of a create request in, the body for the engine out.
"""

from __future__ import annotations

from attrs import frozen

from powerstrip.adapter.json_text import JsonObject, TooDeep, dump
from powerstrip.adapter.members import (
    Unreadable,
    command_line,
    load_object,
    object_of,
    text,
    texts,
)
from powerstrip_weave.addresses import requested_addresses
from powerstrip_weave.command import Command
from powerstrip_weave.environment import merged_environment
from powerstrip_weave.errors import RequestError
from powerstrip_weave.host_config import (
    PLACE,
    WaitBind,
    WaitMount,
    WaitVolume,
    check_host_config,
    set_mount,
)

__all__ = [
    "WAIT_PROGRAM",
    "ImageDefaults",
    "WaitBind",
    "WaitMount",
    "WaitVolume",
    "image_of",
    "wait_for_network",
]

WAIT_PROGRAM = f"{PLACE}/wait-for-weave"
"""Its path in every container. It runs its arguments, and takes none of its own."""


@frozen
class ImageDefaults:
    """
    What an image gives to the containers that are made of it.
    """

    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    environment: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, answer: str) -> ImageDefaults:
        """
        Read the engine's answer to ``GET /images/NAME/json``.

        Raises:
            ValueError: when it is not one.
        """
        config = object_of(_load(answer).get("Config"))
        return cls(
            entrypoint=command_line(config.get("Entrypoint")) or (),
            cmd=command_line(config.get("Cmd")) or (),
            environment=texts(config.get("Env")),
        )


def image_of(body: str) -> str | None:
    """
    The name of the image in a create request, or None where there is none.
    """
    try:
        return text(_load(body).get("Image")) or None
    except Unreadable:
        return None


def wait_for_network(body: str, image: ImageDefaults, mount: WaitMount) -> str:
    """
    Has the command of a container with a ``WEAVE_CIDR`` run by the wait program, which is mounted.

    Where there is none, the program is taken away again from what has it: an image that was
    committed from a container, or a container that a tool makes anew with other variables.

    Args:
        body: The client's.
        image: Of the image that it names.
        mount: How the program gets into containers here.

    Returns:
        The body for the engine: the same text where nothing is to be changed, or where the engine
        will refuse it.

    Raises:
        AddressError: when ``WEAVE_CIDR`` does not say addresses that a container can have.
        RequestError: when the container can't have them.
    """
    try:
        request = _load(body)
        wanted = _rewritten(request, image, mount)
        return body if wanted == request else dump(wanted)
    except Unreadable:
        return body
    except TooDeep as error:
        raise RequestError(str(error)) from None


def _load(body: str) -> JsonObject:
    try:
        return load_object(body)
    except TooDeep as error:
        raise RequestError(str(error)) from None


def _rewritten(request: JsonObject, image: ImageDefaults, mount: WaitMount) -> JsonObject:
    environment = merged_environment(texts(request.get("Env")), image.environment)
    asked = Command(image.entrypoint, image.cmd).overridden(
        command_line(request.get("Entrypoint")), command_line(request.get("Cmd"))
    )
    command = asked.without(WAIT_PROGRAM)
    waits = requested_addresses(environment) is not None
    if waits:
        check_host_config(request)
    if not command.line:
        waits = False  # for the engine's own error: there would be a command, the wait program
    if not waits and command == asked:
        return request
    return (
        request
        | _command_members(request, command, waits=waits)
        | _host_config_member(request, mount, waits=waits)
    )


def _command_members(request: JsonObject, command: Command, *, waits: bool) -> JsonObject:
    """
    Entry point and command, of which the engine takes nothing from the image any more.
    """
    # [""] is none; the image could have one, which would come in the place of null.
    entrypoint = [WAIT_PROGRAM, *command.entrypoint] if waits else [*command.entrypoint] or [""]
    members: JsonObject = {"Entrypoint": [*entrypoint]}
    if command.cmd != (command_line(request.get("Cmd")) or ()):
        members["Cmd"] = [*command.cmd]
    return members


def _host_config_member(request: JsonObject, mount: WaitMount, *, waits: bool) -> JsonObject:
    host_config = object_of(request.get("HostConfig"))
    changed = set_mount(host_config, mount, wanted=waits)
    return {} if changed == host_config else {"HostConfig": changed}
