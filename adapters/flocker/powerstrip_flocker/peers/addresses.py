"""
Where a node lets other nodes in: ``HOST:PORT``.

Sans-I/O: text in, a value out, or a sentence.
"""

from __future__ import annotations

from powerstrip.core.addresses import TcpAddress, parse_address
from powerstrip.errors import ConfigError
from powerstrip_flocker.errors import FlockerError

__all__ = ["parse_peer_address"]


def parse_peer_address(text: str) -> TcpAddress:
    """
    Read an address, such as ``192.0.2.1:4523``, ``[2001:db8::1]:4523`` or ``node1.example:4523``.

    Raises:
        FlockerError: It can't be one.
    """
    host_and_port = text.removeprefix("tcp://")
    try:
        found = parse_address(f"tcp://{host_and_port}", "node")
    except ConfigError as error:
        raise FlockerError(str(error)) from error
    _, colon, port = host_and_port.rpartition(":")
    if not isinstance(found, TcpAddress) or not colon or not port.isdecimal():
        raise FlockerError(f"{text} is no address of a node, such as 192.0.2.1:4523")
    return found
