"""
ARP packets, and what they say of who has an address.
"""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest
from powerstrip_weave.networks.arp import NOBODY, ArpPacket

OURS = bytes.fromhex("760000000005")
LOWER = bytes.fromhex("760000000004")
HIGHER = bytes.fromhex("760000000006")
A = IPv4Address("10.0.0.1")
B = IPv4Address("10.0.0.2")

PROBE = bytes.fromhex(
    "ffffffffffff 760000000005 08060001 0800 06 04 0001760000000005 00000000000000000000 0a000001"
)
"""RFC 826's packet in an Ethernet frame, as RFC 5227 §1.1 has a probe."""


def test_a_probe_names_no_sender() -> None:
    """
    Nobody who hears it comes to believe that the address is there.
    """
    assert ArpPacket(OURS, NOBODY, A).request() == PROBE


def test_a_packet_is_read_as_it_was_written() -> None:
    """
    With what Ethernet puts behind it, for the frame is shorter than Ethernet's shortest.
    """
    packet = ArpPacket(OURS, B, A)
    assert packet == ArpPacket.parse(packet.request() + bytes(18))


@pytest.mark.parametrize("place", [12, 15, 17, 18, 19])
def test_other_packets_are_none(place: int) -> None:
    """
    Other protocols than ARP for IPv4 on Ethernet.
    """
    frame = bytearray(PROBE)
    frame[place] ^= 0xFF
    assert ArpPacket.parse(bytes(frame)) is None


def test_a_cut_packet_is_none() -> None:
    """
    There is nothing to read in it.
    """
    assert [None] * len(PROBE) == [ArpPacket.parse(PROBE[:end]) for end in range(len(PROBE))]


@pytest.mark.parametrize(
    ("packet", "denies"),
    [
        (ArpPacket(LOWER, A, B), True),  # an answer, or any packet of one that has it
        (ArpPacket(HIGHER, A, A), True),  # an announcement
        (ArpPacket(LOWER, NOBODY, A), True),  # another's probe, and that one wins
        (ArpPacket(HIGHER, NOBODY, A), False),  # another's probe, which gives way to ours
        (ArpPacket(OURS, NOBODY, A), False),
        (ArpPacket(OURS, A, A), False),
        (ArpPacket(LOWER, NOBODY, B), False),
        (ArpPacket(LOWER, B, A), False),  # another one looks for who has it
    ],
)
def test_what_says_that_an_address_is_taken(packet: ArpPacket, denies: bool) -> None:
    """
    One that has it says so, and of two that probe for it one gives way, never both, never none.
    """
    assert denies == packet.denies(A, OURS)
