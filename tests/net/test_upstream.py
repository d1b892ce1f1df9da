"""
The engine's side: where it may be, and what is told when it is not there.
"""

from __future__ import annotations

import json
import socket

import pytest
import pytest_twisted

from powerstrip.core.addresses import EndpointDescription, TcpAddress
from tests.net.harness import OK, PING, Rig
from tests.net.peers import Listener, Peer, bulk, carried

ATTACH = (
    b"POST /containers/x/attach HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
)
UPGRADED = b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"


@pytest.fixture
def engine(rig: Rig) -> Listener:
    """
    An engine on TCP.
    """
    rig.engine.close()
    rig.engine = Listener(("127.0.0.1", 0))
    return rig.engine


def engines_of(rig: Rig, port: int) -> list[TcpAddress | EndpointDescription]:
    """
    The ways to name an engine on TCP.
    """
    return [
        TcpAddress("127.0.0.1", port),
        TcpAddress("localhost", port),
        TcpAddress("", port),
        EndpointDescription(f"tcp:127.0.0.1:{port}"),
    ]


async def message_of(client: Peer) -> str:
    """
    What a 502 says.
    """
    head, _, body = (await client.read_to_end()).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 502 ")
    return str(json.loads(body)["message"])


@pytest_twisted.ensureDeferred
async def test_an_engine_may_be_on_tcp(rig: Rig, engine: Listener) -> None:
    """
    By address, by name, with no host at all, or as a Twisted endpoint.
    """
    for address in engines_of(rig, engine.port):
        rig.proxy = rig.make_proxy(address)
        client, peer = await rig.exchange(PING)
        await peer.send(OK)
        assert await client.read_exactly(len(OK)) == OK
        client.close()
        assert await peer.sees_the_end()


@pytest.mark.parametrize("kind", ["unix", "tcp"])
@pytest_twisted.ensureDeferred
async def test_a_tunnel_over_tcp_half_closes_each_way(
    rig: Rig, engine: Listener, kind: str
) -> None:
    """
    With bulk in front of each end.

    Traps: stdin half-close: pass SHUT_WR on, each way.
    """
    rig.proxy = rig.make_proxy(TcpAddress("127.0.0.1", engine.port))
    client, peer = await rig.exchange(ATTACH, kind)
    await peer.send(UPGRADED)
    await client.read_head()
    data = bulk(3_000_000)
    for source, sink in [(client, peer), (peer, client)]:
        assert await carried(data, source, sink) == data
        source.half_close()
        assert await sink.read() == b""


@pytest_twisted.ensureDeferred
async def test_an_engine_that_refuses_connections_is_told(rig: Rig) -> None:
    """
    By its address as the operator named it.
    """
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        rig.proxy = rig.make_proxy(TcpAddress("127.0.0.1", port))
        client = rig.connect()
        await client.send(PING)
        assert (await message_of(client)).startswith(
            f"powerstrip: the Docker Engine at tcp://127.0.0.1:{port} can't be reached: "
        )


@pytest_twisted.ensureDeferred
async def test_an_engines_socket_that_may_not_be_used_is_told(rig: Rig) -> None:
    """
    A file that is no socket, as a directory that Docker makes for a mount of nothing.
    """
    rig.engine.close()
    (rig.directory / "engine.sock").mkdir()
    client = rig.connect()
    await client.send(PING)
    assert (await message_of(client)).startswith(
        f"powerstrip: the Docker Engine at unix://{rig.engine_path} can't be reached: "
    )
