"""
A CA's, a certificate's and a key's file, as Docker has them: ``ca.pem``, ``cert.pem``, ``key.pem``.

I/O: reads the files once.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from OpenSSL.crypto import FILETYPE_PEM
from OpenSSL.crypto import Error as OpenSslError
from twisted.internet.error import VerifyError
from twisted.internet.ssl import Certificate, KeyPair, PrivateCertificate

__all__ = ["PemError", "read_authorities", "read_own"]

CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)

_Part = TypeVar("_Part")


class PemError(Exception):
    """
    The files can't be read or don't fit together; the text names the file.
    """


def read_authorities(ca: Path) -> tuple[Certificate, ...]:
    """
    Read one certificate or several.

    Raises:
        PemError: when it can't be read, or has none.
    """
    return _read(ca, _authorities)


def read_own(cert: Path, key: Path) -> PrivateCertificate:
    """
    Read a certificate and its key.

    Raises:
        PemError: when they can't be read or don't fit together.
    """
    own = _read(cert, Certificate.loadPEM)
    pair = _read(key, lambda pem: KeyPair.load(pem, FILETYPE_PEM))
    try:
        made: PrivateCertificate = PrivateCertificate.fromCertificateAndKeyPair(own, pair)
    except VerifyError as error:
        raise PemError(f"{key} is not the key of {cert}") from error
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
        raise PemError(f"{path} can't be read: {error.strerror}") from error
    except OpenSslError as error:
        raise PemError(f"{path} does not hold what it should, in PEM") from error
