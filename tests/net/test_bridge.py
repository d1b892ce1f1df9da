"""
TLS on either side: the same two lanes, through a pair of plain sockets.
"""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.protocol import ServerFactory
from twisted.internet.tcp import Connection
from twisted.protocols.wire import Echo

from powerstrip.core.addresses import EndpointDescription, TcpAddress
from powerstrip.listening import Listening
from powerstrip.net.reactor import Reactor
from tests.net.adapters import KleinAdapter
from tests.net.certificates import Authority, client_context, server_context
from tests.net.harness import OK, PING, Rig, until
from tests.net.peers import (
    READ_BYTES,
    WOULD_BLOCK,
    Listener,
    Peer,
    TlsPeer,
    bulk,
    carried,
    connect,
    reactor,
    settle,
)

# Twisted's own ways with pyOpenSSL.
pytestmark = pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")

UPGRADE = (
    b"POST /containers/x/attach HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
)
UPGRADED = b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"

BULK_BYTES = 24 * 1024 * 1024
BOUND_BYTES = 18 * 1024 * 1024
"""TCP's windows, and what TLS has in its hands."""


SIZES = range(200_000, 1_100_000, 30_011)
"""
Between two of them is less than one read of Twisted's: with some of them, whatever the kernel's
buffers hold, the last bytes and the end come in one read that is more than the bridge can write.
"""


class TlsRig:
    """
    A rig one of whose sides speaks TLS.
    """

    def __init__(self, rig: Rig, side: str, certificates: Path) -> None:
        self.rig = rig
        self.side = side
        self.certificates = certificates
        self.listener = Listener(("127.0.0.1", 0))
        self.port = 0
        self.peers: list[Peer] = []

    async def start(self) -> None:
        """
        Listen with TLS, or have the engine do so.
        """
        if self.side == "client":
            description = (
                f"ssl:0:interface=127.0.0.1:privateKey={self.certificates}/key.pem"
                f":certKey={self.certificates}/cert.pem"
            )
            port = await self.rig.listen(EndpointDescription(description))
            self.port = port.getHost().port
        else:
            self.rig.proxy = self.rig.make_proxy(
                TcpAddress("localhost", self.listener.port), certificates=self.certificates
            )

    async def connect(self) -> Peer:
        """
        A client.
        """
        if self.side == "engine":
            return self.rig.connect()
        client = TlsPeer(
            connect(("127.0.0.1", self.port)), client_context(self.certificates), "localhost"
        )
        self.peers.append(client)
        await client.shake_hands()
        return client

    async def accept(self) -> Peer:
        """
        The engine's end.
        """
        if self.side == "client":
            return await self.rig.engine.accept()
        engine = TlsPeer(await self.listener.accept(), server_context(self.certificates))
        self.peers.append(engine)
        await engine.shake_hands()
        return engine

    async def exchange(self, request: bytes) -> tuple[Peer, Peer]:
        """
        A client that has sent a request, and the engine's end, on which it has all arrived.
        """
        client = await self.connect()
        await client.send(request)
        engine = await self.accept()
        assert await engine.read_exactly(len(request)) == request
        return client, engine

    def close(self) -> None:
        """
        Close what the rig does not.
        """
        self.listener.close()
        for peer in self.peers:
            peer.close()


def take_leave(peer: Peer) -> None:
    """
    Say that nothing more comes: with a close_notify, where the connection is over TLS.
    """
    if isinstance(peer, TlsPeer):
        with contextlib.suppress(ssl.SSLError):  # the other end has not said so yet
            peer._tls.unwrap()
    else:
        peer.half_close()


async def read_away(peer: Peer) -> None:
    """
    Read all that comes, under TLS, until the connection ends.
    """
    while True:
        try:
            if not socket.socket.recv(peer._socket, READ_BYTES):
                return
        except WOULD_BLOCK:
            await peer._until_readable()


@pytest.fixture(scope="module")
def authority() -> Authority:
    """
    Whom both sides trust.
    """
    return Authority()


