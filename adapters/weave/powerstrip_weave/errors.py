"""
What can go wrong, in the words that the docker command prints.
"""

from __future__ import annotations

from ipaddress import IPv4Interface


class WeaveError(Exception):
    """
    The base; the text is a sentence for the user.
    """


class AddressError(WeaveError):
    """
    ``WEAVE_CIDR`` does not say an address that a container can have.
    """


class RequestError(WeaveError):
    """
    A request to create a container asks for what can't be had together with ``WEAVE_CIDR``.
    """


class NetworkError(WeaveError):
    """
    The network did not do what it was asked.
    """


class AddressInUse(NetworkError):
    """
    Another container, or the host, has the address, here or on another node.
    """

    def __init__(self, address: IPv4Interface, holder: str) -> None:
        """
        Args:
            holder: Who answered for it, such as ``3e:1f:00:aa:10:02``.
        """
        super().__init__(f"the address {address.ip} is in use on the network by {holder}")
        self.address = address
        self.holder = holder


class NotRunning(NetworkError):
    """
    The container ended before it could be attached.
    """
