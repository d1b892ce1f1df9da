"""
Certificates for one test, in the files that Docker's TLS takes: ca.pem, cert.pem, key.pem.
"""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

LONG_AGO = datetime.datetime(2020, 1, 1)
FAR_AHEAD = datetime.datetime(2120, 1, 1)


class Authority:
    """
    Signs certificates.
    """

    def __init__(self, name: str = "a test's authority") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._certificate = (
            self._unsigned(self._name, self._key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )

    def write_to(self, directory: Path, host: str = "localhost") -> Path:
        """
        Write a key and a certificate for a host, and the authority's own, into a directory.
        """
        names = [x509.DNSName(host), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        return self.write_names_to(directory, host, x509.SubjectAlternativeName(names))

    def write_names_to(
        self, directory: Path, common_name: str, names: x509.ExtensionType | None
    ) -> Path:
        """
        Write the same three files, with these alternative names or with none.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        builder = self._unsigned(subject, key)
        if names is not None:
            builder = builder.add_extension(names, critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        directory.mkdir(exist_ok=True)
        pem = serialization.Encoding.PEM
        (directory / "ca.pem").write_bytes(self._certificate.public_bytes(pem))
        (directory / "cert.pem").write_bytes(certificate.public_bytes(pem))
        (directory / "key.pem").write_bytes(
            key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        )
        return directory

    def _unsigned(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(LONG_AGO)
            .not_valid_after(FAR_AHEAD)
        )


def client_context(directory: Path) -> ssl.SSLContext:
    """
    What a client has that trusts the authority.
    """
    return ssl.create_default_context(cafile=str(directory / "ca.pem"))


def server_context(directory: Path) -> ssl.SSLContext:
    """
    What a server has that lets in whom the authority knows, as ``dockerd --tlsverify``.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(directory / "ca.pem"))
    context.load_cert_chain(directory / "cert.pem", directory / "key.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    return context
