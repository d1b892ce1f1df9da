"""
A handshake over real sockets, with a server that has the certificate that a test gives it.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from tests.net.certificates import server_context
from tests.net.peers import Listener, TlsPeer

SECRET = b"for the right host alone"


def named(*names: str) -> x509.SubjectAlternativeName:
    """
    Host names.
    """
    return x509.SubjectAlternativeName([x509.DNSName(name) for name in names])


def at(*addresses: str) -> x509.SubjectAlternativeName:
    """
    IP addresses.
    """
    return x509.SubjectAlternativeName([x509.IPAddress(ip_address(it)) for it in addresses])


NOT_ASCII = x509.UnrecognizedExtension(
    x509.ExtensionOID.SUBJECT_ALTERNATIVE_NAME, b"\x30\x06\x82\x04lo\xff\xfe"
)
"""A host name that can't be read."""

WRONG_FOR_A_NAME = {
    "no alternative name": None,
    "a name that can't be read": NOT_ASCII,
    "a malformed name beside": named("localhost", "127.0.0.1"),
    "another host's": named("another.example"),
    "an address": at("127.0.0.1"),
}
"""What a certificate may have for alternative names that is not for ``localhost``."""

WRONG_FOR_AN_ADDRESS = {
    "no alternative name": None,
    "a name that can't be read": NOT_ASCII,
    "the address as a name": named("127.0.0.1"),
    "another host's": at("127.0.0.2"),
    "a name": named("localhost"),
}
"""The same, for 127.0.0.1."""


class _Client(Protocol):
    """
    Sends the secret as soon as it may.
    """

    def __init__(self) -> None:
        self.lost: Deferred[BaseException] = Deferred()

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(SECRET)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost.callback(reason.value)


async def shake_hands(
    certificates: Path, make_endpoint: Callable[[int], IStreamClientEndpoint]
) -> BaseException | None:
    """
    Have a client connect to a server, and try to send it something.

    Args:
        certificates: The server's.
        make_endpoint: The client's, given the server's port.

    Returns:
        Why the connection has ended, and None where the server got what was sent.
    """
    context = server_context(certificates)
    context.verify_mode = ssl.CERT_NONE
    listener = Listener(("127.0.0.1", 0))
    connecting = make_endpoint(listener.port).connect(Factory.forProtocol(_Client))
    server = TlsPeer(await listener.accept(), context)
    try:
        client = await connecting
        try:
            await server.shake_hands()
            received = await server.read_exactly(len(SECRET))
        except (AssertionError, ConnectionError, ssl.SSLError):
            error: BaseException = await client.lost
            return error
        assert received == SECRET
        client.transport.abortConnection()
        await client.lost
        return None
    finally:
        server.close()
        listener.close()
