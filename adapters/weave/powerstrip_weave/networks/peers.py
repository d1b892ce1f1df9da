"""
The nodes of the network, as the operator names them.

I/O: reads a file.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

from powerstrip_weave.errors import NetworkError

IPAddress = IPv4Address | IPv6Address


class PeerList:
    """
    The peers of the command line and those of a file, which may change.

    This host may be among them, so that all nodes can have the same list.
    """

    def __init__(self, named: Iterable[str] = (), file: Path | None = None) -> None:
        """
        Raises:
            NetworkError: a name isn't an address.
        """
        self._named = [_address(name, "the peer") for name in named]
        self._file = file

    def read(self) -> frozenset[IPAddress]:
        """
        The peers as they are now.

        Raises:
            NetworkError: the file can't be read, or there is something wrong in it.
        """
        peers = frozenset([*self._named, *self._read_file()])
        if len({peer.version for peer in peers}) > 1:
            raise NetworkError(
                "some peers have IPv4 addresses and some IPv6: a tunnel can only use one of them"
            )
        return peers

    def state(self) -> object:
        """
        Something that is another thing once the file has changed.
        """
        if self._file is None:
            return None
        try:
            status = self._file.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino

    def _read_file(self) -> list[IPAddress]:
        if self._file is None:
            return []
        try:
            lines = self._file.read_text().splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise NetworkError(f"the peers can't be read from {self._file}: {error}") from error
        texts = [line.partition("#")[0].strip() for line in lines]
        return [
            _address(text, f"{self._file}, line {number}:")
            for number, text in enumerate(texts, 1)
            if text
        ]


def _address(text: str, where: str) -> IPAddress:
    try:
        return ip_address(text)
    except ValueError:
        raise NetworkError(f"{where} {text!r} is not an IP address") from None