@pytest.fixture(scope="module")
def certificates(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """
    The files of a server, which may be a client's as well.
    """
    return authority.write_to(tmp_path_factory.mktemp("certificates"))


@pytest_twisted.async_yield_fixture(params=["client", "engine"])
async def tls(
    rig: Rig, request: pytest.FixtureRequest, certificates: Path
) -> AsyncIterator[TlsRig]:
    """
    A rig whose clients, or whose engine, speak TLS.
    """
    tls = TlsRig(rig, request.param, certificates)
    await tls.start()
    yield tls
    tls.close()


@pytest.mark.parametrize("lane", ["pass", "hook"])
@pytest_twisted.ensureDeferred
async def test_exchanges_go_through_tls(tls: TlsRig, lane: str) -> None:
    """
    One after the other on a connection, each byte as it came.
    """
    if lane == "hook":
        url = tls.rig.serve(KleinAdapter())
        tls.rig.hook("* /*", pre=[url], post=[url])
    client, engine = await tls.exchange(PING)
    for size in [0, 1, 100_000]:
        body = b"x" * size
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + body
        assert await carried(answer, engine, client) == answer
        request = b"POST /build HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % size + body
        assert await carried(request, client, engine) == request
    await engine.send(OK)
    assert await client.read_exactly(len(OK)) == OK


@pytest_twisted.ensureDeferred
async def test_bulk_goes_through_tls_both_ways_at_once(tls: TlsRig) -> None:
    """
    Not a byte is lost.
    """
    client, engine = await tls.exchange(UPGRADE)
    await engine.send(UPGRADED)
    await client.read_head()
    sent_up, sent_down, received_up, received_down = await gatherResults(
        [
            Deferred.fromCoroutine(client.send_bulk(BULK_BYTES)),
            Deferred.fromCoroutine(engine.send_bulk(BULK_BYTES)),
            Deferred.fromCoroutine(engine.read_bulk(BULK_BYTES)),
            Deferred.fromCoroutine(client.read_bulk(BULK_BYTES)),
        ]
    )
    assert sent_up == received_up
    assert sent_down == received_down


@pytest.mark.parametrize("direction", ["up", "down"])
@pytest_twisted.ensureDeferred
async def test_a_reader_that_stops_stops_the_sender_through_tls(
    tls: TlsRig, direction: str
) -> None:
    """
    Nothing is piled up on the bridge.
    """
    body = bulk(BULK_BYTES)
    if direction == "up":
        head = b"POST /build HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % BULK_BYTES
        source, sink = await tls.exchange(head)
    else:
        sink, source = await tls.exchange(PING)
        await source.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % BULK_BYTES)
        await sink.read_head()
    sent = await source.send_while_taken(body)
    assert 0 < sent < BOUND_BYTES
    sending = Deferred.fromCoroutine(source.send(body[sent:]))
    assert await sink.read_bulk(BULK_BYTES) == zlib.crc32(body)
    await sending


@pytest_twisted.ensureDeferred
async def test_an_answer_that_ends_with_the_connection_ends(tls: TlsRig) -> None:
    """
    All of it arrives, and then the end, even where the end is no half-close.
    """
    client, engine = await tls.exchange(PING)
    answer = b"HTTP/1.1 200 OK\r\n\r\n" + bulk(3_000_000)
    assert await carried(answer, engine, client) == answer
    engine.close()
    assert await client.read() == b""


@pytest.mark.parametrize("end", ["client", "engine"])
@pytest_twisted.ensureDeferred
async def test_a_tunnels_end_closes_where_it_can_not_half_close(tls: TlsRig, end: str) -> None:
    """
    Nobody waits for an end that can't be told.

    Traps: a half-closed TLS connection does not exist in Twisted: close, so that no client hangs.
    """
    client, engine = await tls.exchange(UPGRADE)
    await engine.send(UPGRADED)
    await client.read_head()
    leaver, other = (client, engine) if end == "client" else (engine, client)
    await leaver.send(b"last words")
    leaver.close()
    assert await other.read_to_end() == b"last words"
    other.close()
    await until(lambda: not tls.rig.proxy.connections._open, "the connection is let go")


