"""
The kernel moves what is big: what goes before, behind and wrong must come out as if it did not.
"""

from __future__ import annotations

import contextlib
import fcntl
from types import SimpleNamespace
from typing import cast

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from powerstrip.net import splice
from powerstrip.net.splice import PIPE_BYTES, Pipe
from powerstrip.net.stream import Stream
from tests.net.harness import OK, PING, Rig
from tests.net.peers import bulk, carried, settle

UPGRADE = (
    b"POST /containers/x/attach HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
)
UPGRADED = b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"

READ = 64 * 1024
SIZES = [
    *(READ - 1, READ, READ + 1, 2 * READ, 2 * READ + 1),
    *(PIPE_BYTES - 1, PIPE_BYTES, PIPE_BYTES + 1, PIPE_BYTES + READ, 3 * PIPE_BYTES + 7),
]


@pytest.fixture(params=["unix", "tcp"])
def kind(request: pytest.FixtureRequest) -> str:
    """
    How clients come in.
    """
    return str(request.param)


@pytest.fixture(params=["spliced", "in a small pipe", "copied"])
def how(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """
    How bodies are moved: without ``splice(2)``, or a share of pipe memory, all must work as well.
    """
    if request.param == "copied":
        monkeypatch.setattr(splice, "AVAILABLE", False)
    elif request.param == "in a small pipe":

        def refuse(*arguments: object) -> int:
            raise PermissionError

        monkeypatch.setattr(
            splice, "fcntl", SimpleNamespace(fcntl=refuse, F_SETPIPE_SZ=fcntl.F_SETPIPE_SZ)
        )
    return str(request.param)


@pytest.mark.parametrize(
    ("source", "sink", "expected"),
    [("tcp", "unix", True), ("unix", "unix", True), ("tcp", "tcp", True), ("unix", "tcp", False)],
)
def test_only_from_unix_sockets_to_tcp_copying_is_quicker(
    source: str, sink: str, expected: bool
) -> None:
    """
    What an engine on its socket sends a client on TCP is copied, and all else is spliced.
    """
    streams = [cast(Stream, SimpleNamespace(is_unix=kind == "unix")) for kind in (source, sink)]
    assert splice.pays(*streams) == expected


@pytest.mark.usefixtures("how")
@pytest_twisted.ensureDeferred
async def test_a_request_right_behind_a_big_body_is_read(rig: Rig, kind: str) -> None:
    """
    A body ends where it ends, also within a pipe-full, and the connection stays.
    """
    requests = []
    for size in SIZES:
        head = b"POST /images/load HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % size
        requests += [head + bulk(size), PING]
    client = rig.connect(kind)
    sending = Deferred.fromCoroutine(client.send(b"".join(requests)))
    engine = await rig.engine.accept()
    for request in requests:
        assert await engine.read_exactly(len(request)) == request
        assert await engine.has_nothing_to_read()
        await engine.send(OK)
        assert await client.read_exactly(len(OK)) == OK
    await sending


@pytest.mark.usefixtures("how")
@pytest_twisted.ensureDeferred
async def test_an_answer_behind_a_big_one_is_read(rig: Rig, kind: str) -> None:
    """
    What follows a big answer on the connection is the next answer, and nothing of it is lost.
    """
    client, engine = await rig.exchange(PING, kind)
    for size in SIZES:
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + bulk(size)
        assert await carried(answer, engine, client) == answer
        await client.send(PING)
        assert await engine.read_exactly(len(PING)) == PING
    await engine.send(OK)
    assert await client.read_exactly(len(OK)) == OK


@pytest.mark.usefixtures("how")
@pytest_twisted.ensureDeferred
async def test_a_half_close_behind_bulk_comes_behind_it(rig: Rig, kind: str) -> None:
    """
    The end of a stream is told when all of it has gone out, and the other direction goes on.
    """
    for size in SIZES:
        client, engine = await rig.exchange(UPGRADE, kind)
        await engine.send(UPGRADED)
        await client.read_head()
        body = bulk(size)
        for source, sink in [(client, engine), (engine, client)]:
            sending = Deferred.fromCoroutine(source.send(body))
            sending.addCallback(lambda _, end: end.half_close(), source)
            assert await sink.read_to_end() == body
            await sending
        await settle()
        assert not rig.proxy.connections._open


@pytest_twisted.ensureDeferred
async def test_a_half_close_behind_bulk_that_waits_comes_behind_it(rig: Rig, kind: str) -> None:
    """
    A sink that stops reading, and a source that has ended long before it goes on.
    """
    client, engine = await rig.exchange(UPGRADE, kind)
    await engine.send(UPGRADED)
    await client.read_head()
    body = bulk(50_000_000)
    for source, sink in [(client, engine), (engine, client)]:
        sent = await source.send_while_taken(body)
        source.half_close()
        await settle()
        received = await sink.read_to_end()
        assert received == body[:sent]


@pytest.mark.parametrize("reads", [True, False], ids=["flowing", "full"])
@pytest.mark.parametrize("direction", ["up", "down"])
@pytest.mark.parametrize("who", ["source", "sink"])
@pytest_twisted.ensureDeferred
async def test_a_reset_in_bulk_ends_both_sides(
    rig: Rig, kind: str, who: str, direction: str, reads: bool
) -> None:
    """
    Whichever end breaks off, with the pipe empty or full, the other one is told.
    """
    client, engine = await rig.exchange(UPGRADE, kind)
    await engine.send(UPGRADED)
    await client.read_head()
    source, sink = (client, engine) if direction == "up" else (engine, client)
    if reads:
        data = bulk(5_000_000)
        assert await carried(data, source, sink) == data
    else:
        await source.send_while_taken(bulk(50_000_000))
    if who == "source":
        source.reset()
        with contextlib.suppress(ConnectionError):
            await sink.read_to_end()
    else:
        sink.reset()
        assert await source.sees_the_end()
    client.close()
    engine.close()
    await settle()
    assert not rig.proxy.connections._open


@pytest_twisted.ensureDeferred
async def test_pipes_are_kept_for_the_next_body_but_not_many(rig: Rig) -> None:
    """
    Many big bodies at once leave no more than a few pipes behind, and one after another just one.
    """
    size = 3_000_000
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size
    pairs = [await rig.exchange(PING) for _ in range(25)]
    sent = []
    for client, engine in pairs:
        await engine.send(answer)
        await client.read_head()
        sent.append(await engine.send_while_taken(bulk(size)))
    for client, _ in pairs[:5]:
        client.close()
    for (client, engine), count in list(zip(pairs, sent, strict=True))[5:]:
        rest = Deferred.fromCoroutine(engine.send(bulk(size)[count:]))
        await client.read_bulk(size)
        await rest
    assert len(Pipe._spare) == 16
    client, engine = pairs[-1]
    for _ in range(3):
        await client.send(PING)
        assert await engine.read_head() == PING
        assert await carried(answer + bulk(size), engine, client) == answer + bulk(size)
        assert len(Pipe._spare) == 16
