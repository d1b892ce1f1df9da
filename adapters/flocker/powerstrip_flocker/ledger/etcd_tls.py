"""
TLS to etcd, from a CA's, a certificate's and a key's file as Docker has them.

I/O: reads the files once.
"""

from __future__ import annotations

from pathlib import Path

from attrs import frozen
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import Certificate, PrivateCertificate
from twisted.web.iweb import IPolicyForHTTPS
from zope.interface import implementer

from powerstrip.net.tls import host_tls
from powerstrip_flocker.errors import LedgerError
from powerstrip_flocker.pem import PemError, read_authorities, read_own

__all__ = ["EtcdTls"]


@implementer(IPolicyForHTTPS)
@frozen
class EtcdTls:
    """
    Whom to believe that it is etcd, and who to say that one is.
    """

    ca: Path
    _authorities: tuple[Certificate, ...]
    _own: PrivateCertificate | None

    @classmethod
    def load(cls, ca: Path, cert: Path | None, key: Path | None) -> EtcdTls:
        """
        Read the files.

        Args:
            ca: One certificate or several, one of which has signed etcd's.
            cert: One's own, or None with `key` where etcd asks for none.

        Raises:
            LedgerError: when they can't be read or don't fit together.
        """
        try:
            authorities = read_authorities(ca)
            own = None if cert is None or key is None else read_own(cert, key)
        except PemError as error:
            raise LedgerError(str(error)) from error
        return cls(ca, authorities, own)

    # IPolicyForHTTPS

    def creatorForNetloc(self, hostname: bytes, port: int) -> IOpenSSLClientConnectionCreator:
        return host_tls(hostname.decode("ascii"), self._authorities, self._own)
