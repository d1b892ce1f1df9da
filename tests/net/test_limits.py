"""
Clients and engines that would make powerstrip keep more, wait longer or say less than it should.
"""

from __future__ import annotations

import socket

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred, fail
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import StringTransport

from powerstrip.net import splice
from powerstrip.net.bridge import BridgeFactory
from powerstrip.net.downstream import STUCK_LOOKS, WATCH_SECONDS
from powerstrip.net.upstream import Engine
from tests.net.harness import OK, PING, Rig, until
from tests.net.peers import bulk, settle

ATTACH = (
    b"POST /containers/x/attach HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
)
UPGRADED = b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
BUILD = b"POST /v1.41/build HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest_twisted.ensureDeferred
async def test_a_client_that_reads_no_answers_is_asked_for_no_requests(rig: Rig) -> None:
    """
    Else each answer to a request sent ahead would be kept, without a bound.
    """
    client = rig.connect()
    client.send_now(PING * 200)
    engine = await rig.engine.accept()
    body = bulk(60_000)
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n" + body
    answered = 0
    while answered < 200 and not await engine.has_nothing_to_read():
        assert await engine.read_head() == PING
        await engine.send(answer)
        answered += 1
    assert answered < 20

    reading = Deferred.fromCoroutine(client.read_exactly(200 * len(answer)))
    for _ in range(200 - answered):
        assert await engine.read_head() == PING
        await engine.send(answer)
    assert await reading == answer * 200


@pytest_twisted.ensureDeferred
async def test_an_answer_that_still_goes_out_is_not_cut_at_the_end(rig: Rig) -> None:
    """
    The exchange has ended, but the client has not read all of it when powerstrip is told to stop.
    """
    client, engine = await rig.exchange(PING)
    (connection,) = rig.proxy.connections._open
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    await engine.send(head)
    sent = 0
    while not connection.stream.blocked:
        await engine.send(b"1000\r\n" + bulk(0x1000) + b"\r\n")
        await settle()
        sent += 1
    # The end of the answer is in the proxy's own hands, behind what the client has not read.
    connection.stream.feeder = None
    connection.upstream.stream.resume()
    await engine.send(b"0\r\n\r\n")
    await until(lambda: bool(rig.exchange_lines()), "the exchange ends")
    assert connection.stream.blocked

    draining = Deferred.fromCoroutine(rig.proxy.connections.drain(reactor, 10))
    answer = head + sent * (b"1000\r\n" + bulk(0x1000) + b"\r\n") + b"0\r\n\r\n"
    assert await client.read_exactly(len(answer)) == answer
    client.close()
    await draining


@pytest.mark.parametrize("kind", ["unix", "tcp"])
@pytest_twisted.ensureDeferred
async def test_a_client_that_leaves_behind_an_upload_is_noticed_by_its_hooks(
    rig: Rig, kind: str
) -> None:
    """
    What it sent ahead waits unread, and the end behind that would be seen too late.
    """
    clock = rig.use_clock()
    adapter, url = rig.scripted_adapter()
    rig.hook("POST /*/build", pre=[url])
    client = rig.connect(kind)
    await client.send(BUILD)
    hook = await adapter.accept()
    await hook.read_until(b"null}}")
    await client.send_while_taken(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
    client.close()
    await settle()

    clock.advance(WATCH_SECONDS)

    assert await hook.sees_the_end()
    await until(lambda: rig.exchange_lines() != [], "the exchange ends")
    assert "error=the client left" in rig.exchange_lines()[0]


@pytest_twisted.ensureDeferred
async def test_an_engine_whose_endpoint_fails_in_its_own_way_is_a_502(rig: Rig) -> None:
    """
    Endpoints of any kind may raise anything.
    """

    class Odd:
        def connect(self, factory: object) -> Deferred[object]:
            return fail(ValueError("no such thing"))

    rig.proxy.engine = Engine(Odd(), "odd", reactor)  # type: ignore[arg-type]
    client = rig.connect()
    client.send_now(PING)
    answer = await client.read_to_end()
    assert answer.startswith(b"HTTP/1.1 502 ")
    assert b"the Docker Engine at odd can't be reached: no such thing" in answer


@pytest_twisted.ensureDeferred
async def test_a_body_goes_on_where_no_pipe_can_be_had(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    With no descriptors left, bodies are copied.
    """

    def no_pipe(flags: int) -> tuple[int, int]:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(splice.os, "pipe2", no_pipe)
    client, engine = await rig.exchange(PING)
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n" + bulk(3_000_000)
    sending = Deferred.fromCoroutine(engine.send(answer))
    assert await client.read_exactly(len(answer)) == answer
    await sending


@pytest_twisted.ensureDeferred
async def test_tcp_connections_wait_for_nothing_and_notice_dead_peers(rig: Rig) -> None:
    """
    As with Go: TCP_NODELAY, and keepalive, on every connection.
    """
    client, engine = await rig.exchange(PING, "tcp")
    (connection,) = rig.proxy.connections._open
    ours = connection.stream._socket
    assert ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    await engine.send(OK)
    assert await client.read_exactly(len(OK)) == OK


@pytest_twisted.ensureDeferred
async def test_a_client_that_leaves_while_the_engine_takes_no_more_is_given_up(rig: Rig) -> None:
    """
    ``yes | docker run -i busybox head -n 2``: nobody listens to the client, so nobody hears it go.
    """
    clock = rig.use_clock()
    client, engine = await rig.exchange(ATTACH)
    await engine.send(UPGRADED)
    await client.read_exactly(len(UPGRADED))
    await client.send_while_taken(b"y\n" * 4_000_000)
    client.close()
    await settle()
    for _ in range(STUCK_LOOKS):
        clock.advance(WATCH_SECONDS)
    assert rig.exchange_lines() == []
    for _ in range(2):
        clock.advance(WATCH_SECONDS)
    await until(lambda: rig.exchange_lines() != [], "the exchange ends")


def test_bytes_that_nobody_waits_for_are_dropped() -> None:
    """
    A transport that is given back to be closed may meet an older event of the same turn.
    """
    protocol = BridgeFactory(Factory.forProtocol(Protocol), reactor).buildProtocol(None)
    protocol.makeConnection(StringTransport())
    protocol.dataReceived(b"x")
