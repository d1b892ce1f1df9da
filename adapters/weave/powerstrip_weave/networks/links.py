"""
The interfaces of one network namespace, by netlink.

I/O: blocks, for a millisecond or so. A session belongs to the thread that has opened it.
"""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, ip_address
from types import TracebackType
from typing import Any, Self, TypeVar

from attrs import frozen
from pyroute2 import IPRoute  # type: ignore[import-untyped]
from pyroute2.netlink import NLM_F_DUMP, NLM_F_REQUEST  # type: ignore[import-untyped]
from pyroute2.netlink.exceptions import (  # type: ignore[import-untyped]
    NetlinkDumpInterrupted,
)
from pyroute2.netlink.exceptions import (
    NetlinkError as NetlinkError,
)
from pyroute2.netlink.rtnl import RTM_GETADDR  # type: ignore[import-untyped]
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg  # type: ignore[import-untyped]

from powerstrip_weave.networks.namespaces import Namespace

GROUP = 0x7765
"""
The group of all interfaces that the adapter makes on a host: the letters "we". It is set in the
one message that makes an interface, so there is never one that can't be told from a stranger's.
"""

FLOOD = "00:00:00:00:00:00"
"""Where a VXLAN device sends frames whose destination it hasn't learned (bridge(8), fdb)."""

SETTLE_SECONDS = 5.0

_NO_LINK_LOCAL = {
    # linux/if_link.h, IN6_ADDR_GEN_MODE_NONE. A link-local address would be tentative for a
    # second or two, and nothing on this network uses it.
    "IFLA_AF_SPEC": {"attrs": [("AF_INET6", {"attrs": [("IFLA_INET6_ADDR_GEN_MODE", 1)]})]}
}
_IFF_UP, _IFF_RUNNING = 0x1, 0x40
_BR_STATE_FORWARDING = 3
_RTN_LOCAL = 2

IPAddress = IPv4Address | IPv6Address
_T = TypeVar("_T")


@frozen
class Link:
    """
    An interface as it was when it was asked for.
    """

    index: int
    name: str
    kind: str | None
    mac: str
    group: int
    alias: str | None
    mtu: int
    is_up: bool
    is_running: bool
    master: int | None
    """The index of the bridge that it is a port of."""
    peer_index: int | None
    """Of the other end of a veth pair, in that end's namespace."""
    peer_namespace: int | None
    """The kernel's number for the namespace of the other end, where that is another one."""
    is_forwarding: bool
    """Whether it is a port whose bridge takes its frames."""
    vxlan: tuple[int, int] | None
    """VNI and UDP port, of a VXLAN device only."""


@frozen
class Route:
    """
    The way to a host.
    """

    is_own: bool
    """Whether the address is one of this host's."""

    mtu: int


@frozen
class FdbEntry:
    """
    What a VXLAN device knows: behind which peer a MAC address is.
    """

    mac: str
    peer: IPAddress


class _AddressQuery(ifaddrmsg):
    # pyroute2 0.9.7 has this attribute as a string; it is an s32 (net/ipv4/devinet.c).
    nla_map = tuple(
        (name, "int32" if name == "IFA_TARGET_NETNSID" else kind)
        for name, kind in ifaddrmsg.nla_map
    )


