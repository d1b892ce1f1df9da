"""
TLS between nodes: both show a certificate of the same CA, which has the node's own name.

A certificate's name is the ``DNS`` entry of its ``subjectAltName``, and is compared as it is
written: a node has the name that the operator gave it, which need not be that of a host. What
address it is reached at says nothing of who it is.

I/O: reads the files once.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from attrs import field, frozen
from cryptography import x509
from OpenSSL import SSL, crypto
from twisted.internet.interfaces import (
    IOpenSSLClientConnectionCreator,
    IOpenSSLServerConnectionCreator,
)
from twisted.internet.ssl import (
    Certificate,
    CertificateOptions,
    PrivateCertificate,
    trustRootFromCertificates,
)
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

from powerstrip_flocker.errors import FlockerError
from powerstrip_flocker.pem import PemError, read_authorities, read_own

__all__ = ["PeerTls", "names_in"]


@frozen
class PeerTls:
    """
    Whom a node believes that it is a node, and what it shows to others.
    """

    ca: Path
    _authorities: tuple[Certificate, ...] = field(repr=False)
    _own: PrivateCertificate = field(repr=False)

    @classmethod
    def load(cls, ca: Path, cert: Path, key: Path) -> PeerTls:
        """
        Read the files, which are in the form of Docker's.

        Raises:
            FlockerError: when they can't be read or don't fit together.
        """
        try:
            return cls(ca, read_authorities(ca), read_own(cert, key))
        except PemError as error:
            raise FlockerError(str(error)) from error

    @property
    def names(self) -> frozenset[str]:
        """
        The nodes that one's own certificate is good for.
        """
        return names_in(self._own.original)

    def server(self) -> IOpenSSLServerConnectionCreator:
        """
        What lets nodes in, and nobody else.
        """
        return _Creator(self._context(lambda names: bool(names)))

    def client(self, node: str) -> IOpenSSLClientConnectionCreator:
        """
        What connects to one node, and to no other.
        """
        return _Creator(self._context(lambda names: node in names))

    def _context(self, is_right: Callable[[frozenset[str]], bool]) -> SSL.Context:
        options = CertificateOptions(
            privateKey=self._own.privateKey.original,
            certificate=self._own.original,
            trustRoot=trustRootFromCertificates(self._authorities),
        )
        context = options.getContext()

        def verify(_: object, shown: crypto.X509, __: object, depth: int, is_signed: int) -> bool:
            # The CA's own certificates come first, each deeper than what it has signed.
            return bool(is_signed) and (depth > 0 or is_right(names_in(shown)))

        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, verify)
        return context


@implementer(IOpenSSLClientConnectionCreator, IOpenSSLServerConnectionCreator)
@frozen
class _Creator:
    _context: SSL.Context

    # IOpenSSLClientConnectionCreator

    def clientConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        return SSL.Connection(self._context, None)

    # IOpenSSLServerConnectionCreator

    def serverConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        return SSL.Connection(self._context, None)


def names_in(certificate: crypto.X509) -> frozenset[str]:
    """
    The names of nodes that a certificate has.
    """
    try:
        extensions = certificate.to_cryptography().extensions
        alternative = extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (x509.ExtensionNotFound, ValueError):
        return frozenset()
    return frozenset(alternative.value.get_values_for_type(x509.DNSName))
