"""
Whether an address is free on a network, and telling the network whose it is now: ARP.

I/O: packet sockets; the parts that make and read packets have none. After RFC 5227, IPv4 Address
Conflict Detection, with shorter times: its probes take 3 to 9 seconds, for links that come up
slowly. Here the link is a bridge in memory, and tunnels that are up before any container is.
"""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Interface
from typing import Self

from attrs import frozen

from powerstrip_weave.errors import AddressInUse
from powerstrip_weave.networks.namespaces import Namespace

ETH_P_ARP = 0x0806
BROADCAST = b"\xff" * 6
NOBODY = IPv4Address(0)

_HEADER = struct.Struct("!6s6sHHHBBH6s4s6s4s")
_ETHERNET, _ETH_P_IP = 1, 0x0800
_REQUEST = 1


@frozen
class ProbeTimes:
    """
    How an address is asked for.
    """

    count: int = 3
    """How many times; a lost packet or two do no harm (RFC 5227's PROBE_NUM)."""

    interval_seconds: float = 0.1
    """
    How long each waits for an answer. The kernel answers at once, so what counts is the round
    trip: some 0.1 ms in a machine room. An answer to the first probe may take all three waits.
    """

    patience_seconds: float = 1.0
    """
    How long an address that is in use is asked for again. A container that has just been stopped
    elsewhere goes on answering until the kernel has taken its namespace apart.
    """


@frozen
class ArpPacket:
    """
    What an ARP packet says.
    """

    sender_mac: bytes
    sender: IPv4Address
    target: IPv4Address

    @classmethod
    def parse(cls, frame: bytes) -> Self | None:
        """
        Read a frame. It is None where it isn't ARP for IPv4 on Ethernet.
        """
        if len(frame) < _HEADER.size:
            return None
        _, _, *kind, mac, sender, _, target = _HEADER.unpack_from(frame)
        if kind[:5] != [ETH_P_ARP, _ETHERNET, _ETH_P_IP, 6, 4]:
            return None
        return cls(mac, IPv4Address(sender), IPv4Address(target))

    def request(self) -> bytes:
        """
        The frame that asks all for the target.
        """
        return _HEADER.pack(
            BROADCAST,
            self.sender_mac,
            ETH_P_ARP,
            _ETHERNET,
            _ETH_P_IP,
            6,
            4,
            _REQUEST,
            self.sender_mac,
            self.sender.packed,
            bytes(6),
            self.target.packed,
        )

    def denies(self, address: IPv4Address, mac: bytes) -> bool:
        """
        Whether this packet says that somebody else than MAC has an address, or is to have it.

        RFC 5227 §2.1.1 has both sides give way when two probe for one address at once. Here the
        lower MAC address wins: one of the two gets it, and no third tells them apart.
        """
        if self.sender_mac == mac:
            return False
        is_probe = self.sender == NOBODY and self.target == address
        return self.sender == address or (is_probe and self.sender_mac < mac)


class ArpSocket:
    """
    One interface's ARP traffic.
    """

    def __init__(self, namespace: Namespace, interface: str) -> None:
        self._socket = namespace.open_socket(
            socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0
        )
        # Told apart by protocol only here: a socket that has one hears all interfaces until then.
        self._socket.bind((interface, ETH_P_ARP))
        self._mac: bytes = self._socket.getsockname()[4]

    def close(self) -> None:
        self._socket.close()

    def claim(self, addresses: tuple[IPv4Interface, ...], times: ProbeTimes) -> None:
        """
        Make sure that nobody on the network has one of these addresses, or is about to.

        Raises:
            AddressInUse: somebody has.
        """
        patience_ends = time.monotonic() + times.patience_seconds
        while holders := self._probe({a.ip for a in addresses}, times):
            if time.monotonic() > patience_ends:
                for address in addresses:
                    if address.ip in holders:
                        raise AddressInUse(address, holders[address.ip].hex(":"))

    def announce(self, addresses: Iterable[IPv4Interface]) -> None:
        """
        Tell all neighbours that the addresses are here (RFC 5227 §2.3).

        Those that knew them elsewhere change their minds at once, and all bridges and tunnels on
        the way learn where this interface is.
        """
        for address in addresses:
            self._socket.send(ArpPacket(self._mac, address.ip, address.ip).request())

    def _probe(self, addresses: set[IPv4Address], times: ProbeTimes) -> dict[IPv4Address, bytes]:
        """
        Ask for addresses, all at the same time.

        Returns:
            The MAC addresses of those that have some, or are about to.
        """
        holders: dict[IPv4Address, bytes] = {}
        for _ in range(times.count):
            for address in addresses:
                self._socket.send(ArpPacket(self._mac, NOBODY, address).request())
            for packet in self._packets_within(times.interval_seconds):
                for address in addresses:
                    if packet.denies(address, self._mac):
                        holders[address] = packet.sender_mac
        return holders

    def _packets_within(self, seconds: float) -> Iterator[ArpPacket]:
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if select.select([self._socket], [], [], left)[0]:
                packet = ArpPacket.parse(self._socket.recv(_HEADER.size))
                if packet is not None:
                    yield packet
