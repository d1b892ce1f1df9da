"""
One request and its answer, when either side does not behave as in a textbook.
"""

from __future__ import annotations

import contextlib
import json

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from tests.net.adapters import KleinAdapter
from tests.net.harness import OK, PING, Rig
from tests.net.peers import Listener, bulk, carried, settle


@pytest.fixture(params=["unix", "tcp"])
def kind(request: pytest.FixtureRequest) -> str:
    """
    How clients come in.
    """
    return str(request.param)


# A client that half-closes


@pytest_twisted.ensureDeferred
async def test_a_client_that_half_closes_behind_its_request_is_answered(
    rig: Rig, kind: str
) -> None:
    """
    ``printf 'GET …' | socat - UNIX:powerstrip.sock`` works, and the engine sees the half-close.
    """
    client = rig.connect(kind)
    client.send_now(PING)
    client.half_close()
    engine = await rig.engine.accept()
    assert await engine.read_to_end() == PING
    await engine.send(OK)
    assert await client.read_to_end() == OK


@pytest_twisted.ensureDeferred
async def test_requests_in_front_of_a_half_close_are_all_answered(rig: Rig, kind: str) -> None:
    """
    The half-close goes on behind the last of them.
    """
    client = rig.connect(kind)
    client.send_now(PING * 3)
    client.half_close()
    engine = await rig.engine.accept()
    for _ in range(2):
        assert await engine.read_head() == PING
        assert await engine.has_nothing_to_read()
        await engine.send(OK)
    assert await engine.read_to_end() == PING
    await engine.send(OK)
    assert await client.read_to_end() == OK * 3


@pytest_twisted.ensureDeferred
async def test_a_client_that_half_closes_while_hooks_are_at_work_is_answered(rig: Rig) -> None:
    """
    A half-close over a UNIX socket is no close.
    """
    adapter = KleinAdapter()
    url = rig.serve(adapter)
    rig.hook("* /*", pre=[url], post=[url])
    client = rig.connect()
    client.send_now(PING)
    client.half_close()
    engine = await rig.engine.accept()
    assert await engine.read_to_end() == PING
    await engine.send(OK)
    assert await client.read_to_end() == OK


@pytest_twisted.ensureDeferred
async def test_the_last_piece_goes_out_before_the_connection_closes(rig: Rig) -> None:
    """
    Also where the kernel does not take it at once, of a client that has half-closed.
    """
    for size in range(150_000, 400_000, 14_000):
        client = rig.connect()
        client.send_now(PING)
        client.half_close()
        engine = await rig.engine.accept()
        assert await engine.read_to_end() == PING
        answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        answer += b"%x\r\n%b\r\n0\r\n\r\n" % (size, bulk(size))
        sending = Deferred.fromCoroutine(engine.send(answer))
        await settle()
        assert await client.read_to_end() == answer
        await sending


# An engine that does not answer as it should


def message_of(answer: bytes) -> str:
    """
    What an answer of powerstrip's own tells the client, in Docker's own form.
    """
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"\r\nContent-Type: application/json\r\n" in head
    assert b"\r\nContent-Length: %d\r\n" % len(body) in head
    assert b"\r\nConnection: close" in head
    (message,) = json.loads(body).values()
    return str(message)


LANES = ["pass", "hook"]


def take_lane(rig: Rig, lane: str) -> None:
    """
    Put hooks on every request, or none.
    """
    if lane == "hook":
        url = rig.serve(KleinAdapter())
        rig.hook("* /*", pre=[url], post=[url])


@pytest.fixture(params=LANES)
def lane(request: pytest.FixtureRequest, rig: Rig) -> str:
    """
    The lane that requests take.
    """
    take_lane(rig, request.param)
    return str(request.param)


