"""
Clients' connections: what is not one clear request, how many may be open, and how they end.
"""

from __future__ import annotations

import json

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from powerstrip.core.http1 import MAX_HEAD_BYTES
from powerstrip.net.downstream import LINGER_SECONDS
from tests.net.adapters import KleinAdapter, refusing
from tests.net.harness import OK, PING, Rig, until
from tests.net.peers import Peer, bulk, settle


@pytest.fixture(params=["unix", "tcp"])
def kind(request: pytest.FixtureRequest) -> str:
    """
    How clients come in.
    """
    return str(request.param)


async def refusal(client: Peer) -> tuple[int, str]:
    """
    Status and message of an answer that ends the connection.
    """
    head, _, body = (await client.read_to_end()).partition(b"\r\n\r\n")
    assert b"\r\nConnection: close" in head
    return int(head.split(b" ")[1]), json.loads(body)["message"]


MALFORMED = {
    "both framings": (
        b"POST /a HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "the head has both Content-Length and Transfer-Encoding",
    ),
    "two lengths": (
        b"POST /a HTTP/1.1\r\nContent-Length: 0\r\nContent-Length: 30\r\n\r\n",
        "the head has more than one Content-Length",
    ),
    "two lengths in one": (
        b"POST /a HTTP/1.1\r\nContent-Length: 5, 5\r\n\r\nhello",
        "Content-Length is not a number of bytes",
    ),
    "a length with a sign": (
        b"POST /a HTTP/1.1\r\nContent-Length: +5\r\n\r\nhello",
        "Content-Length is not a number of bytes",
    ),
    "another coding": (
        b"POST /a HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        "the only Transfer-Encoding is chunked",
    ),
    "chunks in HTTP/1.0": (
        b"POST /a HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.0 has no Transfer-Encoding",
    ),
    "a bare LF": (
        b"GET /a HTTP/1.1\r\nHost: d\nX: y\r\n\r\n",
        "a line of the request's head does not end with CR LF",
    ),
    "a bare CR": (b"GET /a HTTP/1.1\r\nX: y\rZ: z\r\n\r\n", "malformed header field"),
    "a folded line": (
        b"GET /a HTTP/1.1\r\nX: y\r\n z\r\n\r\n",
        "a header field is folded over two lines",
    ),
    "a space before the colon": (
        b"POST /a HTTP/1.1\r\nContent-Length : 5\r\n\r\nhello",
        "malformed header field",
    ),
    "no version": (b"GET /a\r\n\r\n", "malformed HTTP request line"),
    "HTTP/2": (
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "HTTP/2 is not spoken here: hooks read HTTP/1.1",
    ),
    "TLS": (
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        "this is a TLS handshake, and TLS is not spoken here",
    ),
    "OPTIONS *": (
        b"OPTIONS * HTTP/1.1\r\nHost: d\r\n\r\n",
        "the request target must begin with a slash or with http://host/",
    ),
    "a fragment": (
        b"GET /a#b HTTP/1.1\r\nHost: d\r\n\r\n",
        "the request target has a '#' in it, which must be escaped",
    ),
}


@pytest.mark.parametrize("in_pieces", [False, True], ids=["whole", "byte by byte"])
@pytest.mark.parametrize(("request_bytes", "message"), MALFORMED.values(), ids=MALFORMED)
@pytest_twisted.ensureDeferred
async def test_what_is_not_one_clear_request_is_refused(
    rig: Rig, kind: str, request_bytes: bytes, message: str, in_pieces: bool
) -> None:
    """
    400, the connection is closed, and no byte of it reaches the engine.

    Traps: both Content-Length and Transfer-Encoding, bare CR or LF, folded lines, two lengths;
    HTTP/2 with prior knowledge; OPTIONS *.
    """
    client = rig.connect(kind)
    if in_pieces:
        for byte in request_bytes:
            client.send_now(bytes([byte]))
            await settle(2)
    else:
        await client.send(request_bytes)
    await client.send(PING)
    status, told = await refusal(client)
    assert status == 400
    assert in_pieces or told == f"powerstrip: {message}"
    assert not rig.engine.is_waited_for


