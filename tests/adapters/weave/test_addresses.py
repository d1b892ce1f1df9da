"""
What WEAVE_CIDR may say, and what is said of the rest.
"""

from __future__ import annotations

from ipaddress import IPv4Interface

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from powerstrip_weave.addresses import requested_addresses
from powerstrip_weave.errors import AddressError


def asked(said: str) -> list[str] | None:
    """
    What a container with this WEAVE_CIDR asks for.
    """
    addresses = requested_addresses(["PATH=/bin", f"WEAVE_CIDR={said}"])
    return None if addresses is None else [str(address) for address in addresses]


@pytest.mark.parametrize(
    ("said", "addresses"),
    [
        ("10.255.0.51/8", ["10.255.0.51/8"]),
        ("10.255.0.51/8,192.168.7.9/24", ["10.255.0.51/8", "192.168.7.9/24"]),
        ("192.168.7.9/24, 10.255.0.51/8", ["192.168.7.9/24", "10.255.0.51/8"]),
        ("ip:10.2.1.1/24 ip:10.2.2.1/24", ["10.2.1.1/24", "10.2.2.1/24"]),
        (" 10.2.1.1/24  ,10.2.1.2/24 ", ["10.2.1.1/24", "10.2.1.2/24"]),
        ("10.0.0.1/1", ["10.0.0.1/1"]),
        ("10.0.1.0/8", ["10.0.1.0/8"]),
        ("10.0.1.255/8", ["10.0.1.255/8"]),
        ("10.0.0.1/30", ["10.0.0.1/30"]),
        ("10.0.0.0/31,10.0.0.3/31", ["10.0.0.0/31", "10.0.0.3/31"]),
        ("169.254.3.4/16", ["169.254.3.4/16"]),
        ("none", None),
    ],
)
def test_addresses_are_read_in_their_order(said: str, addresses: list[str] | None) -> None:
    """
    Commas, or the spaces of Weave Net, stand between addresses, and its ip: may before each.
    """
    assert addresses == asked(said)


