"""
This host as a node of the network: its bridge and tunnel, its containers, and its peers.

I/O: blocks; its methods are for threads. Those that change bridge and tunnel wait for each other,
all others run side by side.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, suppress
from ipaddress import IPv4Interface
from pathlib import Path
from threading import Lock

from powerstrip_weave.errors import AddressInUse, NetworkError
from powerstrip_weave.interfaces import NetworkHealth, Peer, RunningContainer
from powerstrip_weave.networks import veths
from powerstrip_weave.networks.arp import ArpSocket, ProbeTimes
from powerstrip_weave.networks.heartbeats import Heartbeats
from powerstrip_weave.networks.links import GROUP, Link, Links, NetlinkError
from powerstrip_weave.networks.namespaces import OWN_NAMESPACE, Namespace
from powerstrip_weave.networks.overlay import BRIDGE, Overlay, Underlay, look_at_underlay
from powerstrip_weave.networks.past_iptables import (
    PastIptables,
    filters_bridges,
    filters_tagged_frames,
)
from powerstrip_weave.networks.peers import IPAddress, PeerList
from powerstrip_weave.networks.rights import check_rights


class Node:
    """
    One node.

    Args:
        host: The host's network namespace: another one than this process's where the adapter has
            its own, as ``/proc/1/ns/net``.
    """

    def __init__(
        self,
        peers: PeerList,
        overlay: Overlay,
        times: ProbeTimes,
        host: Path = OWN_NAMESPACE,
    ) -> None:
        self._peers = peers
        self._overlay = overlay
        self._times = times
        self._host = Namespace(host)
        self._past_iptables: PastIptables | None = None
        self._no_past_iptables = ""
        self._lock = Lock()
        self._peers_state: object = None
        self._peers_problem: str | None = None
        self._underlay = Underlay(4, {})
        self._heartbeats: Heartbeats | None = None
        self._last_heard: dict[IPAddress, float] = {}
        self._attached: dict[str, RunningContainer] = {}

    def start(self) -> None:
        """
        Make what the containers are attached to.

        Raises:
            NetworkError: rights are missing, or the list of peers is wrong.
        """
        check_rights()
        if self._past_iptables is None:
            try:
                self._past_iptables = PastIptables()
            except OSError as error:
                self._no_past_iptables = str(error)
        with self._lock:
            self._peers_state = self._peers.state()
            self._make(self._peers.read())
        self.beat()

    def stop(self) -> None:
        """
        Let go of what this process holds, for good. Nothing that was made goes.
        """
        with self._lock:
            if self._heartbeats is not None:
                self._heartbeats.close()
                self._heartbeats = None
            if self._past_iptables is not None:
                self._past_iptables.close()
                self._past_iptables = None
            self._host.close()

    def refresh(self) -> None:
        """
        Do what the list of peers and the ways to them ask for now.

        A list with a mistake in it leaves the last good one in force.
        """
        with self._lock:
            self._peers_state = self._peers.state()
            try:
                peers = self._peers.read()
            except NetworkError as error:
                self._peers_problem = str(error)
            else:
                self._peers_problem = None
                self._make(peers)

    @property
    def is_stale(self) -> bool:
        """
        Whether the file of peers has changed since it was read.
        """
        return self._peers.state() != self._peers_state

    def beat(self) -> None:
        """
        Let the peers hear this node, and listen which of them were heard.
        """
        with self._lock, Links(self._host) as links:
            heartbeats = self._listening(links)
            if heartbeats is not None:
                self._note(links, heartbeats)
                with suppress(OSError):  # the tunnel is down: health says so
                    heartbeats.send()

    def attach(
        self, container: RunningContainer, addresses: tuple[IPv4Interface, ...]
    ) -> ArpSocket:
        """
        Attach a container.

        Returns:
            Where to announce the addresses again.
        """
        announcer = self._attacher.attach(container, addresses, self._underlay.mtu)
        self._attached[container.id] = container
        return announcer

    def detach(self, container_id: str) -> None:
        self._attached.pop(container_id, None)
        self._attacher.detach(container_id)

    def keep_only(self, container_ids: set[str]) -> None:
        for container_id in self._attached.keys() - container_ids:
            self._attached.pop(container_id, None)
        self._attacher.keep_only(container_ids)

    def attachments(self) -> dict[str, tuple[IPv4Interface, ...]]:
        return self._attacher.attachments()

    def expose(self, address: IPv4Interface) -> ArpSocket:
        """
        Give the host an address.

        Returns:
            Where to announce it again.
        """
        with Links(self._host) as links:
            bridge = self._bridge(links)
            for index, own in links.addresses():
                if (index, own) == (bridge.index, address):
                    return veths.announced(self._host, BRIDGE, (address,))
                if own.ip == address.ip:
                    raise AddressInUse(address, f"this host ({links.get(index).name})")
            with closing(ArpSocket(self._host, BRIDGE)) as arp:
                veths.claim(arp, (address,), self._times)
            links.add_address(bridge.index, address)
            return veths.announced(self._host, BRIDGE, (address,))

    def hide(self, address: IPv4Interface) -> None:
        with Links(self._host) as links:
            bridge = links.find(BRIDGE)
            if bridge is not None and bridge.group == GROUP:
                links.remove_address(bridge.index, address)

    def reset(self) -> None:
        with self._lock, Links(self._host) as links:
            veths.remove_all(links)
            self._attached.clear()

    def health(self) -> NetworkHealth:
        """
        How it is with bridge, tunnel, and peers.
        """
        self.beat()
        now = time.monotonic()
        with Links(self._host) as links:
            bridge = links.find(BRIDGE)
            problems = tuple(self._problems(links))
        peers = [
            Peer(str(peer), now - self._last_heard[peer] if peer in self._last_heard else None)
            for peer in sorted(self._underlay.routes, key=int)
        ]
        return NetworkHealth(
            "vxlan", tuple(peers), problems, None if bridge is None else bridge.mtu
        )

    @property
    def _attacher(self) -> veths.Attacher:
        return veths.Attacher(self._host, self._past_iptables, self._times)

    def _make(self, peers: frozenset[IPAddress]) -> None:
        with Links(self._host) as links:
            underlay = look_at_underlay(links, peers)
            self._overlay.make(links, underlay, self._past_iptables)
            veths.rejoin(links)
        mtu_has_changed = underlay.mtu != self._underlay.mtu
        self._underlay = underlay
        if mtu_has_changed:
            for container in list(self._attached.values()):
                with suppress(NetworkError, NetlinkError):  # it has ended
                    self._attacher.set_mtu(container, underlay.mtu)

    def _bridge(self, links: Links) -> Link:
        bridge = links.find(BRIDGE)
        if bridge is None:
            raise NetworkError(f"the bridge {BRIDGE} has gone")
        return bridge

    def _listening(self, links: Links) -> Heartbeats | None:
        tunnel = self._overlay.tunnel(links)
        if tunnel is None:
            return None
        if self._heartbeats is None or self._heartbeats.tunnel_index != tunnel.index:
            if self._heartbeats is not None:
                self._heartbeats.close()
            self._heartbeats = Heartbeats(self._host, tunnel)
        return self._heartbeats

    def _note(self, links: Links, heartbeats: Heartbeats) -> None:
        macs = heartbeats.heard()
        if macs:
            for entry in links.fdb(heartbeats.tunnel_index):
                if entry.mac in macs:
                    self._last_heard[entry.peer] = time.monotonic()

    def _problems(self, links: Links) -> Iterator[str]:
        yield from self._overlay.problems(links)
        if self._peers_problem is not None:
            yield self._peers_problem
        for peer, route in self._underlay.routes.items():
            if route is None:
                yield f"there is no route to the peer {peer}"
        if filters_bridges(self._host):
            if self._past_iptables is None:
                yield (
                    "the kernel takes the network's packets through iptables, which may drop them "
                    "(net.bridge.bridge-nf-call-iptables is 1), and this process can't spare them "
                    f"that: {self._no_past_iptables}"
                )
            elif filters_tagged_frames(self._host):
                yield (
                    "the kernel takes the network's packets through iptables, which may drop them: "
                    "net.bridge.bridge-nf-filter-vlan-tagged is 1"
                )
