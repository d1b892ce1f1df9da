"""
The addresses that a container's ``WEAVE_CIDR`` asks for.

Sans-I/O: an environment in, addresses out. ``wait-for-weave`` reads the variable too, inside the
container: it understands all that is let through here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from powerstrip.core.quoting import quoted
from powerstrip_weave.environment import value_of
from powerstrip_weave.errors import AddressError

__all__ = ["requested_addresses"]

VARIABLE = "WEAVE_CIDR"
EXAMPLE = "10.255.0.51/8"

MAX_ADDRESSES = 64
"""As many as ``wait-for-weave`` waits for."""

_CIDR = re.compile(r"([0-9.]{7,15})/([0-9]|[12][0-9]|3[0-2])", re.ASCII)

_THIS_NETWORK = IPv4Network("0.0.0.0/8")  # RFC 1122 section 3.2.1.3: never another host's address
_LIMITED_BROADCAST = IPv4Address("255.255.255.255")


def requested_addresses(environment: Sequence[str]) -> tuple[IPv4Interface, ...] | None:
    """
    Reads ``WEAVE_CIDR``.

    It has addresses with commas, or as Weave Net has it spaces, between them. Before each may stand
    the ``ip:`` of Weave Net.

    Args:
        environment: A container's, with that of its image in it: entries such as ``NAME=value``.

    Returns:
        The addresses in their order, at least one; or None where no address is asked for.

    Raises:
        AddressError: when it does not say addresses that a container can have.
    """
    said = value_of(VARIABLE, environment)
    if said is None or said == "none":
        return None
    items = re.split(r" *, *| +", said.strip(" "))
    if items == [""]:
        raise AddressError(f"{VARIABLE} is empty: it needs an address such as {EXAMPLE}, or none")
    if len(items) > MAX_ADDRESSES:
        raise AddressError(f"{VARIABLE} has more than {MAX_ADDRESSES} addresses")
    addresses = tuple(_address(item) for item in items)
    seen: set[IPv4Address] = set()
    for address in addresses:
        if address.ip in seen:
            raise AddressError(f"{VARIABLE} has {address.ip} twice")
        seen.add(address.ip)
    return addresses


def _address(item: str) -> IPv4Interface:
    if item == "":
        raise AddressError(f"{VARIABLE} has nothing beside one of its commas")
    if item == "none":
        raise AddressError(f"{VARIABLE} has none beside something else")
    if item.startswith("net:"):
        raise _error(item, f"leaves the address open: here it must be said, as in {EXAMPLE}")
    cidr = item.removeprefix("ip:")
    if ":" in cidr:
        raise _error(item, "is not an IPv4 address, and the network has no others")
    found = _CIDR.fullmatch(cidr)
    try:
        ip = IPv4Address(found[1] if found else cidr.partition("/")[0])
    except ValueError:
        raise _error(item, f"is not an address such as {EXAMPLE}") from None
    if "/" not in cidr:
        raise _error(item, f"has no prefix length such as the 24 of {ip}/24")
    if not found:
        raise _error(item, "has a prefix length that is not a number from 1 to 31")
    address = IPv4Interface(cidr)
    problem = _problem(address)
    if problem is not None:
        raise _error(item, problem)
    return address


def _problem(address: IPv4Interface) -> str | None:
    """
    Why no container can have an address, if so.
    """
    ip, network = address.ip, address.network
    if network.prefixlen == 0:
        return "would take all other networks from the container"
    if network.prefixlen == network.max_prefixlen:
        return "is a network with room for no one else"
    if ip.is_loopback or ip.is_multicast or ip in _THIS_NETWORK or ip == _LIMITED_BROADCAST:
        return "is not the address of a host"
    if network.prefixlen == network.max_prefixlen - 1:
        return None  # two hosts, and neither of the two special addresses: RFC 3021
    if ip == network.network_address:
        return f"is the network itself: an address in it is {ip + 1}/{network.prefixlen}"
    if ip == network.broadcast_address:
        return "is the address of all hosts of its network"
    return None


def _error(item: str, problem: str) -> AddressError:
    return AddressError(f"{VARIABLE}: {quoted(item)} {problem}")