@pytest_twisted.ensureDeferred
async def test_a_plain_half_close_ends_a_tls_connection(tls: TlsRig) -> None:
    """
    What was sent in front of it arrives.
    """
    client, engine = await tls.exchange(UPGRADE)
    await engine.send(UPGRADED)
    await client.read_head()
    plain, other = (engine, client) if tls.side == "client" else (client, engine)
    body = bulk(3_000_000)
    sending = Deferred.fromCoroutine(plain.send(body))
    sending.addCallback(lambda _: plain.half_close())
    assert await other.read_to_end() == body
    await sending
    other.close()
    assert await plain.sees_the_end()


@pytest_twisted.ensureDeferred
async def test_who_leaves_in_bulk_is_gone(tls: TlsRig) -> None:
    """
    A TLS client that resets in a download takes the engine's connection with it, and the reverse.
    """
    client, engine = await tls.exchange(UPGRADE)
    await engine.send(UPGRADED)
    await client.read_head()
    await engine.send_while_taken(bulk(BULK_BYTES))
    client.reset()
    with pytest.raises((ConnectionError, ssl.SSLError)):
        await engine.send(bulk(BULK_BYTES))
    engine.close()
    await until(lambda: not tls.rig.proxy.connections._open, "the connection is let go")
    assert tls.rig.failures == []


@pytest_twisted.ensureDeferred
async def test_an_answer_to_a_tls_client_is_read_before_the_close(tls: TlsRig) -> None:
    """
    A refusal reaches a client that still uploads.
    """
    client = await tls.connect()
    head = b"POST /build HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"
    await client.send(head + b"x" * 200_000)
    assert (await client.read_to_end()).startswith(b"HTTP/1.1 400 ")


@pytest_twisted.ensureDeferred
async def test_what_a_slow_reader_has_not_read_yet_is_not_lost(tls: TlsRig) -> None:
    """
    An answer that ends while most of it waits on the bridge arrives all the same.
    """
    client, engine = await tls.exchange(PING)
    await engine.send(b"HTTP/1.1 200 OK\r\n\r\n")
    await client.read_head()
    body = bulk(400_000)
    await engine.send(body)
    engine.close()
    await settle()
    assert await client.read_to_end() == body


@pytest_twisted.ensureDeferred
async def test_a_slow_client_sees_the_end_behind_the_last_bytes(tls: TlsRig) -> None:
    """
    The engine's end is told on, where it comes with bytes that make the bridge wait as well.
    """
    for size in SIZES:
        client, engine = await tls.exchange(PING)
        answer = b"HTTP/1.1 200 OK\r\n\r\n" + bulk(size)
        assert len(answer) == await engine.send_while_taken(answer)
        take_leave(engine)
        await settle()
        assert await client.read_to_end() == answer
        engine.close()
        client.close()


@pytest_twisted.ensureDeferred
async def test_a_slow_engine_sees_the_end_behind_the_last_bytes(tls: TlsRig) -> None:
    """
    The client's end is told on, where it comes with bytes that make the bridge wait as well.
    """
    for size in SIZES:
        client, engine = await tls.exchange(UPGRADE)
        await engine.send(UPGRADED)
        await client.read_head()
        body = bulk(size)
        assert size == await client.send_while_taken(body)
        take_leave(client)
        await settle()
        assert await engine.read_to_end() == body
        engine.close()
        client.close()


@pytest_twisted.ensureDeferred
async def test_who_takes_leave_and_reads_on_has_left(tls: TlsRig) -> None:
    """
    The other end is told, though more was on its way than the bridge could write.
    """
    client, engine = await tls.exchange(UPGRADE)
    await engine.send(UPGRADED)
    await client.read_head()
    leaver, other = (client, engine) if tls.side == "client" else (engine, client)
    await other.send_while_taken(bulk(BULK_BYTES))
    take_leave(leaver)
    await settle()
    leaving = Deferred.fromCoroutine(read_away(leaver))
    assert await other.sees_the_end()
    other.close()
    await leaving