class Links:
    """
    A netlink session in one namespace.
    """

    def __init__(self, namespace: Namespace) -> None:
        self._namespace = namespace

    def __enter__(self) -> Self:
        netlink = self._namespace.open_socket(
            socket.AF_NETLINK, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE
        )
        # pyroute2 opens sockets in other namespaces by forking this process, threads and all.
        self._netlink = IPRoute(fileno=netlink.detach(), strict_check=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._netlink.close()

    def find(self, name: str) -> Link | None:
        return self._find(ifname=name)

    def get(self, index: int) -> Link:
        """
        Raises:
            NetlinkError: there is none.
        """
        return _link(self._netlink.link("get", index=index)[0])

    def all(self) -> list[Link]:
        return [_link(m) for m in _dump(lambda: self._netlink.link("dump"))]

    def find_elsewhere(self, name: str, namespace_number: int) -> Link | None:
        """
        An interface in another namespace, which the kernel has numbered for this one.
        """
        return self._find(ifname=name, IFLA_IF_NETNSID=namespace_number)

    def delete(self, name: str) -> None:
        """
        Delete an interface, with its other end, where it is there.
        """
        link = self.find(name)
        if link is not None:
            with _unless(errno.ENODEV):
                self._netlink.link("del", index=link.index)

    def add_bridge(self, name: str, mac: str) -> None:
        self._netlink.link(
            "add",
            ifname=name,
            kind="bridge",
            group=GROUP,
            # Its own and for ever: a bridge takes the lowest of its ports' else, and udev gives
            # a new one to each interface that has a random one (systemd.link(5)).
            address=mac,
            br_stp_state=0,
            br_mcast_snooping=0,  # with nobody who asks for memberships, groups would fall silent
        )

    def add_vxlan(self, name: str, mac: str, vni: int, port: int, over_ipv6: bool) -> None:
        self._netlink.link(
            "add",
            ifname=name,
            kind="vxlan",
            group=GROUP,
            address=mac,
            vxlan_id=vni,
            vxlan_port=port,
            vxlan_learning=1,
            **({"vxlan_local6": "::"} if over_ipv6 else {}),
        )

    def add_veth(
        self,
        name: str,
        mac: str,
        master: int,
        mtu: int,
        *,
        peer_name: str,
        peer_mac: str,
        peer_namespace: Namespace,
    ) -> Link:
        """
        Make a pair of which one end is a bridge's port and the other in a container, in one step.
        """
        self._netlink.link(
            "add",
            ifname=name,
            kind="veth",
            group=GROUP,
            address=mac,
            master=master,
            mtu=mtu,
            peer={
                "ifname": peer_name,
                "address": peer_mac,
                "mtu": mtu,
                "net_ns_fd": peer_namespace.fileno(),
            },
        )
        made = self.find(name)
        if made is None:
            raise NetlinkError(errno.ENODEV, f"{name} has gone")
        return made

    def change(self, index: int, **changes: object) -> None:
        """
        Change an interface, as `state="up"`, `ifname=…`, `mtu=…`, `master=…`, `ifalias=…`.
        """
        self._netlink.link("set", index=index, **changes)

    def leave_without_link_local(self, index: int) -> None:
        """
        Keep the kernel from giving an interface an IPv6 address of its own making.
        """
        with _unless(errno.EAFNOSUPPORT, errno.EOPNOTSUPP):  # there is no IPv6 here at all
            self._netlink.link("set", index=index, **_NO_LINK_LOCAL)

    def wait_until(self, index: int, holds: Callable[[Link], bool]) -> bool:
        """
        Whether something comes to hold of an interface in time.
        """
        deadline = time.monotonic() + SETTLE_SECONDS
        while not holds(self.get(index)):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.001)
        return True

    def addresses(self, index: int | None = None) -> list[tuple[int, IPv4Interface]]:
        """
        The IPv4 addresses of an interface or of all, with the interface's index.
        """
        where = {} if index is None else {"index": index}
        messages = _dump(lambda: self._netlink.addr("dump", family=socket.AF_INET, **where))
        return [(message["index"], _address(message)) for message in messages]

    def addresses_elsewhere(self, index: int, namespace_number: int) -> list[IPv4Interface]:
        """
        The IPv4 addresses of an interface in another namespace.
        """

        def ask() -> Iterable[Any]:
            query = _AddressQuery()
            query.compile_nla_table()  # else it is the parent's, once that has been used
            query["header"]["type"] = RTM_GETADDR
            query["header"]["flags"] = NLM_F_REQUEST | NLM_F_DUMP
            query["family"], query["index"] = socket.AF_INET, index
            query["attrs"] = [("IFA_TARGET_NETNSID", namespace_number)]
            answer: Iterable[Any] = self._netlink.nlm_request_batch([query])
            return answer

        return [_address(message) for message in _dump(ask)]

    def add_address(self, index: int, address: IPv4Interface) -> None:
        network = address.network
        broadcast = {} if network.prefixlen > 30 else {"broadcast": str(network.broadcast_address)}
        self._netlink.addr(
            "add", index=index, address=str(address.ip), prefixlen=network.prefixlen, **broadcast
        )

    def remove_address(self, index: int, address: IPv4Interface) -> None:
        with _unless(errno.EADDRNOTAVAIL):
            self._netlink.addr(
                "del", index=index, address=str(address.ip), prefixlen=address.network.prefixlen
            )

    def route_to(self, address: IPAddress) -> Route | None:
        """
        The way to a host, or None where there is none now.
        """
        with suppress(NetlinkError):
            route = self._netlink.route("get", dst=str(address))[0]
            device_mtu = self.get(route.get_attr("RTA_OIF")).mtu
            metrics = route.get_attr("RTA_METRICS")
            route_mtu = metrics and metrics.get_attr("RTAX_MTU")
            return Route(route["type"] == _RTN_LOCAL, min(device_mtu, route_mtu or device_mtu))
        return None

    def fdb(self, index: int) -> list[FdbEntry]:
        """
        What a VXLAN device knows of its peers.
        """
        entries = _dump(lambda: self._netlink.fdb("dump"))
        return [
            FdbEntry(entry.get_attr("NDA_LLADDR"), ip_address(entry.get_attr("NDA_DST")))
            for entry in entries
            if entry["ifindex"] == index and entry.get_attr("NDA_DST") is not None
        ]

    def flood_to(self, index: int, peer: IPAddress) -> None:
        with _unless(errno.EEXIST):
            self._netlink.fdb("append", ifindex=index, lladdr=FLOOD, dst=str(peer))

    def forget(self, index: int, entry: FdbEntry) -> None:
        with _unless(errno.ENOENT):
            self._netlink.fdb("del", ifindex=index, lladdr=entry.mac, dst=str(entry.peer))

    def add_filter(self, index: int, parent: int, program: int, name: str) -> None:
        """
        Run a BPF program on each frame that an interface receives or sends.

        Args:
            parent: One of tc's two points of an interface.
            program: The program's file descriptor.
        """
        with _unless(errno.EEXIST):
            self._netlink.tc("add", "clsact", index)
        self._netlink.tc(
            "replace-filter",
            "bpf",
            index=index,
            handle=1,
            prio=1,
            parent=parent,
            fd=program,
            name=name,
            classid=1,
            direct_action=True,
        )

    def _find(self, **names: object) -> Link | None:
        try:
            return _link(self._netlink.link("get", **names)[0])
        except NetlinkError as error:
            if error.code == errno.ENODEV:
                return None
            raise


