"""
A client that leaves, at any point: the engine and the adapters are let go, and nobody complains.

Traps: client gone: drop the engine's connection, since the engine cancels pull, build and events
on it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.logger import LogLevel, formatEvent

from powerstrip.core.addresses import TcpAddress
from tests.net.harness import OK, PING, Rig, until
from tests.net.peers import Listener, Peer, bulk, connect, settle

UPLOAD = b"POST /v1.41/images/load HTTP/1.1\r\nHost: d\r\nContent-Length: 50000000\r\n\r\n"
CHUNKED = b"POST /v1.41/build HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: chunked\r\n\r\n"
ATTACH = (
    b"POST /containers/x/attach HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
)
UPGRADED = b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
CREATE = b"POST /v1.41/containers/create HTTP/1.1\r\nHost: d\r\nContent-Length: 2\r\n\r\n{}"

Phase = Callable[[Rig, str], Awaitable[tuple[Peer, list[Peer]]]]
"""Brings a client to where it leaves, and gives all that must see it go."""


@pytest.fixture(params=["unix", "tcp"])
def kind(request: pytest.FixtureRequest) -> str:
    """
    How clients come in.
    """
    return str(request.param)


async def connected(rig: Rig, kind: str) -> tuple[Peer, list[Peer]]:
    return rig.connect(kind), []


async def in_its_head(rig: Rig, kind: str) -> tuple[Peer, list[Peer]]:
    client = rig.connect(kind)
    await client.send(b"POST /build HTTP/1.1\r\nHost: d")
    await settle()
    return client, []


async def waiting(rig: Rig, kind: str) -> tuple[Peer, list[Peer]]:
    client, engine = await rig.exchange(PING, kind)
    return client, [engine]


async def in_its_upload(rig: Rig, kind: str) -> tuple[Peer, list[Peer]]:
    client, engine = await rig.exchange(UPLOAD, kind)
    sending = Deferred.fromCoroutine(client.send_bulk(8_000_000))
    await engine.read_bulk(8_000_000)
    await sending
    return client, [engine]


async def in_its_chunks(rig: Rig, kind: str) -> tuple[Peer, list[Peer]]:
    client, engine = await rig.exchange(CHUNKED + b"4\r\nhalf", kind)
    return client, [engine]


async def in_a_quiet_stream(rig: Rig, kind: str) -> tuple[Peer, list[Peer]]:
    client, engine = await rig.exchange(b"GET /events HTTP/1.1\r\nHost: d\r\n\r\n", kind)
    await engine.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nping\r\n")
    await client.read_until(b"ping\r\n")
    return client, [engine]


async def in_the_answer(rig: Rig, kind: str) -> tuple[Peer, list[Peer]]:
    client, engine = await rig.exchange(PING, kind)
    await engine.send(b"HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n")
    sending = Deferred.fromCoroutine(engine.send_bulk(8_000_000))
    await client.read_head()
    await client.read_bulk(8_000_000)
    await sending
    return client, [engine]


async def between_two_exchanges(rig: Rig, kind: str) -> tuple[Peer, list[Peer]]:
    client, engine = await rig.exchange(PING, kind)
    await engine.send(OK)
    await client.read_exactly(len(OK))
    return client, [engine]


async def in_a_tunnel(rig: Rig, kind: str) -> tuple[Peer, list[Peer]]:
    client, engine = await rig.exchange(ATTACH, kind)
    await engine.send(UPGRADED)
    await client.read_head()
    return client, [engine]


async def in_a_held_body(rig: Rig, kind: str) -> tuple[Peer, list[Peer]]:
    _, url = rig.scripted_adapter()
    rig.hook("* /*", pre=[url])
    client = rig.connect(kind)
    await client.send(CREATE[:-1])
    await settle()
    return client, []


async def in_its_pre_hook(rig: Rig, kind: str) -> tuple[Peer, list[Peer]]:
    adapter, url = rig.scripted_adapter()
    rig.hook("* /*", pre=[url])
    client = rig.connect(kind)
    await client.send(CREATE)
    hook = await adapter.accept()
    await hook.read_until(b"}}")
    return client, [hook]


async def in_the_reply_of_its_pre_hook(rig: Rig, kind: str) -> tuple[Peer, list[Peer]]:
    client, (hook,) = await in_its_pre_hook(rig, kind)
    await hook.send(b'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"half": ')
    await settle()
    return client, [hook]


async def waiting_behind_its_pre_hook(rig: Rig, kind: str) -> tuple[Peer, list[Peer]]:
    client, (hook,) = await in_its_pre_hook(rig, kind)
    await hook.send(reply('"ModifiedClientRequest": {"Body": "{}"}'))
    engine = await rig.engine.accept()
    assert await engine.read_exactly(len(CREATE)) == CREATE
    return client, [engine]


async def in_the_answer_that_is_held(rig: Rig, kind: str) -> tuple[Peer, list[Peer]]:
    _, url = rig.scripted_adapter()
    rig.hook("* /*", post=[url])
    client, engine = await rig.exchange(PING, kind)
    await engine.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhal")
    await settle()
    return client, [engine]


async def in_its_post_hook(rig: Rig, kind: str) -> tuple[Peer, list[Peer]]:
    adapter, url = rig.scripted_adapter()
    rig.hook("* /*", post=[url])
    client, engine = await rig.exchange(PING, kind)
    await engine.send(OK)
    hook = await adapter.accept()
    await hook.read_until(b"}}")
    return client, [engine, hook]


def reply(member: str) -> bytes:
    """
    What an adapter answers.
    """
    body = f"{{{member}}}".encode()
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body


PHASES = [
    connected,
    in_its_head,
    waiting,
    in_its_upload,
    in_its_chunks,
    in_a_quiet_stream,
    in_the_answer,
    between_two_exchanges,
    in_a_tunnel,
    in_a_held_body,
    in_its_pre_hook,
    in_the_reply_of_its_pre_hook,
    waiting_behind_its_pre_hook,
    in_the_answer_that_is_held,
    in_its_post_hook,
]


def complaints(rig: Rig) -> list[str]:
    """
    What was logged as worse than news.
    """
    return [formatEvent(event) for event in rig.events if event["log_level"] > LogLevel.info]


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("phase", PHASES, ids=lambda phase: phase.__name__)
@pytest_twisted.ensureDeferred
async def test_a_client_may_leave_in_any_phase(rig: Rig, phase: Phase, kind: str, how: str) -> None:
    """
    Whoever worked for it sees its connection end, and nothing is left open or logged as a failure.
    """
    client, others = await phase(rig, kind)
    getattr(client, how)()
    for other in others:
        assert await other.sees_the_end()
        other.close()
    await until(lambda: not rig.proxy.connections._open, "the connection is let go")
    assert complaints(rig) == []
    assert not rig.engine.is_waited_for


@pytest_twisted.ensureDeferred
async def test_a_client_may_leave_while_the_engine_is_connected_to(rig: Rig, kind: str) -> None:
    """
    An engine that does not accept connections holds nothing of a client that has gone.
    """
    full = Listener(("127.0.0.1", 0), backlog=0)
    crowd = connect(("127.0.0.1", full.port))  # takes the one place of its queue
    rig.proxy = rig.make_proxy(TcpAddress("127.0.0.1", full.port))
    client = rig.connect(kind)
    await client.send(PING)
    await until(lambda: any(c.exchange for c in rig.proxy.connections._open), "the request is read")
    await settle()
    client.reset()
    await until(lambda: not rig.proxy.connections._open, "the connection is let go")
    assert complaints(rig) == []
    crowd.close()
    full.close()


@pytest.mark.parametrize("on_error", ["fail", "ignore"])
@pytest_twisted.ensureDeferred
async def test_a_client_may_leave_while_an_adapter_is_connected_to(
    rig: Rig, kind: str, on_error: str
) -> None:
    """
    Whom nobody waits for any more is no adapter that failed, and the request goes no further.
    """
    full = Listener(("127.0.0.1", 0), backlog=0)
    crowd = connect(("127.0.0.1", full.port))
    rig.hook("* /*", pre=[f"http://127.0.0.1:{full.port}/"], on_error=on_error)
    client = rig.connect(kind)
    await client.send(CREATE)
    await until(lambda: any(c.exchange for c in rig.proxy.connections._open), "the request is read")
    await settle()
    client.reset()
    await until(lambda: not rig.proxy.connections._open, "the connection is let go")
    await settle()
    assert complaints(rig) == []
    assert not rig.engine.is_waited_for
    crowd.close()
    full.close()


@pytest.mark.parametrize("lane", ["pass", "hook"])
@pytest_twisted.ensureDeferred
async def test_a_client_may_leave_as_the_connection_to_the_engine_opens(
    rig: Rig, lane: str, kind: str
) -> None:
    """
    A request that comes in one turn with the end of its client leaves no connection behind.
    """
    if lane == "hook":
        adapter, url = rig.scripted_adapter()
        rig.hook("* /*", pre=[url])
        client = rig.connect(kind)
        await client.send(CREATE)
        hook = await adapter.accept()
        await hook.read_until(b"}}")
        hook.send_now(reply('"ModifiedClientRequest": {"Body": "{}"}'))
    else:
        client = rig.connect(kind)
        client.send_now(CREATE)
    client.reset()
    await until(lambda: not rig.proxy.connections._open, "the connection is let go")
    await settle()
    if rig.engine.is_waited_for:
        engine = await rig.engine.accept()
        assert await engine.read() in (b"", CREATE)
        assert await engine.sees_the_end()
    assert complaints(rig) == []


@pytest_twisted.ensureDeferred
async def test_a_client_may_leave_as_it_is_refused(rig: Rig) -> None:
    """
    An answer that can't be written any more closes the connection once.
    """
    adapter, url = rig.scripted_adapter()
    rig.hook("* /*", pre=[url])
    client = rig.connect()
    await client.send(CREATE)
    hook = await adapter.accept()
    await hook.read_until(b"}}")
    hook.send_now(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
    client.close()
    await until(lambda: not rig.proxy.connections._open, "the connection is let go")
    rig.configure({}, {})
    clients = [await rig.exchange(PING) for _ in range(3)]
    for client, engine in clients:
        await engine.send(OK)
        assert await client.read_exactly(len(OK)) == OK
    assert rig.failures == []


@pytest.mark.parametrize("kind_of_body", ["length", "chunked"])
@pytest_twisted.ensureDeferred
async def test_a_client_that_left_long_ago_is_noticed_by_what_it_is_sent(
    rig: Rig, kind_of_body: str
) -> None:
    """
    A TCP client that has closed looks like one that has half-closed, until it is written to.
    """
    client, engine = await rig.exchange(PING, "tcp")
    client.close()
    assert await engine.read() == b""
    head = {
        "length": b"HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n",
        "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2faf080\r\n",
    }[kind_of_body]
    with pytest.raises(ConnectionError):
        await engine.send(head + bulk(50_000_000))
    await until(lambda: not rig.proxy.connections._open, "the connection is let go")
    assert complaints(rig) == []
