"""
The seam between the adapter and the networks that it can drive.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from ipaddress import IPv4Interface

from attrs import frozen
from zope.interface import Interface

CONTAINER_INTERFACE = "ethwe"
"""The name of the interface inside a container, as Weave Net has it."""


@frozen
class RunningContainer:
    """
    A container that runs, as the engine says.
    """

    id: str
    """All 64 digits."""

    pid: int
    """Its process 1, seen from the host. Another one each time that it starts."""


@frozen
class Peer:
    """
    Another node of the network.
    """

    address: str
    last_heard_seconds: float | None
    """How long ago something came from it, or None if never."""


@frozen
class NetworkHealth:
    """
    What can be said of a network without changing it.
    """

    driver: str
    peers: tuple[Peer, ...]
    problems: tuple[str, ...]
    """A sentence each; none where all is well."""

    mtu_bytes: int | None = None
    """The largest packet that a container can send, or None where that isn't known."""


class INetwork(Interface):
    """
    A network that containers can be attached to.

    All of its methods may be called again after a failure or a crash of the adapter in the middle
    of one: they finish what was begun. At most one runs for a container at a time.
    """

    async def start() -> None:
        """
        Make what the containers are attached to, where it isn't there yet, and leave alone what is.

        Raises:
            NetworkError: when that can't be; the sentence says which right or program is missing.
        """

    async def stop() -> None:
        """
        End what runs in this process. What containers are attached to stays.
        """

    async def attach(container: RunningContainer, addresses: tuple[IPv4Interface, ...]) -> None:
        """
        Give a container these addresses and no others, on one interface ``ethwe`` that is up only
        when it has them all; neighbours are told. It is done at once where the container has them
        already.

        Args:
            addresses: At least one.

        Raises:
            AddressInUse: another one on the network has an address. The container has none of them.
            NotRunning: the container has ended.
            NetworkError: it could not be done. The container has none of the addresses.
        """

    async def detach(container_id: str) -> None:
        """
        Take a container off the network, and remove what is left of one that has ended.
        """

    async def attachments() -> Mapping[str, tuple[IPv4Interface, ...]]:
        """
        The containers on this host that are attached, by id, with their addresses.
        """

    async def keep_only(container_ids: Set[str]) -> None:
        """
        Remove what is left of all containers but these, and those that are being attached.
        """

    async def health() -> NetworkHealth:
        """
        How it is with the network and its peers.
        """

    async def expose(address: IPv4Interface) -> None:
        """
        Give the host itself an address on the network.

        Raises:
            AddressInUse: another one has it.
            NetworkError: it could not be done.
        """

    async def hide(address: IPv4Interface) -> None:
        """
        Take the host's address away, if it has it.
        """

    async def reset() -> None:
        """
        Remove all that was made on this host, containers' interfaces too.
        """
