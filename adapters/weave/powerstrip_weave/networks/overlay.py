"""
What spans the hosts: a bridge for the containers of each, and tunnels between the bridges.

I/O: netlink.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Set

from attrs import frozen

from powerstrip_weave.errors import NetworkError
from powerstrip_weave.networks.links import FLOOD, GROUP, Link, Links, Route
from powerstrip_weave.networks.past_iptables import PastIptables
from powerstrip_weave.networks.peers import IPAddress

BRIDGE = "weave"
TUNNELS = {4: "weave-vxlan", 6: "weave-vxlan6"}
"""
The tunnel's name, by the version of IP that carries it. The kernel doesn't show which one that
is, as long as the tunnel has no address of its own.
"""

VNI = 0x776561
"""The network's number: the letters "wea". Docker's own overlay networks count up from 4096."""

PORT = 4789
"""
VXLAN's own (RFC 7348). Devices with different numbers share it, Docker's among them, and network
cards know what it carries.
"""

OVERHEAD_BYTES = {4: 50, 6: 70}
"""Inner Ethernet 14, VXLAN 8, UDP 8, and IPv4's 20 or IPv6's 40."""

DEFAULT_UNDERLAY_MTU = 1500
LEAST_MTU = 68
"""What IPv4 can do with (RFC 791)."""


@frozen
class Underlay:
    """
    What there is between this host and its peers.
    """

    version: int
    """4 or 6."""

    routes: dict[IPAddress, Route | None]
    """The way to each peer, this host not among them; None where there is none now."""

    @property
    def mtu(self) -> int:
        """
        The largest packet that a container can send to all of the peers.
        """
        mtus = [route.mtu for route in self.routes.values() if route is not None]
        return max(
            LEAST_MTU, min(mtus, default=DEFAULT_UNDERLAY_MTU) - OVERHEAD_BYTES[self.version]
        )


def look_at_underlay(links: Links, peers: Set[IPAddress]) -> Underlay:
    """
    Find the ways to the peers. This host's own addresses are left out.
    """
    routes = {peer: links.route_to(peer) for peer in peers}
    return Underlay(
        version=max((peer.version for peer in peers), default=4),
        routes={p: route for p, route in routes.items() if route is None or not route.is_own},
    )


@frozen
class Overlay:
    """
    The bridge and the tunnel of this host.
    """

    vni: int = VNI
    port: int = PORT

    def make(self, links: Links, underlay: Underlay, past_iptables: PastIptables | None) -> None:
        """
        Make the bridge and the tunnel where they aren't there, and bring what is up to date.

        Raises:
            NetworkError: somebody else has an interface of the bridge's name.
        """
        bridge = self._make_bridge(links)
        tunnel = self._make_tunnel(links, underlay.version)
        links.leave_without_link_local(tunnel.index)
        if past_iptables is not None:
            past_iptables.take_tunnel(links, tunnel.index)
        for link in (tunnel, bridge):
            if link.mtu != underlay.mtu:
                links.change(link.index, mtu=underlay.mtu)
        links.change(tunnel.index, state="up", master=bridge.index)
        links.change(bridge.index, state="up")
        self._set_peers(links, tunnel, underlay.routes.keys())

    def tunnel(self, links: Links) -> Link | None:
        """
        The tunnel, where there is one.
        """
        found = [links.find(name) for name in TUNNELS.values()]
        return next((link for link in found if link is not None and link.group == GROUP), None)

    def problems(self, links: Links) -> Iterable[str]:
        """
        What is wrong with the bridge and the tunnel.
        """
        bridge, tunnel = links.find(BRIDGE), self.tunnel(links)
        for name, link in ((BRIDGE, bridge), (TUNNELS[4], tunnel)):
            if link is None:
                yield f"the interface {name} has gone"
            elif not link.is_up:
                yield f"the interface {link.name} is down"
        if bridge is not None and tunnel is not None and tunnel.master != bridge.index:
            yield f"the interface {tunnel.name} is not a port of the bridge {BRIDGE}"

    def _make_bridge(self, links: Links) -> Link:
        found = links.find(BRIDGE)
        if found is None:
            links.add_bridge(BRIDGE, _random_mac())
            found = links.find(BRIDGE)
        if found is None or found.group != GROUP or found.kind != "bridge":
            raise NetworkError(
                f"an interface {BRIDGE} that isn't this adapter's is there already: "
                "Weave Net's, where that still runs"
            )
        links.leave_without_link_local(found.index)
        return found

    def _make_tunnel(self, links: Links, version: int) -> Link:
        name = TUNNELS[version]
        for other in TUNNELS.values():
            link = links.find(other)
            if link is not None and (other != name or link.vxlan != (self.vni, self.port)):
                links.delete(other)
        if links.find(name) is None:
            links.add_vxlan(name, _random_mac(), self.vni, self.port, over_ipv6=version == 6)
        found = links.find(name)
        if found is None:
            raise NetworkError(f"the interface {name} has gone")
        return found

    def _set_peers(self, links: Links, tunnel: Link, peers: Set[IPAddress]) -> None:
        known = links.fdb(tunnel.index)
        for entry in known:
            if entry.peer not in peers:
                links.forget(tunnel.index, entry)
        for peer in peers - {entry.peer for entry in known if entry.mac == FLOOD}:
            links.flood_to(tunnel.index, peer)


def _random_mac() -> str:
    """
    A MAC address of nobody's: locally administered, not a group's (RFC 7042 §2.1).
    """
    return (bytes([0x02]) + secrets.token_bytes(5)).hex(":")