@pytest_twisted.ensureDeferred
async def test_an_engine_that_is_not_there_is_a_502(rig: Rig, lane: str, kind: str) -> None:
    """
    The client is told who can't be reached, and the engine is used again when it is back.
    """
    rig.engine.close()
    client = rig.connect(kind)
    await client.send(PING)
    answer = await client.read_to_end()
    assert answer.startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
    assert message_of(answer).startswith(
        f"powerstrip: the Docker Engine at unix://{rig.engine_path} can't be reached: "
    )
    rig.engine = Listener(rig.engine_path)
    client, engine = await rig.exchange(PING, kind)
    await engine.send(OK)
    assert await client.read_exactly(len(OK)) == OK


@pytest.mark.parametrize("part", [b"", b"HTTP/1.1 200 OK\r\nContent-Len"], ids=["nothing", "half"])
@pytest.mark.parametrize("how", ["close", "half_close", "reset"])
@pytest_twisted.ensureDeferred
async def test_an_engine_that_closes_without_an_answer_is_a_502(
    rig: Rig, lane: str, part: bytes, how: str
) -> None:
    """
    Every exchange ends in an answer, and the engine's connection is given up.
    """
    client, engine = await rig.exchange(PING)
    await engine.send(part)
    getattr(engine, how)()
    answer = await client.read_to_end()
    assert answer.startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
    assert message_of(answer) == (
        "powerstrip: the Docker Engine closed the connection without an answer"
    )
    if how == "half_close":
        assert await engine.sees_the_end()


@pytest.mark.parametrize(
    "garbage",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x15\x03\x01\x00\x02\x02\x16",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n folded\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 0\n\n\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1024 * 1024,
    ],
    ids=lambda garbage: repr(garbage[:20]),
)
@pytest_twisted.ensureDeferred
async def test_an_engine_that_speaks_nonsense_is_a_502(rig: Rig, lane: str, garbage: bytes) -> None:
    """
    What can be read in two ways does not reach the client either.
    """
    client, engine = await rig.exchange(PING)
    with contextlib.suppress(ConnectionError):
        await engine.send(garbage)
    answer = await client.read_to_end()
    assert answer.startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
    assert message_of(answer).startswith("powerstrip: ")
    assert await engine.sees_the_end()


BROKEN_BODIES = {
    "length": b"HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nContent-Length: 10\r\n\r\nhalf",
    "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf",
}


@pytest.mark.parametrize("part", BROKEN_BODIES.values(), ids=BROKEN_BODIES)
@pytest_twisted.ensureDeferred
async def test_an_engine_that_closes_in_its_answer_aborts_the_connection(
    rig: Rig, kind: str, part: bytes
) -> None:
    """
    Once a head is out, an error can only be told by a connection that ends early.
    """
    client, engine = await rig.exchange(PING, kind)
    await engine.send(part)
    assert await client.read_exactly(len(part)) == part
    engine.close()
    assert await client.sees_the_end()
    assert "error=the engine broke off its answer" in rig.exchange_lines()[0]


@pytest.mark.parametrize("part", BROKEN_BODIES.values(), ids=BROKEN_BODIES)
@pytest_twisted.ensureDeferred
async def test_an_engine_that_closes_in_an_answer_that_is_held_is_a_502(
    rig: Rig, part: bytes
) -> None:
    """
    Where post-hooks wait for the body, no head is out yet.
    """
    rig.hook("* /*", post=[rig.serve(KleinAdapter())])
    client, engine = await rig.exchange(PING)
    await engine.send(part)
    await settle()
    engine.close()
    answer = await client.read_to_end()
    assert answer.startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
    assert message_of(answer) == "powerstrip: the Docker Engine broke off its answer"


@pytest_twisted.ensureDeferred
async def test_a_malformed_chunk_in_an_answer_aborts_the_connection(rig: Rig, kind: str) -> None:
    """
    What was right of the answer is there; what was not is not.
    """
    client, engine = await rig.exchange(PING, kind)
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    await engine.send(head)
    assert await client.read_head() == head
    await engine.send(b"xyz\r\nGET / HTTP/1.1\r\n\r\n")
    assert await client.sees_the_end()
    assert await engine.sees_the_end()


