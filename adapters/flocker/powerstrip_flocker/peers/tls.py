"""
TLS between nodes: both show a certificate of the same CA, which has the node's own name.

A certificate's name is the ``DNS`` entry of its ``subjectAltName``, and is compared as it is
written: a node has the name that the operator gave it, which need not be that of a host. What
address it is reached at says nothing of who it is.

I/O: reads the files once.
"""

from __future__ import annotations

from pathlib import Path

from attrs import field, frozen
from cryptography import x509
from twisted.internet.interfaces import (
    IOpenSSLClientConnectionCreator,
    IOpenSSLServerConnectionCreator,
)
from twisted.internet.ssl import Certificate, PrivateCertificate

from powerstrip.net.tls import CheckedTls
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
        return names_in(self._own.original.to_cryptography())

    def server(self) -> IOpenSSLServerConnectionCreator:
        """
        What lets nodes in, and nobody else.
        """
        return CheckedTls.make(lambda it: bool(names_in(it)), self._authorities, self._own)

    def client(self, node: str) -> IOpenSSLClientConnectionCreator:
        """
        What connects to one node, and to no other.
        """
        return CheckedTls.make(lambda it: node in names_in(it), self._authorities, self._own)


def names_in(certificate: x509.Certificate) -> frozenset[str]:
    """
    The names of nodes that a certificate has.
    """
    try:
        alternative = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (x509.ExtensionNotFound, ValueError):
        return frozenset()
    return frozenset(alternative.value.get_values_for_type(x509.DNSName))
