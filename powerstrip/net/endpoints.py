"""
Twisted's endpoints for the addresses of ``--docker`` and ``--listen``.

I/O: looks at the file system for UNIX sockets and certificates. Errors are for the operator.
"""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

from twisted.internet.endpoints import (
    HostnameEndpoint,
    TCP4ServerEndpoint,
    TCP6ServerEndpoint,
    UNIXClientEndpoint,
    UNIXServerEndpoint,
    clientFromString,
    serverFromString,
    wrapClientTLS,
)
from twisted.internet.interfaces import IStreamClientEndpoint, IStreamServerEndpoint
from twisted.internet.ssl import (
    Certificate,
    PrivateCertificate,
    optionsForClientTLS,
    trustRootFromCertificates,
)

from powerstrip.core.addresses import Address, TcpAddress, UnixAddress
from powerstrip.errors import ConfigError
from powerstrip.net.reactor import Reactor

CONNECT_SECONDS = 10.0
"""How long a connection to the engine may take."""

BACKLOG = 4096
"""
How many clients may wait to be let in: Linux's own bound (``net.core.somaxconn``), as with Go.
With Twisted's 50, some of a burst of clients would come in a second late, when TCP tries again.
"""


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
        endpoint = HostnameEndpoint(reactor, host, address.port, timeout=CONNECT_SECONDS)
        return endpoint if certificates is None else _over_tls(endpoint, host, certificates)
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
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
        except OSError as error:
            raise ConfigError([f"--listen unix://{path}: {error.strerror}"]) from error
        else:
            raise ConfigError([f"--listen unix://{path}: another process listens there"])


def _over_tls(endpoint: HostnameEndpoint, host: str, certificates: Path) -> IStreamClientEndpoint:
    try:
        authority = Certificate.loadPEM((certificates / "ca.pem").read_bytes())
        own = PrivateCertificate.loadPEM(
            (certificates / "cert.pem").read_bytes() + (certificates / "key.pem").read_bytes()
        )
    except OSError as error:
        sentence = f"DOCKER_CERT_PATH: {error.filename} can't be read: {error.strerror}"
        raise ConfigError([sentence]) from error
    trust = trustRootFromCertificates([authority])
    options = optionsForClientTLS(host, trustRoot=trust, clientCertificate=own)
    return wrapClientTLS(options, endpoint)
