"""
TLS to etcd, from a CA's, a certificate's and a key's file as Docker has them.

I/O: reads the files once.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from attrs import frozen
from OpenSSL.crypto import FILETYPE_PEM
from OpenSSL.crypto import Error as OpenSslError
from twisted.internet.error import VerifyError
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import (
    Certificate,
    KeyPair,
    PrivateCertificate,
    optionsForClientTLS,
    trustRootFromCertificates,
)
from twisted.web.iweb import IPolicyForHTTPS
from zope.interface import implementer

from powerstrip_flocker.errors import LedgerError

__all__ = ["EtcdTls"]

CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)

_Part = TypeVar("_Part")


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
        authorities = _read(ca, _authorities)
        if cert is None or key is None:
            return cls(ca, authorities, None)
        own = _read(cert, Certificate.loadPEM)
        pair = _read(key, lambda pem: KeyPair.load(pem, FILETYPE_PEM))
        try:
            return cls(ca, authorities, PrivateCertificate.fromCertificateAndKeyPair(own, pair))
        except VerifyError as error:
            raise LedgerError(f"{key} is not the key of {cert}") from error

    # IPolicyForHTTPS

    def creatorForNetloc(self, hostname: bytes, port: int) -> IOpenSSLClientConnectionCreator:
        made: IOpenSSLClientConnectionCreator = optionsForClientTLS(
            hostname.decode("ascii"),
            trustRoot=trustRootFromCertificates(self._authorities),
            clientCertificate=self._own,
        )
        return made


def _authorities(pem: bytes) -> tuple[Certificate, ...]:
    found = tuple(Certificate.loadPEM(one) for one in CERTIFICATE.findall(pem))
    if not found:
        raise OpenSslError("no certificate")
    return found


def _read(path: Path, load: Callable[[bytes], _Part]) -> _Part:
    try:
        return load(path.read_bytes())
    except OSError as error:
        raise LedgerError(f"{path} can't be read: {error.strerror}") from error
    except OpenSslError as error:
        raise LedgerError(f"{path} does not hold what it should, in PEM") from error
