"""
The pass lane: what no hook sees goes on as it came, byte for byte, and at once.
"""

from __future__ import annotations

import pytest
import pytest_twisted

from tests.net.adapters import KleinAdapter
from tests.net.harness import OK, PING, Rig
from tests.net.peers import bulk, carried

BIG = bulk(3_000_000)

REQUESTS = {
    "odd case, repeats, spaces, and order": (
        b"GET /v1.41/info?a=1&a=2 HTTP/1.1\r\nhOST:   docker  \r\nX-b: 2\r\nX-A: 1\r\nx-b: 1\r\n"
        b"X-Empty:\r\nX-Latin: caf\xe9\r\nCONNECTION: Keep-Alive\r\n\r\n"
    ),
    "an empty POST keeps its Content-Length: 0": (
        b"POST /v1.41/containers/x/start HTTP/1.1\r\nHost: docker\r\nContent-Length: 0\r\n\r\n"
    ),
    "a POST with no length": b"POST /containers/x/start HTTP/1.1\r\nHost: docker\r\n\r\n",
    "a length": b"POST /build HTTP/1.1\r\nHost: d\r\nContent-Length: 11\r\n\r\nhello world",
    "a big length": (
        b"POST /images/load HTTP/1.1\r\nHost: d\r\nContent-Length: %d\r\n\r\n" % len(BIG) + BIG
    ),
    "chunks, their extensions, odd sizes and trailers": (
        b"POST /build HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n"
        b'5;a=b;c="d e"\r\nhello\r\n00A \r\n0123456789\r\n0\r\nX-T: yes\r\nx-t: no\r\n\r\n'
    ),
    "big chunks": (
        b"POST /images/load HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: chunked\r\n\r\n"
        + b"".join(b"8000\r\n%b\r\n" % BIG[i * 0x8000 :][:0x8000] for i in range(60))
        + b"0\r\n\r\n"
    ),
    "a head of half a mebibyte": (
        b"GET /info HTTP/1.1\r\nHost: d\r\nX-Big: %b\r\n\r\n" % (b"x" * 500_000)
    ),
    "an absolute target": b"GET http://docker/v1.41/info HTTP/1.1\r\nHost: docker\r\n\r\n",
    "an encoded target": b"GET /v1.41/images/a%2Fb%3Ac/json?f=%7B HTTP/1.1\r\nHost: d\r\n\r\n",
    "HTTP/1.0 that stays": b"GET /_ping HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
}


@pytest.mark.parametrize("kind", ["unix", "tcp"])
@pytest.mark.parametrize("request_bytes", REQUESTS.values(), ids=REQUESTS)
@pytest_twisted.ensureDeferred
async def test_requests_go_on_as_they_came(rig: Rig, request_bytes: bytes, kind: str) -> None:
    """
    Each byte of a request reaches the engine, none is added, and the next request is read right.

    Traps: an empty POST re-framed as chunked; a head over 16 KiB refused.
    """
    client, engine = await rig.exchange(request_bytes, kind)
    await engine.send(OK)
    assert await client.read_exactly(len(OK)) == OK
    await client.send(PING)
    assert await engine.read_exactly(len(PING)) == PING
    await engine.send(OK)
    assert await client.read_exactly(len(OK)) == OK


