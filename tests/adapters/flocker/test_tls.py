"""
Who is believed to be etcd, the control service or another node: real handshakes on loopback.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from cryptography import x509
from OpenSSL import SSL
from powerstrip_flocker.control_service.exchange import ControlTls
from powerstrip_flocker.ledger.etcd_tls import EtcdTls
from powerstrip_flocker.peers.tls import PeerTls
from twisted.internet.endpoints import TCP4ClientEndpoint, wrapClientTLS
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator

from tests.net.certificates import Authority
from tests.net.handshake import (
    NOT_ASCII,
    WRONG_FOR_A_NAME,
    WRONG_FOR_AN_ADDRESS,
    at,
    named,
    shake_hands,
)

pytestmark = pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")

Files = tuple[Path, Path, Path]


def etcd(host: bytes) -> Callable[[Files], IOpenSSLClientConnectionCreator]:
    """
    What connects to etcd at a host.
    """
    return lambda files: EtcdTls.load(*files).creatorForNetloc(host, 2379)


def control(files: Files) -> IOpenSSLClientConnectionCreator:
    """
    What connects to a control service.
    """
    return ControlTls.load(*files).creatorForNetloc(b"localhost", 4523)


def peer(files: Files) -> IOpenSSLClientConnectionCreator:
    """
    What connects to the node ``node1``.
    """
    return PeerTls.load(*files).client("node1")


WRONG = {
    "no alternative name": None,
    "a name that can't be read": NOT_ASCII,
    "another's": named("another"),
    "an address": at("127.0.0.1"),
}


async def outcome(
    reactor: Any,
    directory: Path,
    make: Callable[[Files], IOpenSSLClientConnectionCreator],
    names: x509.ExtensionType | None,
    common_name: str,
) -> BaseException | None:
    """
    What becomes of a connection to a server whose certificate has these names.
    """
    authority = Authority()
    own = authority.write_to(directory / "own", "client")
    creator = make((own / "ca.pem", own / "cert.pem", own / "key.pem"))
    certificates = authority.write_names_to(directory / "server", common_name, names)
    return await shake_hands(
        certificates,
        lambda port: wrapClientTLS(creator, TCP4ClientEndpoint(reactor, "127.0.0.1", port)),
    )


@pytest.mark.parametrize(
    ("make", "names"),
    [
        pytest.param(etcd(b"localhost"), named("localhost"), id="etcd by name"),
        pytest.param(etcd(b"127.0.0.1"), at("127.0.0.1"), id="etcd by address"),
        pytest.param(control, named("control-service", "control.example"), id="control"),
        pytest.param(peer, named("node1"), id="peer"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_the_right_one_is_spoken_to(
    reactor: Any,
    tmp_path: Path,
    make: Callable[[Files], IOpenSSLClientConnectionCreator],
    names: x509.ExtensionType,
) -> None:
    """
    Whatever its common name is.
    """
    assert await outcome(reactor, tmp_path, make, names, "another") is None


@pytest.mark.parametrize(
    ("make", "names", "common_name"),
    [
        *(
            pytest.param(etcd(b"localhost"), names, "localhost", id=f"etcd by name: {it}")
            for it, names in WRONG_FOR_A_NAME.items()
        ),
        *(
            pytest.param(etcd(b"127.0.0.1"), names, "127.0.0.1", id=f"etcd by address: {it}")
            for it, names in WRONG_FOR_AN_ADDRESS.items()
        ),
        *(
            pytest.param(control, names, "control-service", id=f"control: {it}")
            for it, names in WRONG.items()
        ),
        *(pytest.param(peer, names, "node1", id=f"peer: {it}") for it, names in WRONG.items()),
    ],
)
@pytest_twisted.ensureDeferred
async def test_another_with_a_certificate_of_the_ca_is_sent_nothing(
    reactor: Any,
    tmp_path: Path,
    make: Callable[[Files], IOpenSSLClientConnectionCreator],
    names: x509.ExtensionType | None,
    common_name: str,
) -> None:
    """
    As clients, users and other nodes have one, with any common name.
    """
    error = await outcome(reactor, tmp_path, make, names, common_name)
    assert isinstance(error, SSL.Error)
