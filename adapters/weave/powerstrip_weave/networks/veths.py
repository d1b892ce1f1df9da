"""
Containers' interfaces: a veth pair each, one end a port of the bridge, the other ``ethwe``.

I/O: netlink and ARP.

All that is known of a container is in the kernel: its host end's name and alias say whose it is.
So whatever has ended in the middle of something, the next one finds what is there.

A MAC address is made of the container's id, not of its IP address. With one of the IP address a
neighbour's memory stays right when the address moves, but two that have the address at the same
time can't be told apart: a probe from the second would take the first one's frames, and the answer
would not come back, for the first one's bridge has that MAC address at its own port. A container
that is restarted keeps its MAC address, so for its neighbours nothing has changed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from ipaddress import IPv4Interface

from attrs import frozen

from powerstrip_weave.errors import AddressInUse, NetworkError
from powerstrip_weave.interfaces import CONTAINER_INTERFACE, RunningContainer
from powerstrip_weave.networks.arp import ArpSocket, ProbeTimes
from powerstrip_weave.networks.links import GROUP, Link, Links, NetlinkError
from powerstrip_weave.networks.namespaces import ContainerNamespace, Namespace, namespace_of
from powerstrip_weave.networks.overlay import BRIDGE
from powerstrip_weave.networks.past_iptables import PastIptables

UNFINISHED_INTERFACE = "ethwe-new"
"""What ``ethwe`` is called until it has its addresses."""

_DORMANT = {"operstate": "DORMANT", "linkmode": 1}
_AWAKE = {"operstate": "UP", "linkmode": 0}
"""
IF_LINK_MODE_DORMANT is 1, IF_LINK_MODE_DEFAULT is 0: an interface that has
all but the word of who sees to it (the kernel's Documentation/networking/operstates.rst).
"""

_PREFIX = "wv-"
_CONTAINER_MAC, _HOST_MAC = "76", "72"
"""The first byte: locally administered, and no group's (RFC 7042 §2.1)."""


def host_end_name(container_id: str) -> str:
    """
    The host end's name: 15 characters are all that a name may have (IFNAMSIZ).
    """
    return _PREFIX + container_id[:12]


def mac_address(first_byte: str, container_id: str) -> str:
    return bytes.fromhex(first_byte + container_id[:10]).hex(":")


def holder_name(mac: str) -> str:
    """
    Who has a MAC address, for people.
    """
    digits = mac.replace(":", "")
    if digits.startswith(_CONTAINER_MAC):
        return f"{mac} (the container {digits[2:]})"
    return mac


@frozen
class Attacher:
    """
    Attaches containers to the bridge.
    """

    host: Namespace
    past_iptables: PastIptables | None
    times: ProbeTimes

    def attach(
        self, container: RunningContainer, addresses: tuple[IPv4Interface, ...], mtu: int
    ) -> ArpSocket:
        """
        Attach a container, as `INetwork.attach` has it.

        Returns:
            Where to announce the addresses again.
        """
        with namespace_of(container) as namespace:
            if namespace.is_same_as(self.host):
                raise NetworkError(
                    f"the container {container.id[:12]} has the host's own network: "
                    "it can't have an address of its own"
                )
            with Links(self.host) as host, Links(namespace) as inside:
                if _is_attached(host, inside, container, addresses):
                    _set_mtu(host, inside, container, mtu)
                    # The one that has attached it may have ended before it could say so.
                    return announced(namespace, CONTAINER_INTERFACE, addresses)
                # What a predecessor has left, be it this process's or the container's last start.
                host.delete(host_end_name(container.id))
                _refuse_other_interface(inside)
                with _undone_on_failure(host, container):
                    return self._attach(host, inside, namespace, container, addresses, mtu)

    def set_mtu(self, container: RunningContainer, mtu: int) -> None:
        """
        Change the largest packet of a container that is attached.
        """
        with (
            namespace_of(container) as namespace,
            Links(self.host) as host,
            Links(namespace) as inside,
        ):
            _set_mtu(host, inside, container, mtu)

    def detach(self, container_id: str) -> None:
        """
        Remove a container's interface, both ends.
        """
        with Links(self.host) as host:
            host.delete(host_end_name(container_id))

    def keep_only(self, container_ids: set[str]) -> None:
        """
        Remove the interfaces of all other containers.
        """
        kept = {host_end_name(container_id) for container_id in container_ids}
        with Links(self.host) as host:
            for end in _host_ends(host):
                if end.name not in kept:
                    host.delete(end.name)

    def attachments(self) -> dict[str, tuple[IPv4Interface, ...]]:
        """
        The containers that are attached and their addresses.
        """
        with Links(self.host) as host:
            return {
                end.alias: addresses
                for end in _host_ends(host)
                if end.alias is not None and (addresses := _addresses_behind(host, end))
            }

    def _attach(
        self,
        host: Links,
        inside: Links,
        namespace: ContainerNamespace,
        container: RunningContainer,
        addresses: tuple[IPv4Interface, ...],
        mtu: int,
    ) -> ArpSocket:
        end, interface = self._connect(host, inside, namespace, container, mtu)
        with closing(ArpSocket(namespace, UNFINISHED_INTERFACE)) as arp:
            claim(arp, addresses, self.times)
        # Down, for no kernel before 6.2 renames an interface that is up. Once it is up again it is
        # ethwe and has all of its addresses. The bridge hears of that a moment later; the container
        # waits until the interface is running, which one that is dormant is not.
        inside.change(interface, state="down", **_DORMANT)
        for address in addresses:
            inside.add_address(interface, address)
        inside.change(interface, ifname=CONTAINER_INTERFACE)
        inside.change(interface, state="up")
        _wait_until_connected(host, end)
        inside.change(interface, **_AWAKE)
        _wait_until_running(inside, interface)
        namespace.check_running()
        return announced(namespace, CONTAINER_INTERFACE, addresses)

    def _connect(
        self,
        host: Links,
        inside: Links,
        namespace: ContainerNamespace,
        container: RunningContainer,
        mtu: int,
    ) -> tuple[int, int]:
        """
        Give a container an interface without an address.

        Returns:
            The indexes of the host end and of the container's.
        """
        end = host.add_veth(
            host_end_name(container.id),
            mac_address(_HOST_MAC, container.id),
            _bridge(host).index,
            mtu,
            peer_name=UNFINISHED_INTERFACE,
            peer_mac=mac_address(_CONTAINER_MAC, container.id),
            peer_namespace=namespace,
        )
        host.change(end.index, ifalias=container.id)
        if self.past_iptables is not None:
            self.past_iptables.take_port(host, end.index)
        interface = inside.find(UNFINISHED_INTERFACE)
        if interface is None:
            raise NetworkError(f"the interface {UNFINISHED_INTERFACE} has gone")
        host.leave_without_link_local(end.index)
        inside.leave_without_link_local(interface.index)
        host.change(end.index, state="up")
        inside.change(interface.index, state="up")
        _wait_until_connected(host, end.index)
        return end.index, interface.index


def rejoin(host: Links) -> None:
    """
    Put the containers on the bridge again that had another one, which somebody has removed.
    """
    bridge = _bridge(host)
    for end in _host_ends(host):
        if end.master != bridge.index:
            with suppress(NetlinkError):  # the container ends just now
                host.change(end.index, master=bridge.index)


def remove_all(host: Links) -> None:
    """
    Remove everything on a host that the adapter has made, bridge and tunnel too.
    """
    for link in host.all():
        if link.group == GROUP:
            host.delete(link.name)


def claim(arp: ArpSocket, addresses: tuple[IPv4Interface, ...], times: ProbeTimes) -> None:
    try:
        arp.claim(addresses, times)
    except AddressInUse as error:
        raise AddressInUse(error.address, holder_name(error.holder)) from None


def announced(
    namespace: Namespace, interface: str, addresses: tuple[IPv4Interface, ...]
) -> ArpSocket:
    """
    Tell the neighbours of addresses, and return where they can be told again.
    """
    arp = ArpSocket(namespace, interface)
    try:
        arp.announce(addresses)
    except OSError:
        arp.close()
        raise
    return arp


def _is_attached(
    host: Links, inside: Links, container: RunningContainer, addresses: tuple[IPv4Interface, ...]
) -> bool:
    end, interface = host.find(host_end_name(container.id)), inside.find(CONTAINER_INTERFACE)
    return (
        end is not None
        and interface is not None
        and (end.index, interface.index) == (interface.peer_index, end.peer_index)
        and end.alias == container.id
        and end.is_forwarding
        and interface.is_up
        and interface.is_running
        and {address for _, address in inside.addresses(interface.index)} == set(addresses)
    )


def _refuse_other_interface(inside: Links) -> None:
    if inside.find(CONTAINER_INTERFACE) is not None:
        raise NetworkError(
            f"the container has an interface {CONTAINER_INTERFACE} that isn't this adapter's"
        )


def _set_mtu(host: Links, inside: Links, container: RunningContainer, mtu: int) -> None:
    for links, name in ((host, host_end_name(container.id)), (inside, CONTAINER_INTERFACE)):
        link = links.find(name)
        if link is not None and link.mtu != mtu:
            links.change(link.index, mtu=mtu)


def _wait_until_connected(host: Links, index: int) -> None:
    """
    Wait until the bridge takes the container's frames, which it does a moment after both ends
    are up.
    """
    if not host.wait_until(index, lambda link: link.is_running and link.is_forwarding):
        raise NetworkError(f"the bridge {BRIDGE} does not take the container's frames")


def _wait_until_running(inside: Links, index: int) -> None:
    if not inside.wait_until(index, lambda link: link.is_running):
        raise NetworkError(f"the interface {CONTAINER_INTERFACE} does not come up")


def _bridge(host: Links) -> Link:
    bridge = host.find(BRIDGE)
    if bridge is None:
        raise NetworkError(f"the bridge {BRIDGE} has gone: the adapter makes it when it starts")
    return bridge


def _host_ends(host: Links) -> list[Link]:
    return [link for link in host.all() if link.group == GROUP and link.name.startswith(_PREFIX)]


def _addresses_behind(host: Links, end: Link) -> tuple[IPv4Interface, ...]:
    if end.peer_namespace is None:
        return ()
    with suppress(NetlinkError):  # the container ends just now
        interface = host.find_elsewhere(CONTAINER_INTERFACE, end.peer_namespace)
        if interface is not None and interface.is_up:
            return tuple(host.addresses_elsewhere(interface.index, end.peer_namespace))
    return ()


@contextmanager
def _undone_on_failure(host: Links, container: RunningContainer) -> Iterator[None]:
    try:
        yield
    except BaseException:
        with suppress(NetlinkError):
            host.delete(host_end_name(container.id))
        raise