@pytest_twisted.ensureDeferred
async def test_a_malformed_request_behind_a_good_one_is_refused_in_its_turn(rig: Rig) -> None:
    """
    The good one is answered first.
    """
    client, engine = await rig.exchange(PING)
    await client.send(b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n")
    await engine.send(OK)
    assert await client.read_exactly(len(OK)) == OK
    assert (await refusal(client))[0] == 400
    assert await engine.sees_the_end()


@pytest.mark.parametrize(
    "chunk", [b"xyz\r\n", b"5\nhello\r\n", b"5\r\nhello!\r\n", b"-1\r\n", b"1" * 5000]
)
@pytest.mark.parametrize("lane", ["pass", "hook"])
@pytest_twisted.ensureDeferred
async def test_a_malformed_chunk_of_a_request_is_refused(
    rig: Rig, kind: str, lane: str, chunk: bytes
) -> None:
    """
    400, and the engine is left with half a request, on which it gives up.
    """
    if lane == "hook":
        rig.hook("* /*", pre=[rig.serve(KleinAdapter())])
    head = b"POST /build HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
    client, engine = await rig.exchange(head, kind)
    await client.send(chunk + PING)
    status, _ = await refusal(client)
    assert status == 400
    await engine.sees_the_end()
    assert not rig.engine.is_waited_for


@pytest.mark.parametrize("over", [0, 1])
@pytest_twisted.ensureDeferred
async def test_a_head_may_have_a_mebibyte(rig: Rig, kind: str, over: int) -> None:
    """
    As on the engine itself; with a byte more it is a 431.

    Traps: Twisted refuses a head over 16 KiB with no answer; the engine takes 1 MiB.
    """
    head = b"GET /info HTTP/1.1\r\nX-Big: %b\r\n\r\n"
    head %= b"x" * (MAX_HEAD_BYTES - len(head) + 2 + over)
    assert len(head) == MAX_HEAD_BYTES + over
    if not over:
        client, engine = await rig.exchange(head, kind)
        await engine.send(OK)
        assert await client.read_exactly(len(OK)) == OK
        return
    client = rig.connect(kind)
    await client.send(head)
    assert await refusal(client) == (
        431,
        f"powerstrip: the request's head is over {MAX_HEAD_BYTES} bytes",
    )


@pytest_twisted.ensureDeferred
async def test_a_head_without_end_is_refused_when_its_bound_is_met(rig: Rig) -> None:
    """
    No more of it is kept.
    """
    client = rig.connect()
    await client.send(b"GET /info HTTP/1.1\r\nX: ")
    await client.send(b"x" * (MAX_HEAD_BYTES + 100_000))
    assert (await refusal(client))[0] == 431


@pytest_twisted.ensureDeferred
async def test_each_client_has_an_engines_connection_of_its_own(rig: Rig) -> None:
    """
    Nobody gets another one's answer.
    """
    pairs = [await rig.exchange(PING) for _ in range(50)]
    for number, (_, engine) in reversed(list(enumerate(pairs))):
        await engine.send(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n%03d" % number)
    for number, (client, _) in enumerate(pairs):
        assert (await client.read_until(b"%03d" % number)).endswith(b"\r\n\r\n%03d" % number)


@pytest_twisted.ensureDeferred
async def test_a_client_that_only_connects_costs_the_engine_nothing(rig: Rig) -> None:
    """
    The engine is connected to with the first request.
    """
    client = rig.connect()
    await settle()
    assert not rig.engine.is_waited_for
    await client.send(PING)
    assert await (await rig.engine.accept()).read_head() == PING


# Time


@pytest_twisted.ensureDeferred
async def test_nothing_that_is_silent_is_cut_off(rig: Rig, kind: str) -> None:
    """
    After a day, an idle connection, a stream, an upload and a tunnel still work.

    Traps: events, logs -f, stats, pull, build are silent for hours: no idle time-out on them.
    """
    clocked = rig.use_clock()
    idle, idle_engine = await rig.exchange(PING, kind)
    await idle_engine.send(OK)
    await idle.read_exactly(len(OK))
    waiting, waiting_engine = await rig.exchange(PING, kind)
    stream, stream_engine = await rig.exchange(PING, kind)
    await stream_engine.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    await stream.read_head()
    upload, upload_engine = await rig.exchange(
        b"POST /build HTTP/1.1\r\nContent-Length: 9\r\n\r\n", kind
    )
    await settle()
    assert clocked.getDelayedCalls() == []
    clocked.advance(24 * 3600)
    for source, sink in [
        (idle, idle_engine),
        (waiting_engine, waiting),
        (stream_engine, stream),
        (upload, upload_engine),
    ]:
        message = OK if source is waiting_engine else PING if source is idle else b"1\r\nx\r\n"
        await source.send(message)
        assert await sink.read_exactly(len(message)) == message


@pytest_twisted.ensureDeferred
async def test_a_client_has_its_time_to_read_the_last_answer(rig: Rig, kind: str) -> None:
    """
    One that neither reads nor leaves is left when that time is over.
    """
    clocked = rig.use_clock()
    client, engine = await rig.exchange(b"POST /x HTTP/1.1\r\nContent-Length: 9\r\n\r\n", kind)
    answer = b"HTTP/1.1 400 No\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno"
    await engine.send(answer)
    await settle()
    clocked.advance(LINGER_SECONDS - 0.1)
    await client.send(b"123456789" * 1000)
    assert len(rig.proxy.connections._open) == 1
    assert await client.read_to_end() == answer
    clocked.advance(0.1)
    await until(lambda: not rig.proxy.connections._open, "the connection is let go")


@pytest_twisted.ensureDeferred
async def test_that_time_begins_when_the_answer_has_gone_out(rig: Rig) -> None:
    """
    A slow reader of a long last answer is not cut off.
    """
    clocked = rig.use_clock()
    client, engine = await rig.exchange(PING)
    body = bulk(5_000_000)
    await engine.send(b"HTTP/1.1 200 OK\r\n\r\n")
    sending = Deferred.fromCoroutine(engine.send(body))
    sending.addCallback(lambda _: engine.close())
    await settle()
    clocked.advance(LINGER_SECONDS * 10)
    assert (await client.read_to_end()).partition(b"\r\n\r\n")[2] == body
    await sending


# Stopping


@pytest_twisted.ensureDeferred
async def test_draining_closes_what_is_idle_and_lets_run_what_runs(rig: Rig, kind: str) -> None:
    """
    An exchange ends with its whole answer, and its connection after it.
    """
    clocked = rig.use_clock()
    fresh = rig.connect(kind)
    idle, idle_engine = await rig.exchange(PING, kind)
    await idle_engine.send(OK)
    await idle.read_exactly(len(OK))
    running, engine = await rig.exchange(PING, kind)
    await until(lambda: len(rig.proxy.connections._open) == 3, "all have been accepted")
    drained = Deferred.fromCoroutine(rig.proxy.connections.drain(clocked, 10))
    for peer in (fresh, idle, idle_engine):
        assert await peer.sees_the_end()
    assert not drained.called
    await engine.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nha")
    await running.read_until(b"ha")
    clocked.advance(9.9)
    await engine.send(b"lf")
    assert await running.read_to_end() == b"lf"
    running.close()
    await drained
    await settle()
    assert clocked.getDelayedCalls() == []


@pytest_twisted.ensureDeferred
async def test_draining_cuts_what_takes_too_long(rig: Rig, kind: str) -> None:
    """
    When its time is over, an exchange in either lane is broken off.
    """
    clocked = rig.use_clock()
    client, engine = await rig.exchange(PING, kind)
    adapter, url = rig.scripted_adapter()
    rig.hook("* /*", pre=[url])
    hooked = rig.connect(kind)
    await hooked.send(PING)
    hook = await adapter.accept()
    await hook.read_until(b"}}")
    drained = Deferred.fromCoroutine(rig.proxy.connections.drain(clocked, 10))
    clocked.advance(9.9)
    await settle()
    assert not drained.called
    clocked.advance(0.2)
    for peer in (client, engine, hooked, hook):
        assert await peer.sees_the_end()
    await drained


@pytest_twisted.ensureDeferred
async def test_requests_sent_ahead_are_not_begun_while_draining(rig: Rig) -> None:
    """
    The exchange that runs is a connection's last.
    """
    client, engine = await rig.exchange(PING)
    await client.send(PING)
    drained = Deferred.fromCoroutine(rig.proxy.connections.drain(rig.proxy.reactor, 10))
    await engine.send(OK)
    assert await client.read_to_end() == OK
    assert await engine.sees_the_end()
    client.close()
    await drained


@pytest_twisted.ensureDeferred
async def test_a_last_answer_is_read_while_draining(rig: Rig, kind: str) -> None:
    """
    A client that was just refused has its time to read that, and the connection is waited for.
    """
    rig.hook("* /*", pre=[rig.serve(KleinAdapter(refusing(403, b"no", "text/plain")))])
    client = rig.connect(kind)
    await client.send(b"POST /build HTTP/1.1\r\nContent-Length: 99\r\n\r\n")
    await until(lambda: bool(rig.exchange_lines()), "the request is refused")
    drained = Deferred.fromCoroutine(rig.proxy.connections.drain(rig.proxy.reactor, 10))
    await client.send(b"x" * 50)
    assert (await client.read_to_end()).startswith(b"HTTP/1.1 403 ")
    client.close()
    await drained