@pytest.mark.parametrize("environment", [[], ["PATH=/bin"], ["WEAVE_CIDR"], ["WEAVE_CIDRS=x"]])
def test_nobody_must_ask(environment: list[str]) -> None:
    """
    A container without the variable asks for no address.
    """
    assert requested_addresses(environment) is None


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ("", "WEAVE_CIDR is empty: it needs an address such as 10.255.0.51/8, or none"),
        (" ", "WEAVE_CIDR is empty: it needs an address such as 10.255.0.51/8, or none"),
        (",", "WEAVE_CIDR has nothing beside one of its commas"),
        ("10.0.0.1/8,", "WEAVE_CIDR has nothing beside one of its commas"),
        ("10.0.0.1/8,,10.0.0.2/8", "WEAVE_CIDR has nothing beside one of its commas"),
        ("none,10.0.0.1/8", "WEAVE_CIDR has none beside something else"),
        ("10.0.0.1/8,10.0.0.1/24", "WEAVE_CIDR has 10.0.0.1 twice"),
        ("10.0.0.1/8,ip:10.0.0.1/8", "WEAVE_CIDR has 10.0.0.1 twice"),
        ("10.1.2.3", '"10.1.2.3" has no prefix length such as the 24 of 10.1.2.3/24'),
        ("net:default", '"net:default" leaves the address open: here it must be said, as in 10.2'),
        ("net:10.2.2.0/24", '"net:10.2.2.0/24" leaves the address open: here it must be said'),
        ("fd00::1/64", '"fd00::1/64" is not an IPv4 address, and the network has no others'),
        ("ip:ip:10.0.0.1/8", '"ip:ip:10.0.0.1/8" is not an IPv4 address'),
        ("10.0.0.1/33", '"10.0.0.1/33" has a prefix length that is not a number from 1 to 31'),
        ("10.0.0.1/", '"10.0.0.1/" has a prefix length that is not a number from 1 to 31'),
        ("10.0.0.1/08", '"10.0.0.1/08" has a prefix length that is not a number'),
        ("10.0.0.1/255.0.0.0", '"10.0.0.1/255.0.0.0" has a prefix length that is not a number'),
        ("10.0.0.1/8/8", '"10.0.0.1/8/8" has a prefix length that is not a number'),
        ("10.0.0.1/٨", '"10.0.0.1/٨" has a prefix length that is not a number'),
        ("10.0.0.1/0", '"10.0.0.1/0" would take all other networks from the container'),
        ("10.0.0.1/32", '"10.0.0.1/32" is a network with room for no one else'),
        ("10.0.0/8", '"10.0.0/8" is not an address such as 10.255.0.51/8'),
        ("10.0.0.256/8", '"10.0.0.256/8" is not an address such as 10.255.0.51/8'),
        ("010.0.0.1/8", '"010.0.0.1/8" is not an address such as 10.255.0.51/8'),
        ("10.0.0.1\t/8", '"10.0.0.1\\t/8" is not an address such as 10.255.0.51/8'),
        ("yes", '"yes" is not an address such as 10.255.0.51/8'),
        ("NONE", '"NONE" is not an address such as 10.255.0.51/8'),
        ("10.0.0.0/8", '"10.0.0.0/8" is the network itself: an address in it is 10.0.0.1/8'),
        ("10.0.0.4/30", '"10.0.0.4/30" is the network itself: an address in it is 10.0.0.5/30'),
        ("10.255.255.255/8", '"10.255.255.255/8" is the address of all hosts of its network'),
        ("0.0.0.0/8", '"0.0.0.0/8" is not the address of a host'),
        ("0.1.2.3/8", '"0.1.2.3/8" is not the address of a host'),
        ("127.0.0.5/8", '"127.0.0.5/8" is not the address of a host'),
        ("239.1.2.3/8", '"239.1.2.3/8" is not the address of a host'),
        ("255.255.255.255/31", '"255.255.255.255/31" is not the address of a host'),
        ("x" * 1000, f'"{"x" * 79}…" is not an address such as 10.255.0.51/8'),
    ],
)
def test_what_is_no_address_of_a_container_is_refused(said: str, sentence: str) -> None:
    """
    The sentence says what is wrong and, where one can guess, what would be right.
    """
    with pytest.raises(AddressError) as refused:
        asked(said)

    assert sentence in str(refused.value)


def test_no_more_are_read_than_can_be_waited_for() -> None:
    """
    There may be 64 addresses, as many as the wait program has room for.
    """
    many = [f"10.0.0.{number}/8" for number in range(1, 66)]

    assert many[:64] == asked(",".join(many[:64]))
    with pytest.raises(AddressError, match="WEAVE_CIDR has more than 64 addresses"):
        asked(",".join(many))


@settings(deadline=None)
@given(st.ip_addresses(v=4), st.integers(1, 31))
def test_what_is_let_through_is_the_address_of_a_host(ip: object, length: int) -> None:
    """
    No address is both let through and one of those that no host can have; no good one is refused.
    """
    interface = IPv4Interface(f"{ip}/{length}")
    hosts = interface.network
    special = length < 31 and interface.ip in (hosts.network_address, hosts.broadcast_address)
    first = interface.ip.packed[0]
    possible = not special and first not in (0, 127) and not 224 <= first < 240
    try:
        let_through = asked(f"{ip}/{length}") == [str(interface)]
    except AddressError:
        let_through = False

    assert (possible and str(ip) != "255.255.255.255") == let_through


@settings(deadline=None)
@given(st.text())
def test_any_other_text_is_refused_with_a_sentence(said: str) -> None:
    """
    Nothing that WEAVE_CIDR may say makes the adapter fail, or its sentence take a second line.
    """
    sentence = ""
    try:
        asked(said)
    except AddressError as error:
        sentence = str(error)

    assert sentence.isprintable()
