"""
Endpoints: how hosts are reached, with TLS and without, and sockets that are in the way.
"""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path
from typing import cast

import pytest
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, wrapClientTLS

from powerstrip.core.addresses import TcpAddress
from powerstrip.errors import ConfigError
from powerstrip.net.endpoints import engine_endpoint, remove_stale_socket, tcp_endpoint
from powerstrip.net.reactor import Reactor
from powerstrip.net.tls import host_tls
from tests.net import peers
from tests.net.certificates import Authority

TLS = type(wrapClientTLS(None, None))

reactor = cast(Reactor, peers.reactor)

pytestmark = pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")


@pytest.mark.parametrize(
    ("host", "kind"),
    [("engine", HostnameEndpoint), ("::1", HostnameEndpoint), ("my_engine", TCP4ClientEndpoint)],
)
def test_an_engine_may_have_the_name_of_a_container(host: str, kind: type) -> None:
    """
    With ``_``, which Twisted's endpoint for host names refuses at each connection.
    """
    assert isinstance(engine_endpoint(reactor, TcpAddress(host, 2375), None), kind)


@pytest.mark.parametrize("host", ["engine", "my_engine"])
def test_tls_is_spoken_wherever_it_is_asked_for(host: str) -> None:
    """
    Whatever the name.
    """
    assert isinstance(tcp_endpoint(reactor, host, 2376, host_tls("engine")), TLS)


def test_an_engine_over_tls_has_a_name_for_a_certificate(tmp_path: Path) -> None:
    """
    Another is refused at the start, rather than at each connection.
    """
    certificates = Authority().write_to(tmp_path)
    assert isinstance(engine_endpoint(reactor, TcpAddress("engine", 1), certificates), TLS)
    with pytest.raises(ConfigError) as caught:
        engine_endpoint(reactor, TcpAddress("my_engine", 1), certificates)
    assert caught.value.problems == (
        "DOCKER_TLS_VERIFY: my_engine is not a host name that a certificate can hold",
    )


@pytest.mark.parametrize("name", ["ca.pem", "cert.pem", "key.pem"])
@pytest.mark.parametrize("text", ["", "no PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_a_malformed_certificate_is_named(tmp_path: Path, name: str, text: str) -> None:
    """
    The file, of the three, in one sentence.
    """
    certificates = Authority().write_to(tmp_path)
    (certificates / name).write_text(text)
    with pytest.raises(ConfigError) as caught:
        engine_endpoint(reactor, TcpAddress("engine", 1), certificates)
    assert caught.value.problems == (
        f"DOCKER_CERT_PATH: {certificates}/{name} does not hold what it should, in PEM",
    )


def test_a_key_of_another_certificate_is_named(tmp_path: Path) -> None:
    """
    As after half a renewal.
    """
    certificates = Authority().write_to(tmp_path)
    other = Authority().write_to(tmp_path / "other")
    (other / "key.pem").rename(certificates / "key.pem")
    with pytest.raises(ConfigError) as caught:
        engine_endpoint(reactor, TcpAddress("engine", 1), certificates)
    assert caught.value.problems == (
        f"DOCKER_CERT_PATH: {certificates}/key.pem is not the key of cert.pem",
    )


def test_a_listener_that_lets_nobody_in_is_alive(short_tmp: Path) -> None:
    """
    Its backlog is full: to connect would wait for ever.
    """
    path = str(short_tmp / "busy.sock")
    clients = [socket.socket(socket.AF_UNIX) for _ in range(8)]
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(0)
        for client in clients:
            client.setblocking(False)
            client.connect_ex(path)
        rescue = threading.Timer(5, listener.close)  # ends the wait of one that does wait
        rescue.start()
        with pytest.raises(ConfigError) as caught:
            remove_stale_socket(path)
        rescue.cancel()
    for client in clients:
        client.close()
    assert caught.value.problems == (f"--listen unix://{path}: another process listens there",)
    assert os.path.exists(path)