@pytest_twisted.ensureDeferred
async def test_an_engine_that_restarts_between_two_exchanges_ends_the_connection(
    rig: Rig, lane: str, kind: str
) -> None:
    """
    A client sees what it would see on the engine's own socket, and the next connection works.
    """
    client, engine = await rig.exchange(PING, kind)
    await engine.send(OK)
    assert await client.read_exactly(len(OK)) == OK
    rig.engine.close()
    engine.close()
    assert await client.read() == b""
    rig.engine = Listener(rig.engine_path)
    client, engine = await rig.exchange(PING, kind)
    await engine.send(OK)
    assert await client.read_exactly(len(OK)) == OK


@pytest_twisted.ensureDeferred
async def test_what_an_engine_says_unasked_answers_no_request(rig: Rig, lane: str) -> None:
    """
    After an answer to no request, the connection is not trusted with the next one.
    """
    client, engine = await rig.exchange(PING)
    await engine.send(OK + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
    assert await client.read_exactly(len(OK)) == OK
    await client.send(PING)
    assert await engine.sees_the_end()
    second = await rig.engine.accept()
    assert await second.read_head() == PING
    await second.send(OK)
    assert await client.read_exactly(len(OK)) == OK


# An engine that answers an upload early

UPLOAD = b"POST /v1.41/build HTTP/1.1\r\nHost: d\r\nContent-Length: 50000000\r\n\r\n"
CHUNKED_UPLOAD = b"POST /v1.41/build HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: chunked\r\n\r\n"
NO = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 2\r\n\r\nno"
NO_AND_CLOSE = NO.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")


@pytest.mark.parametrize("answer", [NO, NO_AND_CLOSE], ids=["close", "Connection: close"])
@pytest.mark.parametrize("upload", [UPLOAD, CHUNKED_UPLOAD], ids=["length", "chunked"])
@pytest.mark.parametrize("how", ["close", "half_close"])
@pytest_twisted.ensureDeferred
async def test_an_early_answer_reaches_a_client_that_still_uploads(
    rig: Rig, lane: str, kind: str, upload: bytes, answer: bytes, how: str
) -> None:
    """
    An engine that refuses an upload answers and closes; the client may send on, and reads it.
    """
    client, engine = await rig.exchange(upload, kind)
    piece = b"10000\r\n" + bulk(0x10000) + b"\r\n" if upload is CHUNKED_UPLOAD else bulk(0x10000)
    await carried(piece, client, engine)
    await client.send(piece)
    await engine.send(answer)
    getattr(engine, how)()
    for _ in range(40):
        await client.send(piece)
    assert await client.read_to_end() == answer


@pytest_twisted.ensureDeferred
async def test_an_engine_that_closes_as_the_upload_ends_is_a_502(rig: Rig) -> None:
    """
    The last bytes of a request fail to be written, in the same turn in which the engine closes.
    """
    head = b"POST /build HTTP/1.1\r\nContent-Length: 8\r\n\r\n1234"
    client, engine = await rig.exchange(head)
    client.send_now(b"5678")
    engine.close()
    answer = await client.read_to_end()
    assert answer.startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
    assert message_of(answer) == (
        "powerstrip: the Docker Engine closed the connection without an answer"
    )


@pytest_twisted.ensureDeferred
async def test_an_upload_that_nobody_takes_any_more_goes_nowhere_else(rig: Rig) -> None:
    """
    The rest of an upload whose engine is gone must not land in a connection that came after it.
    """
    client, engine = await rig.exchange(UPLOAD)
    sent = Deferred.fromCoroutine(client.send_bulk(8_000_000))
    await engine.read_bulk(8_000_000)  # by now, the kernel moves it
    await sent
    await engine.send(NO_AND_CLOSE)
    assert await client.read_to_end() == NO_AND_CLOSE
    assert await engine.sees_the_end()
    others = [await rig.exchange(PING) for _ in range(5)]  # they get the descriptors now free
    await client.send(b"stray" * 40_000)
    for other, its_engine in others:
        assert await its_engine.has_nothing_to_read()
        await its_engine.send(OK)
        assert await other.read_exactly(len(OK)) == OK
        assert await other.has_nothing_to_read()
