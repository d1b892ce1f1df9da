"""
A cluster's certificates, as ``flocker-ca`` makes them.
"""

from __future__ import annotations

import datetime
from pathlib import Path

from attrs import frozen
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

PEM = serialization.Encoding.PEM


@frozen
class Cluster:
    """
    A directory of files, and what they are signed with.
    """

    directory: Path
    _key: ec.EllipticCurvePrivateKey
    _name: x509.Name

    @property
    def ca(self) -> Path:
        """
        The cluster's own certificate.
        """
        return self.directory / "cluster.crt"

    @classmethod
    def make(cls, directory: Path) -> Cluster:
        """
        Make a cluster, with a control service ``control`` and the user ``plugin``.
        """
        directory.mkdir(parents=True, exist_ok=True)
        name = _name(f"cluster of {directory.name}")
        made = cls(directory, ec.generate_private_key(ec.SECP256R1()), name)
        builder = made._builder(name, made._key.public_key())
        signed = builder.add_extension(x509.BasicConstraints(True, None), True)
        made.ca.write_bytes(signed.sign(made._key, hashes.SHA256()).public_bytes(PEM))
        made.sign("control", "control-service", ["control-service", "control.example"])
        made.sign("plugin", "user-plugin")
        return made

    def sign(self, file: str, common_name: str, hosts: list[str] | None = None) -> None:
        """
        Make FILE.crt and FILE.key.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        builder = self._builder(_name(common_name), key.public_key())
        if hosts:
            names = x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts])
            builder = builder.add_extension(names, False)
        signed = builder.sign(self._key, hashes.SHA256())
        self.cert(file).write_bytes(signed.public_bytes(PEM))
        pem = key.private_bytes(
            PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        self.key(file).write_bytes(pem)

    def cert(self, file: str) -> Path:
        """
        A certificate.
        """
        return self.directory / f"{file}.crt"

    def key(self, file: str) -> Path:
        """
        Its key.
        """
        return self.directory / f"{file}.key"

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey
    ) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
        )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
