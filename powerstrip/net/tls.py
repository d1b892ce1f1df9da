"""
Connections over TLS whose other end has to show the right certificate: signed, and of its name.

Not Twisted's `optionsForClientTLS`: of a certificate without any alternative name, or with one that
can't be understood, Twisted 26.10 logs what service_identity raises (a `CertificateError`, where it
looks for a `VerificationError`) and goes by the signature alone. So a certificate that the CA has
made for a client would do for any host. Here whatever isn't found to be right is wrong.

I/O: none until a connection is made. What the system trusts is read when it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ipaddress import ip_address

import idna
from attrs import frozen
from cryptography import x509
from OpenSSL import SSL, crypto
from service_identity.cryptography import (
    verify_certificate_hostname,
    verify_certificate_ip_address,
)
from twisted.internet.interfaces import (
    IOpenSSLClientConnectionCreator,
    IOpenSSLServerConnectionCreator,
)
from twisted.internet.ssl import (
    Certificate,
    CertificateOptions,
    PrivateCertificate,
    platformTrust,
    trustRootFromCertificates,
)
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

__all__ = ["CheckedTls", "WrongCertificateError", "host_tls"]

OF_ANOTHER = "certificate verify failed: it is another's"
"""Begins as what OpenSSL says of one that isn't signed."""

Check = Callable[[x509.Certificate], bool]


class WrongCertificateError(SSL.Error):
    """
    A certificate is signed as it should be, and is not the other end's.
    """

    def __init__(self) -> None:
        # As OpenSSL's own look, which Twisted takes apart: a list of (library, function, reason).
        super().__init__([("SSL routines", "", OF_ANOTHER)])

    def __str__(self) -> str:
        return OF_ANOTHER


@implementer(IOpenSSLClientConnectionCreator, IOpenSSLServerConnectionCreator)
@frozen
class CheckedTls:
    """
    Makes connections, of either side, that last only if the other end's certificate is right.
    """

    _context: SSL.Context
    _server_name: bytes | None

    @classmethod
    def make(
        cls,
        is_right: Check,
        authorities: Sequence[Certificate] | None,
        own: PrivateCertificate | None,
        server_name: bytes | None = None,
    ) -> CheckedTls:
        """
        Make one.

        Args:
            is_right: Asked of each certificate that is signed. Where it raises, it isn't right.
            authorities: Who signs, or None for whom the system trusts.
            own: What is shown to the other end.
            server_name: Whom a client says that it looks for.
        """
        shown = {}
        if own is not None:
            shown = {"privateKey": own.privateKey.original, "certificate": own.original}
        root = platformTrust() if authorities is None else trustRootFromCertificates(authorities)
        context = CertificateOptions(trustRoot=root, **shown).getContext()

        def verify(_: object, shown: crypto.X509, __: object, depth: int, is_signed: int) -> bool:
            # The CA's own certificates come first, each deeper than what it has signed.
            if is_signed and depth == 0 and not _passes(is_right, shown):
                # OpenSSL ends the connection for it, and what has waited for that gets it.
                raise WrongCertificateError
            return bool(is_signed)

        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, verify)
        return cls(context, server_name)

    # IOpenSSLClientConnectionCreator

    def clientConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        connection = SSL.Connection(self._context, None)
        if self._server_name is not None:
            connection.set_tlsext_host_name(self._server_name)
        return connection

    # IOpenSSLServerConnectionCreator

    def serverConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        return SSL.Connection(self._context, None)


def host_tls(
    host: str,
    authorities: Sequence[Certificate] | None = None,
    own: PrivateCertificate | None = None,
) -> CheckedTls:
    """
    What connects to a host, by its name or its IP address, and to no other.

    Args:
        authorities: Who signs, or None for whom the system trusts.
        own: What is shown to the host, if it asks.

    Raises:
        UnicodeError: when it is not a name that a certificate can hold, such as one with ``_``.
    """

    def is_of_address(shown: x509.Certificate) -> bool:
        verify_certificate_ip_address(shown, host)
        return True

    try:
        ip_address(host)
    except ValueError:
        name = idna.encode(host).decode("ascii")
    else:
        # No server name: RFC 6066, section 3.
        return CheckedTls.make(is_of_address, authorities, own)

    def is_of_name(shown: x509.Certificate) -> bool:
        verify_certificate_hostname(shown, name)
        return True

    return CheckedTls.make(is_of_name, authorities, own, name.encode("ascii"))


def _passes(is_right: Check, shown: crypto.X509) -> bool:
    try:
        return is_right(shown.to_cryptography())
    except Exception:  # whatever a certificate can make cryptography or service_identity raise
        return False
