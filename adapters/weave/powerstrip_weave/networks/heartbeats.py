"""
Which peers this node hears: each node sends a frame through its tunnels every few seconds.

I/O: a packet socket.

That frames come through is what counts: a peer that answers to ping may have a firewall that drops
VXLAN. The kernel's own list of what it learned from whom says when a frame came only since Linux
6.14, and a node whose containers are silent would be missing in it.
"""

from __future__ import annotations

import socket

from powerstrip_weave.networks.links import Link
from powerstrip_weave.networks.namespaces import Namespace

ETHER_TYPE = 0x88B5
"""For experiments and what stays within one organisation (IEEE 802)."""

_NEAREST_BRIDGE = bytes.fromhex("0180c200000e")
"""A bridge passes on nothing that is sent there (IEEE 802.1Q §8.6.3): no container sees it."""

_LEAST_BYTES = 60


class Heartbeats:
    """
    The heartbeats of one tunnel.
    """

    def __init__(self, namespace: Namespace, tunnel: Link) -> None:
        self.tunnel_index = tunnel.index
        head = _NEAREST_BRIDGE + bytes.fromhex(tunnel.mac.replace(":", ""))
        self._frame = (head + ETHER_TYPE.to_bytes(2) + b"powerstrip-weave").ljust(_LEAST_BYTES)
        self._socket = namespace.open_socket(
            socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, 0
        )
        self._socket.bind((tunnel.name, ETHER_TYPE))

    def close(self) -> None:
        self._socket.close()

    def send(self) -> None:
        """
        Let all peers hear that this node is there.

        Raises:
            OSError: the tunnel is down, or has gone.
        """
        self._socket.send(self._frame)

    def heard(self) -> set[str]:
        """
        The MAC addresses of the tunnels that have been heard since the last time.
        """
        macs: set[str] = set()
        while True:
            try:
                frame = self._socket.recv(_LEAST_BYTES)
            except OSError:  # that was all; or the tunnel has been down, which is told once
                return macs
            macs.add(frame[6:12].hex(":"))