ANSWERS = {
    "odd case, repeats, spaces, and order": (
        b"GET",
        (
            b"HTTP/1.1 200 OKAY then\r\naPI-Version: 1.41\r\nSet-Cookie: a\r\nX: y\r\n"
            b"set-cookie:b\r\n"
            b"Content-Length: 2\r\n\r\nok"
        ),
    ),
    "no reason": (b"GET", b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n"),
    "a status of its own": (b"GET", b"HTTP/1.1 499 Odd\r\nContent-Length: 1\r\n\r\nx"),
    "a ping with all that version negotiation needs": (
        b"HEAD",
        (
            b"HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nBuilder-Version: 2\r\n"
            b"Cache-Control: no-cache\r\n"
            b"Content-Length: 0\r\nContent-Type: text/plain; charset=utf-8\r\n"
            b"Docker-Experimental: false\r\nOstype: linux\r\nServer: Docker/20.10.24 (linux)\r\n"
            b"Swarm: inactive\r\n\r\n"
        ),
    ),
    "the state of a path, for docker cp": (
        b"HEAD",
        b"HTTP/1.1 200 OK\r\nX-Docker-Container-Path-Stat: eyJuYW1lIjoiZXRjIn0=\r\n\r\n",
    ),
    "a HEAD with a length and no body": (
        b"HEAD",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n",
    ),
    "a HEAD that is chunked and has no body": (
        b"HEAD",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    ),
    "204": (b"POST", b"HTTP/1.1 204 No Content\r\nApi-Version: 1.41\r\n\r\n"),
    "304 with a length": (b"POST", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n"),
    "301 to another place": (
        b"GET",
        b"HTTP/1.1 301 Moved Permanently\r\nLocation: /v1.41/info\r\nContent-Length: 0\r\n\r\n",
    ),
    "gzip": (
        b"GET",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x08\x00",
    ),
    "a big length": (
        b"GET",
        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BIG) + BIG,
    ),
    "chunks, their extensions and trailers": (
        b"GET",
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\nTrailer: X-T\r\n\r\n"
            b"3;x=y\r\nabc\r\n0F\r\n0123456789abcde\r\n000\r\nX-T: 1\r\n\r\n"
        ),
    ),
    "an interim answer": (
        b"POST",
        (
            b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n"
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
        ),
    ),
    "HTTP/1.0 that stays": (
        b"GET",
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok",
    ),
}


@pytest.mark.parametrize("kind", ["unix", "tcp"])
@pytest.mark.parametrize(("method", "answer"), ANSWERS.values(), ids=ANSWERS)
@pytest_twisted.ensureDeferred
async def test_answers_go_on_as_they_came(
    rig: Rig, method: bytes, answer: bytes, kind: str
) -> None:
    """
    Each byte of an answer reaches the client, none is added, and the connection stays.

    Traps: HEAD /_ping and its headers; docker cp's path stat; treq decodes gzip and follows
    redirects; relay the engine's own status and headers, never invent them.
    """
    client, engine = await rig.exchange(method + b" /v1.41/x HTTP/1.1\r\nHost: d\r\n\r\n", kind)
    assert answer == await carried(answer, engine, client)
    await client.send(PING)
    assert await engine.read_exactly(len(PING)) == PING
    await engine.send(OK)
    assert await client.read_exactly(len(OK)) == OK
    assert await client.has_nothing_to_read()


