"""
A reader that stops makes the sender stop: counted in bytes, over real sockets.
"""

from __future__ import annotations

import tracemalloc
import zlib
from collections.abc import Iterator

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from tests.net.adapters import KleinAdapter
from tests.net.harness import PING, Rig
from tests.net.peers import Peer, bulk

BODY_BYTES = 24 * 1024 * 1024
BODY = bulk(BODY_BYTES)
CHUNKED_BODY = b"".join(
    b"%x\r\n%b\r\n" % (len(chunk), chunk)
    for chunk in (BODY[start : start + 50_000] for start in range(0, BODY_BYTES, 50_000))
)

BOUND_BYTES = {"unix": 3 * 1024 * 1024, "tcp": 16 * 1024 * 1024}
"""
What the kernel's buffers and one pipe may take: 208 KiB for each UNIX socket and 1 MiB for the
pipe; TCP's windows grow to 4 MiB to send and 6 MiB to receive.
"""

UPGRADE = (
    b"POST /containers/x/attach HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
)
UPGRADED = b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"

UPLOADS = {
    "a length": (b"POST /build HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % BODY_BYTES, BODY),
    "chunks": (b"POST /build HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", CHUNKED_BODY),
}
DOWNLOADS = {
    "a length": (b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % BODY_BYTES, BODY),
    "chunks": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", CHUNKED_BODY),
    "no length": (b"HTTP/1.1 200 OK\r\n\r\n", BODY),
}


@pytest.fixture(params=["unix", "tcp"])
def kind(request: pytest.FixtureRequest) -> str:
    """
    How clients come in.
    """
    return str(request.param)


@pytest.fixture(params=["pass", "hook"])
def lane(request: pytest.FixtureRequest, rig: Rig) -> str:
    """
    The lane that requests take; the hooks see no body.
    """
    if request.param == "hook":
        rig.hook("* /*", pre=[rig.serve(KleinAdapter())])
    return str(request.param)


async def stops_and_goes_on(source: Peer, sink: Peer, data: bytes, kind: str) -> None:
    """
    Send while nobody reads, see that it stops, and then that every byte arrives.
    """
    sent = await source.send_while_taken(data)
    assert 0 < sent < BOUND_BYTES[kind]
    sending = Deferred.fromCoroutine(source.send(data[sent:]))
    assert await sink.read_bulk(len(data)) == zlib.crc32(data)
    await sending


@pytest.mark.parametrize(("head", "body"), UPLOADS.values(), ids=UPLOADS)
@pytest_twisted.ensureDeferred
async def test_an_engine_that_stops_reading_stops_the_client(
    rig: Rig, lane: str, kind: str, head: bytes, body: bytes
) -> None:
    """
    An upload waits for its engine.
    """
    client, engine = await rig.exchange(head, kind)
    await stops_and_goes_on(client, engine, body, kind)


@pytest.mark.parametrize(("head", "body"), DOWNLOADS.values(), ids=DOWNLOADS)
@pytest_twisted.ensureDeferred
async def test_a_client_that_stops_reading_stops_the_engine(
    rig: Rig, lane: str, kind: str, head: bytes, body: bytes
) -> None:
    """
    A download waits for its client.
    """
    client, engine = await rig.exchange(PING, kind)
    await engine.send(head)
    assert await client.read_head() == head
    await stops_and_goes_on(engine, client, body, kind)


@pytest.mark.parametrize("direction", ["up", "down"])
@pytest_twisted.ensureDeferred
async def test_a_tunnels_end_that_stops_reading_stops_the_other(
    rig: Rig, lane: str, kind: str, direction: str
) -> None:
    """
    Each direction of a tunnel waits by itself: the other one flows.
    """
    client, engine = await rig.exchange(UPGRADE, kind)
    await engine.send(UPGRADED)
    await client.read_head()
    source, sink = (client, engine) if direction == "up" else (engine, client)
    sent = await source.send_while_taken(BODY)
    assert 0 < sent < BOUND_BYTES[kind]
    await sink.send(b"the other way")
    assert await source.read_exactly(13) == b"the other way"
    sending = Deferred.fromCoroutine(source.send(BODY[sent:]))
    assert await sink.read_bulk(BODY_BYTES) == zlib.crc32(BODY)
    await sending


@pytest_twisted.ensureDeferred
async def test_requests_sent_ahead_wait_outside(rig: Rig, kind: str) -> None:
    """
    A client that sends requests without reading answers is made to wait.
    """
    client, engine = await rig.exchange(PING, kind)
    ahead = b"GET /%b HTTP/1.1\r\n\r\n" % (b"x" * 1000) * 24_000
    sent = await client.send_while_taken(ahead)
    assert sent < BOUND_BYTES[kind]
    assert await engine.has_nothing_to_read()


@pytest_twisted.ensureDeferred
async def test_what_an_engine_says_unasked_waits_outside(rig: Rig) -> None:
    """
    Nothing is kept of it but one read's worth.
    """
    _, engine = await rig.exchange(PING)
    await engine.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    assert await engine.send_while_taken(BODY) < BOUND_BYTES["unix"]


@pytest.mark.parametrize("holds", ["pre", "post"])
@pytest_twisted.ensureDeferred
async def test_a_body_waits_outside_while_hooks_are_at_work(
    rig: Rig, kind: str, holds: str
) -> None:
    """
    What streams behind a hook is not read before the hook has ended.
    """
    adapter, url = rig.scripted_adapter()
    if holds == "pre":
        rig.hook("* /*", pre=[url])
        client = rig.connect(kind)
        source = client
        await client.send(UPLOADS["chunks"][0])
    else:
        rig.hook("* /*", post=[url])
        client, engine = await rig.exchange(
            b"GET /containers/x/archive?path=/ HTTP/1.1\r\n\r\n", kind
        )
        source = engine
        await engine.send(DOWNLOADS["chunks"][0])
    hook = await adapter.accept()
    payload = await hook.read_until(b"}}")
    assert b'"Body": null' in payload
    sent = await source.send_while_taken(CHUNKED_BODY)
    assert sent < BOUND_BYTES[kind]
    member = "ModifiedClientRequest" if holds == "pre" else "ModifiedServerResponse"
    reply = b'{"%b": {"Body": null}}' % member.encode()
    await hook.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(reply) + reply)
    sink = await rig.engine.accept() if holds == "pre" else client
    await sink.read_head()
    sending = Deferred.fromCoroutine(source.send(CHUNKED_BODY[sent:]))
    assert await sink.read_bulk(len(CHUNKED_BODY)) == zlib.crc32(CHUNKED_BODY)
    await sending


@pytest.fixture
def traced_memory() -> Iterator[None]:
    """
    Python's memory is traced.
    """
    tracemalloc.start()
    yield
    tracemalloc.stop()


@pytest.mark.usefixtures("traced_memory")
@pytest.mark.parametrize(("head", "body"), DOWNLOADS.values(), ids=DOWNLOADS)
@pytest_twisted.ensureDeferred
async def test_memory_does_not_grow_with_a_body(
    rig: Rig, lane: str, head: bytes, body: bytes
) -> None:
    """
    Neither one that flows nor one that waits is kept.
    """
    client, engine = await rig.exchange(PING)
    await engine.send(head)
    await client.read_head()
    tracemalloc.reset_peak()
    before, _ = tracemalloc.get_traced_memory()
    await stops_and_goes_on(engine, client, body, "unix")
    _, peak = tracemalloc.get_traced_memory()
    # A copy of the test's own, of what is still to be sent, is in it.
    assert peak - before < len(body) + 2 * 1024 * 1024
