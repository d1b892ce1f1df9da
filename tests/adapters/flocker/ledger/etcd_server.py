"""
A real etcd for a test: of one member or three, on loopback, in a directory of its own.
"""

from __future__ import annotations

import base64
import datetime
import json
import shutil
import signal
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field, frozen
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

READY_SECONDS = 30.0


@frozen
class Keys:
    """
    A CA's certificate, and a certificate with its key, as files.
    """

    ca: Path
    cert: Path
    """Without a common name."""

    named_cert: Path
    """Of the same key, with a common name, as most have one."""

    key: Path


def make_keys(directory: Path, host: str = "127.0.0.1") -> Keys:
    """
    Make a CA, and with it a certificate of a host, which is good for clients as well.
    """
    directory.mkdir(parents=True, exist_ok=True)
    ca_key, own_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"CA of {directory.name}")])
    now = datetime.datetime.now(datetime.UTC)

    def builder(subject: x509.Name, key: Any) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(ca_name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
        )

    ca = builder(ca_name, ca_key).add_extension(x509.BasicConstraints(True, None), critical=True)
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    keys = Keys(*(directory / f"{it}.pem" for it in ("ca", "cert", "named-cert", "key")))
    pem = serialization.Encoding.PEM
    keys.ca.write_bytes(ca.sign(ca_key, hashes.SHA256()).public_bytes(pem))
    common_name = x509.NameAttribute(NameOID.COMMON_NAME, "node")
    for path, subject in ((keys.cert, []), (keys.named_cert, [common_name])):
        own = (
            builder(x509.Name(subject), own_key)
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address(host))]), True)
            .add_extension(x509.ExtendedKeyUsage(usages), False)
        )
        path.write_bytes(own.sign(ca_key, hashes.SHA256()).public_bytes(pem))
    keys.key.write_bytes(
        own_key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return keys


@define
class Member:
    """
    One process of etcd.
    """

    name: str
    directory: Path
    url: str
    peer_url: str
    arguments: tuple[str, ...] = ()
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with open(self.directory / f"{self.name}.log", "ab") as log:
            self.process = subprocess.Popen(
                [
                    *("etcd", "--name", self.name, "--data-dir", self.directory / self.name),
                    *("--listen-client-urls", self.url, "--advertise-client-urls", self.url),
                    *("--listen-peer-urls", self.peer_url),
                    *("--initial-advertise-peer-urls", self.peer_url),
                    *self.arguments,
                ],
                stdout=log,
                stderr=log,
            )

    def send(self, number: signal.Signals) -> None:
        """
        Send a signal.
        """
        assert self.process is not None
        self.process.send_signal(number)
        if number == signal.SIGKILL:
            self.process.wait()


@define
class EtcdServer:
    """
    An etcd of one member or several.
    """

    members: tuple[Member, ...]
    keys: Keys | None = None
    token: str | None = field(default=None)

    @property
    def endpoints(self) -> tuple[str, ...]:
        """
        The URLs of all members.
        """
        return tuple(member.url for member in self.members)

    def ask(self, method: str, question: object) -> Any:
        """
        Ask past the adapter's own code.
        """
        context = None
        if self.keys is not None:
            context = ssl.create_default_context(cafile=str(self.keys.ca))
            context.load_cert_chain(self.keys.cert, self.keys.key)
        headers = {} if self.token is None else {"Authorization": self.token}
        url = f"{self.endpoints[0]}/v3/{method}"
        request = urllib.request.Request(url, json.dumps(question).encode(), headers)
        with urllib.request.urlopen(request, timeout=5, context=context) as response:
            return json.load(response)

    def put(self, key: str, value: bytes) -> None:
        """
        Write a key.
        """
        key_value = {"key": _base64(key.encode()), "value": _base64(value)}
        self.ask("kv/put", key_value)

    def clear(self) -> None:
        """
        Forget all keys.
        """
        self.ask("kv/deleterange", {"key": _base64(b"\0"), "range_end": _base64(b"\0")})

    def await_ready(self) -> None:
        """
        Wait until it answers.
        """
        give_up_at = time.monotonic() + READY_SECONDS
        while True:
            try:
                self.ask("kv/range", {"key": _base64(b"any")})
            except OSError as error:
                # An error of etcd's own, but that it has no leader yet, is an answer.
                if isinstance(error, urllib.error.HTTPError) and error.code < 500:
                    return
                if time.monotonic() > give_up_at:
                    raise
                time.sleep(0.05)
            else:
                return

    def add_user(self, password: str) -> None:
        """
        Have it ask for the user `root`, with this password.
        """
        self.ask("auth/user/add", {"name": "root", "password": password})
        self.ask("auth/role/add", {"name": "root"})
        self.ask("auth/user/grant", {"user": "root", "role": "root"})
        self.ask("auth/enable", {})
        self.log_in(password)

    def log_in(self, password: str) -> None:
        """
        Ask as the user `root` from here on.
        """
        self.token = None
        question = {"name": "root", "password": password}
        self.token = self.ask("auth/authenticate", question)["token"]

    def stop(self) -> None:
        """
        End all members.
        """
        for member in self.members:
            if member.process is not None and member.process.poll() is None:
                member.send(signal.SIGKILL)


def start_etcd(directory: Path, count: int = 1, keys: Keys | None = None) -> EtcdServer:
    """
    Start an etcd.

    Args:
        keys: For TLS, which clients then need a certificate for as well.
    """
    if shutil.which("etcd") is None:
        pytest.skip("there is no etcd here: scripts/install-etcd")
    ports = _free_ports(2 * count)
    scheme = "http" if keys is None else "https"
    urls = [f"{scheme}://127.0.0.1:{port}" for port in ports[:count]]
    peer_urls = [f"http://127.0.0.1:{port}" for port in ports[count:]]
    cluster = ",".join(f"m{index}={url}" for index, url in enumerate(peer_urls))
    arguments = ["--initial-cluster", cluster, "--log-level", "error", "--logger", "zap"]
    if keys is not None:
        arguments += ["--client-cert-auth", "--trusted-ca-file", str(keys.ca)]
        arguments += ["--cert-file", str(keys.cert), "--key-file", str(keys.key)]
    members = tuple(
        Member(f"m{index}", directory, urls[index], peer_urls[index], tuple(arguments))
        for index in range(count)
    )
    server = EtcdServer(members, keys)
    try:
        for member in members:
            member.start()
        server.await_ready()
    except BaseException:
        server.stop()
        raise
    return server


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def _base64(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")
