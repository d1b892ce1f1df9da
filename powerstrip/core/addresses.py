"""
What ``--docker`` and ``--listen`` say: where the engine is, and where clients come in.

Sans-I/O: text in, a value out, or a sentence that names the part that is wrong.
"""

from __future__ import annotations

import re
from ipaddress import IPv6Address

from attrs import frozen

from powerstrip.core.adapter_urls import MAX_SOCKET_PATH_BYTES
from powerstrip.core.quoting import quoted
from powerstrip.errors import ConfigError

DEFAULT_PORT = 2375
"""Docker's own port without TLS (IANA's registry: ``docker``)."""

_LOOPBACK_NAMES = ("localhost", "localhost.", "ip6-localhost", "ip6-loopback", "::1")

_EVERYWHERE = ("", "0.0.0.0", "::")  # noqa: S104 - compared with, not listened on


@frozen
class UnixAddress:
    """
    A socket in the file system.
    """

    path: str

    def __str__(self) -> str:
        return f"unix://{self.path}"


@frozen
class TcpAddress:
    """
    A host and a port.
    """

    host: str
    """A name or an address, without the brackets of IPv6; empty in ``tcp://:2375``."""

    port: int
    """Zero lets the system choose one to listen on."""

    @property
    def is_loopback(self) -> bool:
        """
        Whether nobody comes in here but from this machine.
        """
        return self.host.lower() in _LOOPBACK_NAMES or self.host.startswith("127.")

    def may_be(self, other: TcpAddress) -> bool:
        """
        Whether who listens on one of the two may be who is reached on the other.

        All names of this machine's loopback count as one, and so do those of all its interfaces.
        """
        if self.port != other.port:
            return False
        return self._spelling_of_host == other._spelling_of_host

    @property
    def _spelling_of_host(self) -> str:
        return "localhost" if self.is_loopback or self.host in _EVERYWHERE else self.host.lower()

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"tcp://{host}:{self.port}"


@frozen
class EndpointDescription:
    """
    What Twisted makes an endpoint of: ``serverFromString``, ``clientFromString``.
    """

    text: str

    def __str__(self) -> str:
        return self.text


Address = UnixAddress | TcpAddress | EndpointDescription

_HINTS = {
    "fd": "a socket that systemd has opened is written systemd:domain=UNIX:index=0",
    "npipe": "named pipes are of Windows; write unix:///PATH or tcp://HOST:PORT",
    "ssh": "there is no SSH client here; forward the socket with ssh -L and name that",
    "http": "write tcp://HOST:PORT",
    "https": "TLS is written as a Twisted endpoint description: tls:HOST:PORT or ssl:PORT:…",
    "tls": "TLS is written as a Twisted endpoint description: tls:HOST:PORT or ssl:PORT:…",
    "ssl": "TLS is written as a Twisted endpoint description: tls:HOST:PORT or ssl:PORT:…",
}
"""What a user of Docker may write, and what to write instead."""

_FORMS = "write unix:///PATH, tcp://HOST:PORT or a Twisted endpoint description"


def parse_address(text: str, option: str) -> Address:
    """
    Reads an address.

    Args:
        option: Where it was given, for the sentence: ``--listen`` or ``DOCKER_HOST``.

    Raises:
        ConfigError: It can't be one. Whether an endpoint description is good, Twisted alone knows.
    """
    try:
        return _parse(text)
    except ValueError as exc:
        raise ConfigError([f"{option} {quoted(text)}: {exc}"]) from exc


def _parse(text: str) -> Address:
    if text.startswith("/"):
        raise ValueError("a socket is written unix:///PATH")
    if ":" not in text or re.fullmatch(r"(localhost|[0-9.]+|\[.*\]):[0-9]+", text):
        raise ValueError(_FORMS)
    found = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", text)
    if found is None:
        return _description(text)
    scheme, rest = found[1].lower(), text[found.end() :]
    if scheme == "unix":
        return _unix(rest)
    if scheme == "tcp":
        return _tcp(rest)
    raise ValueError(_HINTS.get(scheme, f"{scheme}:// is not known; {_FORMS}"))


def _description(text: str) -> Address:
    """
    Reads Twisted's form, of which the one for a plain socket is the same as Docker's.
    """
    path = text.removeprefix("unix:")
    if path != text and ":" not in path:
        return _unix(path)
    return EndpointDescription(text)


def _unix(path: str) -> UnixAddress:
    if not path.startswith("/"):
        raise ValueError("the path of a socket must be absolute, as in unix:///run/powerstrip.sock")
    if "\0" in path or len(path.encode("utf-8", "surrogateescape")) > MAX_SOCKET_PATH_BYTES:
        raise ValueError(f"the path of a socket has {MAX_SOCKET_PATH_BYTES} bytes at most")
    return UnixAddress(path)


def _tcp(rest: str) -> TcpAddress:
    if "@" in rest:
        raise ValueError("an address can't hold a user name or a password")
    host, colon, port = rest.removesuffix("/").rpartition(":")
    if not colon or port.endswith("]"):
        host, port = rest.removesuffix("/"), str(DEFAULT_PORT)
    if not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535:
        raise ValueError(f"the port {quoted(port)} is not a number from 0 to 65535")
    if host.startswith("[") and host.endswith("]"):
        return TcpAddress(_ipv6(host[1:-1]), int(port))
    if ":" in host:
        raise ValueError(f"an IPv6 address stands in brackets, as in tcp://[::1]:{DEFAULT_PORT}")
    if not re.fullmatch(r"[A-Za-z0-9._-]*", host):
        raise ValueError(f"the host {quoted(host)} is neither a name nor an address")
    return TcpAddress(host, int(port))


def _ipv6(text: str) -> str:
    try:
        return str(IPv6Address(text))
    except ValueError:
        raise ValueError(f"{quoted(text)} is not an IPv6 address") from None