@pytest.mark.parametrize("read_late", [False, True])
@pytest_twisted.ensureDeferred
async def test_a_connection_that_powerstrip_closes_ends_cleanly(
    tls: TlsRig, read_late: bool
) -> None:
    """
    There is a close_notify, without which a client can't tell an end from an attack.
    """
    client, engine = await tls.exchange(UPGRADE)
    await engine.send(UPGRADED)
    await client.read_head()
    plain, other = (engine, client) if tls.side == "client" else (client, engine)
    other._socket.suppress_ragged_eofs = False  # type: ignore[attr-defined]
    body = bulk(600_000 if read_late else 1000)
    sending = Deferred.fromCoroutine(plain.send(body))
    await settle()
    received = await other.read_exactly(len(body) // 2)
    await sending
    plain.close()
    await settle()
    assert received + await other.read_to_end() == body


@pytest_twisted.ensureDeferred
async def test_tls_sends_at_once_and_notices_who_is_gone(tls: TlsRig) -> None:
    """
    Its TCP connection has Nagle's algorithm off, and keepalive on.
    """
    await tls.exchange(PING)
    (transport,) = [
        reader
        for reader in reactor.getReaders()
        if isinstance(reader, Connection) and reader.socket.family == socket.AF_INET
    ]
    assert transport.getTcpNoDelay()
    assert transport.getTcpKeepAlive()


@pytest_twisted.ensureDeferred
async def test_plain_http_on_a_tls_port_is_hung_up_on(rig: Rig, certificates: Path) -> None:
    """
    Nothing is logged as a failure, and the next client is served.
    """
    tls = TlsRig(rig, "client", certificates)
    await tls.start()
    plain = connect(("127.0.0.1", tls.port))
    await plain.send(PING)
    with contextlib.suppress(ConnectionError):
        assert not (await plain.read_to_end()).startswith(b"HTTP")  # it is a TLS alert
    plain.close()
    client, engine = await tls.exchange(PING)
    await engine.send(OK)
    assert await client.read_exactly(len(OK)) == OK
    assert rig.failures == []
    tls.close()


@pytest.mark.parametrize("wrong", ["authority", "host"])
@pytest_twisted.ensureDeferred
async def test_an_engine_that_is_not_the_right_one_is_not_spoken_to(
    rig: Rig, tmp_path: Path, authority: Authority, certificates: Path, wrong: str
) -> None:
    """
    502: neither one of another authority nor of another name gets a byte of a request.
    """
    if wrong == "authority":
        others = Authority("another").write_to(tmp_path)
    else:
        others = authority.write_to(tmp_path, host="another.example")
    context = server_context(others)
    context.verify_mode = ssl.CERT_NONE
    tls = TlsRig(rig, "engine", certificates)
    await tls.start()
    client = rig.connect()
    await client.send(PING)
    engine = TlsPeer(await tls.listener.accept(), context)
    tls.peers.append(engine)
    try:
        await engine.shake_hands()
        received = await engine.read_to_end()
    except (ConnectionError, ssl.SSLError):
        received = b""
    assert received == b""
    head, _, body = (await client.read_to_end()).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 502 ")
    assert json.loads(body)["message"].startswith("powerstrip: the Docker Engine")
    await settle()
    assert rig.failures == []
    tls.close()


@pytest_twisted.ensureDeferred
async def test_a_plain_connection_is_the_wrapped_protocols_own() -> None:
    """
    A protocol that leaves its connection to Twisted, as an adapter's does, is told what comes.
    """
    listening = Listening(
        cast(Reactor, reactor), [EndpointDescription("tcp:0:interface=127.0.0.1")]
    )
    listening.open(ServerFactory.forProtocol(Echo))
    client = connect(("127.0.0.1", listening.ports[0].getHost().port))

    await client.send(PING)

    assert await client.read_exactly(len(PING)) == PING
    client.close()
    await listening.close()