LAST_ANSWERS = {
    "no length": b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\n\r\nno such container",
    "no length and big": b"HTTP/1.1 200 OK\r\n\r\n" + BIG,
    "no length and nothing": b"HTTP/1.1 200 OK\r\n\r\n",
    "HTTP/1.0": b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "Connection: close": b"HTTP/1.1 200 OK\r\nconnection: CLOSE\r\nContent-Length: 2\r\n\r\nok",
    "chunked and closed": (
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
}


@pytest.mark.parametrize("kind", ["unix", "tcp"])
@pytest.mark.parametrize("answer", LAST_ANSWERS.values(), ids=LAST_ANSWERS)
@pytest_twisted.ensureDeferred
async def test_answers_that_end_the_connection_do(rig: Rig, answer: bytes, kind: str) -> None:
    """
    What ends with the engine's connection, or says so, ends the client's.

    Traps: attach errors have no Content-Length.
    """
    client, engine = await rig.exchange(PING, kind)
    assert answer == await carried(answer, engine, client)
    engine.close()
    assert await client.read() == b""


@pytest_twisted.ensureDeferred
async def test_a_head_goes_on_before_its_body_comes(rig: Rig) -> None:
    """
    Either head is there before a byte of its body.

    Traps: docker run hangs if the head of POST /containers/{id}/wait is held; a request handed
    over only when its whole body is in.
    """
    head = b"POST /containers/x/wait HTTP/1.1\r\nHost: d\r\nContent-Length: 4\r\n\r\n"
    client, engine = await rig.exchange(head)
    await client.send(b"body")
    assert await engine.read_exactly(4) == b"body"
    answer = (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    await engine.send(answer)
    assert answer == await client.read_exactly(len(answer))
    assert await client.has_nothing_to_read()
    await engine.send(b'10\r\n{"StatusCode":0}\r\n0\r\n\r\n')
    assert await client.read_exactly(27) == b'10\r\n{"StatusCode":0}\r\n0\r\n\r\n'


@pytest.mark.parametrize(
    "framing", [b"Transfer-Encoding: chunked", b"X-No-Length: 1"], ids=["chunked", "until close"]
)
@pytest_twisted.ensureDeferred
async def test_each_piece_of_a_stream_goes_on_as_it_comes(rig: Rig, framing: bytes) -> None:
    """
    Each event, even a part of a chunk, is there before the next one comes.

    Traps: events, logs -f, stats, pull and build stream for ever.
    """
    client, engine = await rig.exchange(b"GET /events HTTP/1.1\r\nHost: d\r\n\r\n")
    head = b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n"
    await engine.send(head)
    assert head == await client.read_exactly(len(head))
    for piece in [b"1", b"1\r", b'\n{"status":', b'"start"', b"\r\n5\r\n12345\r", b"\n"]:
        await engine.send(piece)
        assert piece == await client.read_exactly(len(piece))


@pytest_twisted.ensureDeferred
async def test_output_flows_while_the_upload_goes_on(rig: Rig) -> None:
    """
    An answer comes, piece by piece, between the pieces of the request.

    Traps: build: output flows while the context still uploads.
    """
    head = b"POST /build HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: chunked\r\n\r\n"
    client, engine = await rig.exchange(head)
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    await engine.send(answer)
    assert answer == await client.read_exactly(len(answer))
    for piece in [b"3\r\nabc\r\n", b"3\r\ndef\r\n", b"0\r\n\r\n"]:
        await client.send(piece)
        assert piece == await engine.read_exactly(len(piece))
        await engine.send(piece)
        assert piece == await client.read_exactly(len(piece))
    await client.send(PING)
    assert await engine.read_exactly(len(PING)) == PING


@pytest_twisted.ensureDeferred
async def test_a_next_request_waits_for_the_end_of_the_upload(rig: Rig) -> None:
    """
    Where the whole answer comes first, the rest of the request still goes to the engine.
    """
    head = b"POST /build HTTP/1.1\r\nHost: d\r\nContent-Length: 8\r\n\r\n"
    client, engine = await rig.exchange(head)
    await engine.send(OK)
    assert await client.read_exactly(len(OK)) == OK
    await client.send(b"12345678" + PING)
    assert await engine.read_exactly(8 + len(PING)) == b"12345678" + PING
    await engine.send(OK)
    assert await client.read_exactly(len(OK)) == OK


@pytest_twisted.ensureDeferred
async def test_a_client_that_expects_100_continue_gets_the_engines_own(rig: Rig) -> None:
    """
    It is the engine that tells it to go on.

    Traps: Expect: 100-continue: Twisted answers by itself.
    """
    head = b"POST /build HTTP/1.1\r\nHost: d\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"
    client, engine = await rig.exchange(head)
    assert await client.has_nothing_to_read()
    await engine.send(b"HTTP/1.1 100 Continue\r\nX-From: engine\r\n\r\n")
    assert await client.read_head() == b"HTTP/1.1 100 Continue\r\nX-From: engine\r\n\r\n"
    await client.send(b"body")
    assert await engine.read_exactly(4) == b"body"
    await engine.send(OK)
    assert await client.read_exactly(len(OK)) == OK


@pytest.mark.parametrize("kind", ["unix", "tcp"])
@pytest_twisted.ensureDeferred
async def test_one_connection_carries_many_exchanges(rig: Rig, kind: str) -> None:
    """
    Both connections are kept, and one engine's connection serves one client.
    """
    client, engine = await rig.exchange(PING, kind)
    await engine.send(OK)
    assert await client.read_exactly(len(OK)) == OK
    for number in range(200):
        request = b"POST /x/%d HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc" % number
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % number + b"x" * number
        await client.send(request)
        assert request == await engine.read_exactly(len(request))
        await engine.send(answer)
        assert answer == await client.read_exactly(len(answer))
    assert not rig.engine.is_waited_for


@pytest_twisted.ensureDeferred
async def test_a_message_may_come_byte_by_byte(rig: Rig) -> None:
    """
    Where reads end plays no part.
    """
    request = b"POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    answer = (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"3\r\nabc\r\n0\r\n\r\n"
    )
    client = rig.connect()
    for byte in request:
        client.send_now(bytes([byte]))
        assert await client.has_nothing_to_read()
    engine = await rig.engine.accept()
    assert request == await engine.read_exactly(len(request))
    for byte in answer:
        engine.send_now(bytes([byte]))
        assert await engine.has_nothing_to_read()
    assert answer == await client.read_exactly(len(answer))


@pytest_twisted.ensureDeferred
async def test_requests_sent_ahead_are_answered_in_order(rig: Rig) -> None:
    """
    The engine sees each request when the one in front of it has been answered.
    """
    requests = [
        b"GET /1 HTTP/1.1\r\nHost: d\r\n\r\n",
        b"POST /2 HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello",
        b"POST /3 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n",
        b"HEAD /4 HTTP/1.1\r\nHost: d\r\n\r\n",
    ]
    client = rig.connect()
    await client.send(b"".join(requests))
    engine = await rig.engine.accept()
    for request in requests:
        assert request == await engine.read_exactly(len(request))
        assert await engine.has_nothing_to_read()
        answer = b"HTTP/1.1 200 OK\r\nX-To: %b\r\nContent-Length: 0\r\n\r\n" % request[:7]
        await engine.send(answer)
        assert answer == await client.read_exactly(len(answer))


@pytest_twisted.ensureDeferred
async def test_each_of_many_requests_sent_ahead_is_hooked_where_hooks_want_it(rig: Rig) -> None:
    """
    A request behind others, or behind a body, does not step past its hooks.

    Traps: chunked body, Content-Length: 0 with a body: one reading only.
    """
    adapter = KleinAdapter()
    rig.hook("POST /*/containers/create", pre=[rig.serve(adapter)])
    create = b"POST /v1.41/containers/create?name=%d HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}"
    fronts = [
        b"GET /a HTTP/1.1\r\n\r\n",
        b"POST /b HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
        b"POST /c HTTP/1.1\r\nContent-Length: 4\r\n\r\nbody",
        b"POST /d HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
        b"",
    ]
    client = rig.connect()
    await client.send(b"".join(front + create % n for n, front in enumerate(fronts)))
    engine = await rig.engine.accept()
    for number, front in enumerate(fronts):
        for request in filter(None, [front, create % number]):
            assert request == await engine.read_exactly(len(request))
            await engine.send(OK)
            assert await client.read_exactly(len(OK)) == OK
    assert [f"/v1.41/containers/create?name={n}" for n in range(5)] == [
        payload["ClientRequest"]["Request"] for payload in adapter.payloads
    ]


@pytest_twisted.ensureDeferred
async def test_the_log_has_a_line_for_each_exchange(rig: Rig) -> None:
    """
    Who asked what in which lane, the status, the bytes of both bodies, and no query.
    """
    request = b"POST /v1.41/build?buildargs=x HTTP/1.1\r\nContent-Length: 4\r\n\r\nbody"
    client, engine = await rig.exchange(request, "tcp")
    await engine.send(OK)
    assert await client.read_exactly(len(OK)) == OK
    (line,) = rig.exchange_lines()
    assert line.startswith('"POST /v1.41/build" lane=pass status=200 in=4 out=2 ms=')
    assert any(line.startswith("127.0.0.1:") for line in rig.log_lines())
