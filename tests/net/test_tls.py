"""
Who is believed to be the engine, or an adapter, over TLS: real handshakes on loopback.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest
import pytest_twisted
from cryptography import x509
from OpenSSL import SSL
from twisted.internet.interfaces import (
    IOpenSSLClientConnectionCreator,
    IOpenSSLServerConnectionCreator,
    IStreamClientEndpoint,
)
from zope.interface.verify import verifyObject

from powerstrip.core.adapter_urls import AdapterUrl
from powerstrip.core.addresses import TcpAddress
from powerstrip.net import hooks
from powerstrip.net.endpoints import engine_endpoint
from powerstrip.net.reactor import Reactor
from powerstrip.net.tls import WrongCertificateError, host_tls
from tests.net import peers
from tests.net.certificates import Authority
from tests.net.handshake import (
    WRONG_FOR_A_NAME,
    WRONG_FOR_AN_ADDRESS,
    at,
    named,
    shake_hands,
)

reactor = cast(Reactor, peers.reactor)

pytestmark = pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")

Reach = Callable[[str, int], IStreamClientEndpoint]


@pytest.fixture(scope="module")
def authority() -> Authority:
    """
    Signs what both sides show.
    """
    return Authority()


@pytest.fixture(params=["engine", "adapter"])
def reach(
    authority: Authority,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Reach:
    """
    How Powerstrip gets to a host and port.
    """
    own = authority.write_to(tmp_path / "own", "client")
    monkeypatch.setenv("SSL_CERT_FILE", str(own / "ca.pem"))

    def to_engine(host: str, port: int) -> IStreamClientEndpoint:
        return engine_endpoint(reactor, TcpAddress(host, port), own)

    def to_adapter(host: str, port: int) -> IStreamClientEndpoint:
        return hooks._endpoint(reactor, AdapterUrl(tls=True, host=host, port=port, target="/"))

    return to_engine if request.param == "engine" else to_adapter


@pytest.mark.parametrize(
    ("host", "names"),
    [
        ("localhost", named("localhost")),
        ("LocalHost", named("another.example", "LOCALHOST")),
        ("127.0.0.1", at("::1", "127.0.0.1")),
    ],
)
@pytest_twisted.ensureDeferred
async def test_the_right_host_is_spoken_to(
    authority: Authority, reach: Reach, tmp_path: Path, host: str, names: x509.ExtensionType
) -> None:
    """
    By its name or by its address, whatever its certificate's common name is.
    """
    certificates = authority.write_names_to(tmp_path, "another.example", names)
    assert await shake_hands(certificates, lambda port: reach(host, port)) is None


@pytest.mark.parametrize(
    ("host", "names"),
    [
        *(pytest.param("localhost", names, id=it) for it, names in WRONG_FOR_A_NAME.items()),
        *(pytest.param("127.0.0.1", names, id=it) for it, names in WRONG_FOR_AN_ADDRESS.items()),
    ],
)
@pytest_twisted.ensureDeferred
async def test_another_with_a_certificate_of_the_authority_is_sent_nothing(
    authority: Authority, reach: Reach, tmp_path: Path, host: str, names: x509.ExtensionType | None
) -> None:
    """
    Though its common name is that of the host, as in the certificate of a client it may be.
    """
    certificates = authority.write_names_to(tmp_path, host, names)
    error = await shake_hands(certificates, lambda port: reach(host, port))
    assert isinstance(error, SSL.Error)


@pytest_twisted.ensureDeferred
async def test_a_host_without_alternative_names_is_said_to_be_another(
    authority: Authority, reach: Reach, tmp_path: Path
) -> None:
    """
    In the words that the log and the client get.
    """
    certificates = authority.write_names_to(tmp_path, "localhost", None)
    error = await shake_hands(certificates, lambda port: reach("localhost", port))
    assert isinstance(error, WrongCertificateError)
    assert str(error) == "certificate verify failed: it is another's"


@pytest_twisted.ensureDeferred
async def test_the_right_name_of_another_authority_is_sent_nothing(
    reach: Reach, tmp_path: Path
) -> None:
    """
    It is no certificate at all.
    """
    certificates = Authority("another").write_to(tmp_path)
    error = await shake_hands(certificates, lambda port: reach("localhost", port))
    assert isinstance(error, SSL.Error)
    assert "certificate verify failed" in str(error)


def test_it_is_what_twisted_takes_for_tls() -> None:
    """
    On either side of a connection.
    """
    assert verifyObject(IOpenSSLClientConnectionCreator, host_tls("localhost"))
    assert verifyObject(IOpenSSLServerConnectionCreator, host_tls("localhost"))
