"""
Twisted's endpoints for the addresses of ``--docker`` and ``--listen``.

I/O: looks at the file system for UNIX sockets and certificates. Errors are for the operator.
"""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from OpenSSL.crypto import FILETYPE_PEM
from OpenSSL.crypto import Error as OpenSslError
from twisted.internet.endpoints import (
    AdoptedStreamServerEndpoint,
    HostnameEndpoint,
    TCP4ClientEndpoint,
    TCP4ServerEndpoint,
    TCP6ServerEndpoint,
    UNIXClientEndpoint,
    UNIXServerEndpoint,
    clientFromString,
    serverFromString,
    wrapClientTLS,
)
from twisted.internet.error import VerifyError
from twisted.internet.interfaces import (
    IOpenSSLClientConnectionCreator,
    IStreamClientEndpoint,
    IStreamServerEndpoint,
)
from twisted.internet.ssl import Certificate, KeyPair, PrivateCertificate

from powerstrip.core.addresses import Address, TcpAddress, UnixAddress
from powerstrip.errors import ConfigError
from powerstrip.net.reactor import Reactor
from powerstrip.net.shared_port import SharedEndpoint
from powerstrip.net.tls import host_tls

CONNECT_SECONDS = 10.0
"""How long a connection to the engine or to an adapter may take to be there."""

BACKLOG = 4096
"""
How many clients may wait to be let in: Linux's own bound (``net.core.somaxconn``), as with Go.
With Twisted's 50, some of a burst of clients would come in a second late, when TCP tries again.
"""

_Part = TypeVar("_Part")


def tcp_endpoint(
    reactor: Reactor, host: str, port: int, tls: IOpenSSLClientConnectionCreator | None = None
) -> IStreamClientEndpoint:
    """
    Make the endpoint on which a host is reached.

    Args:
        tls: What `host_tls` makes, or None to speak in the clear.
    """
    endpoint: IStreamClientEndpoint
    if "_" in host:
        # No host name, but the name of many a container: `HostnameEndpoint` refuses it.
        endpoint = TCP4ClientEndpoint(reactor, host, port, timeout=CONNECT_SECONDS)
    else:
        endpoint = HostnameEndpoint(reactor, host, port, timeout=CONNECT_SECONDS)
    return endpoint if tls is None else wrapClientTLS(tls, endpoint)


def engine_endpoint(
    reactor: Reactor, address: Address, certificates: Path | None
) -> IStreamClientEndpoint:
    """
    Make the endpoint on which the engine is reached.

    Args:
        certificates: For TLS over TCP, the folder of ``ca.pem``, ``cert.pem`` and ``key.pem``, as
            ``DOCKER_CERT_PATH`` names it to the docker client.

    Raises:
        ConfigError: when it can't be one.
    """
    if isinstance(address, UnixAddress):
        return UNIXClientEndpoint(reactor, address.path, timeout=CONNECT_SECONDS)
    if isinstance(address, TcpAddress):
        host = address.host or "localhost"
        tls = None if certificates is None else _tls(host, certificates)
        return tcp_endpoint(reactor, host, address.port, tls)
    try:
        made: IStreamClientEndpoint = clientFromString(reactor, address.text)
    except Exception as error:  # plugins of any kind parse these, and fail as they like
        raise ConfigError([f"--docker {address}: not a client endpoint: {error!r}"]) from error
    return made


def listening_endpoint(reactor: Reactor, address: Address) -> IStreamServerEndpoint:
    """
    Make an endpoint on which clients come in.

    Raises:
        ConfigError: when it can't be one.
    """
    if isinstance(address, UnixAddress):
        # The mode is set once the socket is there: until then, as umask has it, nobody but its
        # owner may write, which connecting takes.
        return UNIXServerEndpoint(reactor, address.path, mode=0o600, backlog=BACKLOG)
    if isinstance(address, TcpAddress):
        kind = TCP6ServerEndpoint if ":" in address.host else TCP4ServerEndpoint
        return kind(reactor, address.port, interface=address.host, backlog=BACKLOG)
    try:
        made: IStreamServerEndpoint = serverFromString(reactor, address.text)
    except Exception as error:  # plugins of any kind parse these, and fail as they like
        raise ConfigError([f"--listen {address}: not a server endpoint: {error!r}"]) from error
    if isinstance(made, AdoptedStreamServerEndpoint):  # systemd:
        return SharedEndpoint(reactor, made.fileno)
    return made


def remove_stale_socket(path: str) -> None:
    """
    Make room for a socket: one that a dead process has left goes, a live one stays.

    Raises:
        ConfigError: when somebody listens there, or when it is another kind of file.
    """
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ConfigError([f"--listen unix://{path}: there is a file that is not a socket"])
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except BlockingIOError:
            pass  # its backlog is full, where a blocking call would wait: unix(7), EAGAIN
        except OSError as error:
            raise ConfigError([f"--listen unix://{path}: {error.strerror}"]) from error
    raise ConfigError([f"--listen unix://{path}: another process listens there"])


def _tls(host: str, certificates: Path) -> IOpenSSLClientConnectionCreator:
    authority = _read_pem(certificates / "ca.pem", Certificate.loadPEM)
    own = _read_pem(certificates / "cert.pem", Certificate.loadPEM)
    key = _read_pem(certificates / "key.pem", lambda pem: KeyPair.load(pem, FILETYPE_PEM))
    try:
        own_with_key = PrivateCertificate.fromCertificateAndKeyPair(own, key)
    except VerifyError as error:
        sentence = f"DOCKER_CERT_PATH: {certificates}/key.pem is not the key of cert.pem"
        raise ConfigError([sentence]) from error
    try:
        return host_tls(host, [authority], own_with_key)
    except UnicodeError as error:  # as of IDNA, which knows no ``_``
        sentence = f"DOCKER_TLS_VERIFY: {host} is not a host name that a certificate can hold"
        raise ConfigError([sentence]) from error


def _read_pem(path: Path, load: Callable[[bytes], _Part]) -> _Part:
    try:
        return load(path.read_bytes())
    except OSError as error:
        sentence = f"DOCKER_CERT_PATH: {path} can't be read: {error.strerror}"
        raise ConfigError([sentence]) from error
    except OpenSslError as error:
        sentence = f"DOCKER_CERT_PATH: {path} does not hold what it should, in PEM"
        raise ConfigError([sentence]) from error