@contextmanager
def _unless(*codes: int) -> Iterator[None]:
    """
    Let some of the kernel's errors pass.
    """
    try:
        yield
    except NetlinkError as error:
        if error.code not in codes:
            raise


def _dump(ask: Callable[[], Iterable[_T]]) -> list[_T]:
    """
    All of a list that may change while the kernel tells it, which then is asked for again.
    """
    while True:
        with suppress(NetlinkDumpInterrupted):
            return list(ask())


def _link(message: Any) -> Link:
    info = message.get_attr("IFLA_LINKINFO")
    kind = info and info.get_attr("IFLA_INFO_KIND")
    port = info and info.get_attr("IFLA_INFO_SLAVE_DATA")
    return Link(
        index=message["index"],
        name=message.get_attr("IFLA_IFNAME"),
        kind=kind or None,
        mac=message.get_attr("IFLA_ADDRESS") or "",
        group=message.get_attr("IFLA_GROUP") or 0,
        alias=message.get_attr("IFLA_IFALIAS"),
        mtu=message.get_attr("IFLA_MTU"),
        is_up=bool(message["flags"] & _IFF_UP),
        is_running=bool(message["flags"] & _IFF_RUNNING),
        master=message.get_attr("IFLA_MASTER"),
        peer_index=message.get_attr("IFLA_LINK"),
        peer_namespace=message.get_attr("IFLA_LINK_NETNSID"),
        is_forwarding=(
            info is not None
            and info.get_attr("IFLA_INFO_SLAVE_KIND") == "bridge"
            and port is not None
            and port.get_attr("IFLA_BRPORT_STATE") == _BR_STATE_FORWARDING
        ),
        vxlan=_vxlan(info.get_attr("IFLA_INFO_DATA")) if kind == "vxlan" else None,
    )


def _vxlan(data: Any) -> tuple[int, int]:
    return data.get_attr("IFLA_VXLAN_ID"), data.get_attr("IFLA_VXLAN_PORT")


def _address(message: Any) -> IPv4Interface:
    return IPv4Interface((message.get_attr("IFA_LOCAL"), message["prefixlen"]))
