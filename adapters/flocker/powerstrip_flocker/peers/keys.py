"""
A CA and certificates for a trial: for each node a folder, as Docker has them.

A node's certificate is good for both sides, and has no common name: etcd's gateway refuses one
that has, where it has users (etcd-io/etcd#10392).

I/O: writes files.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from powerstrip_flocker.errors import FlockerError

__all__ = ["make_keys"]

DAYS = 3650

PEM = serialization.Encoding.PEM


def make_keys(directory: Path, nodes: Sequence[str]) -> None:
    """
    Make ``ca.pem`` and ``ca-key.pem``, and below them ``NODE/{ca,cert,key}.pem`` for each node.

    A CA that is there already signs the new ones, so that nodes can be added. Only their owner can
    read keys.

    Raises:
        FlockerError: A node has its keys already, can't have that name, or a file is in the way.
    """
    for node in nodes:
        if not _is_name(node):
            raise FlockerError(f"{node!r} can't be the name of a node in a certificate")
        if (directory / node).exists():
            raise FlockerError(f"{directory / node} is there already: it is not written over")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        ca_key, ca = _ca(directory)
        for node in nodes:
            _make_node(directory / node, node, ca_key, ca)
    except (OSError, ValueError) as error:
        raise FlockerError(f"the keys can't be made in {directory}: {error}") from error


def _is_name(node: str) -> bool:
    return (
        bool(node)
        and node.isascii()
        and node.isprintable()
        and node not in (".", "..")
        and ("/" not in node and " " not in node)
    )


def _ca(directory: Path) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    """
    Read the CA, or make one where there is none.
    """
    key_path, path = directory / "ca-key.pem", directory / "ca.pem"
    if key_path.exists() or path.exists():
        key = serialization.load_pem_private_key(key_path.read_bytes(), None)
        ca = x509.load_pem_x509_certificate(path.read_bytes())
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != ca.public_key():
            raise ValueError(f"{key_path} is not the key of {path}")
        return key, ca
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "powerstrip-flocker trial CA")])
    usage = x509.KeyUsage(
        key_cert_sign=True,
        crl_sign=True,
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    ca = (
        _builder(name, name, key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(identifier, critical=False)
        .sign(key, hashes.SHA256())
    )
    _write_key(key_path, key)
    path.write_bytes(ca.public_bytes(PEM))
    return key, ca


def _make_node(
    directory: Path, node: str, ca_key: ec.EllipticCurvePrivateKey, ca: x509.Certificate
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key())
    own = (
        _builder(x509.Name([]), ca.subject, key)
        # Without a subject it has to be critical: RFC 5280, 4.1.2.6.
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(node)]), critical=True)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(authority, critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    directory.mkdir(mode=0o700)
    _write_key(directory / "key.pem", key)
    (directory / "cert.pem").write_bytes(own.public_bytes(PEM))
    (directory / "ca.pem").write_bytes(ca.public_bytes(PEM))


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))  # nodes' clocks differ
        .not_valid_after(now + datetime.timedelta(days=DAYS))
    )


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    pem = key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(pem)
