"""
Attach, exec and what else leaves HTTP: from then on a connection is two streams of bytes.
"""

from __future__ import annotations

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, gatherResults

from tests.net.adapters import KleinAdapter
from tests.net.harness import PING, Rig
from tests.net.peers import Peer, carried, settle

UPGRADED = (
    b"HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\n"
    b"Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
)
RAW = b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n"
MULTIPLEXED = b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.multiplexed-stream\r\n\r\n"

ATTACH = b"POST /v1.41/containers/x/attach?stream=1&stdin=1 HTTP/1.1\r\nHost: d\r\n"
EXEC = b"POST /v1.41/exec/x/start HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\n"
UPGRADE = b"Connection: Upgrade\r\nUpgrade: tcp\r\n"
EXEC_BODY = b'Content-Length: 27\r\n\r\n{"Detach":false,"Tty":true}'

TUNNELS = {
    "attach 101": (ATTACH + UPGRADE + b"Content-Length: 0\r\n\r\n", UPGRADED),
    "attach 200 raw": (ATTACH + b"\r\n", RAW),
    "attach 200 multiplexed": (ATTACH + b"\r\n", MULTIPLEXED),
    "exec 101": (EXEC + UPGRADE + EXEC_BODY, UPGRADED),
    "exec 200": (EXEC + EXEC_BODY, RAW),
    "attach over a WebSocket": (
        b"GET /containers/x/attach/ws HTTP/1.1\r\nConnection:Upgrade\r\nUpgrade:websocket\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    ),
    "BuildKit's session": (
        (
            b"POST /session HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n"
            b"X-Docker-Expose-Session-Uuid: u\r\n\r\n"
        ),
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
    ),
    "BuildKit's grpc": (
        b"POST /grpc HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
    ),
}


async def tunnel(
    rig: Rig, kind: str = "unix", request: bytes = ATTACH + UPGRADE + b"\r\n"
) -> tuple[Peer, Peer]:
    """
    Both ends of a tunnel.
    """
    client, engine = await rig.exchange(request, kind)
    await engine.send(UPGRADED)
    assert await client.read_exactly(len(UPGRADED)) == UPGRADED
    return client, engine


@pytest.fixture(params=["unix", "tcp"])
def kind(request: pytest.FixtureRequest) -> str:
    """
    How clients come in.
    """
    return str(request.param)


@pytest.fixture(params=["pass", "pre", "post"])
def lane(request: pytest.FixtureRequest) -> str:
    """
    The lane of the exchange: with no hooks, with a pre-hook, with a post-hook.
    """
    return str(request.param)


def take_lane(rig: Rig, lane: str) -> KleinAdapter:
    """
    Put hooks on every request, or none.
    """
    adapter = KleinAdapter()
    if lane == "pre":
        rig.hook("* /*", pre=[rig.serve(adapter)])
    elif lane == "post":
        rig.hook("* /*", post=[rig.serve(adapter)])
    return adapter


@pytest.mark.parametrize(("request_bytes", "answer"), TUNNELS.values(), ids=TUNNELS)
@pytest_twisted.ensureDeferred
async def test_a_tunnel_carries_both_directions(
    rig: Rig, lane: str, request_bytes: bytes, answer: bytes
) -> None:
    """
    The engine's own head goes on, and then bytes flow both ways until both have ended.

    Traps: 101 iff the request carries Upgrade, else 200 with a raw stream; BuildKit's /session and
    /grpc; attach/ws.
    """
    take_lane(rig, lane)
    client, engine = await rig.exchange(request_bytes)
    await engine.send(answer)
    assert answer == await client.read_exactly(len(answer))
    for _ in range(3):
        assert (
            await carried(b"GET /x HTTP/1.1\r\n\r\n", client, engine) == b"GET /x HTTP/1.1\r\n\r\n"
        )
        assert await carried(b"\x01\x00\x00\x00hello", engine, client) == b"\x01\x00\x00\x00hello"
    client.half_close()
    assert await engine.read() == b""
    assert await carried(b"last words", engine, client) == b"last words"
    engine.close()
    assert await client.read() == b""
    await settle()
    (line,) = rig.exchange_lines()
    assert f"status={answer[9:12].decode()} in=57 out=37 " in line
    assert "error" not in line


@pytest.mark.parametrize("answer", [UPGRADED, RAW, MULTIPLEXED], ids=["101", "raw", "multiplexed"])
@pytest_twisted.ensureDeferred
async def test_what_follows_the_head_in_the_same_segment_goes_first(
    rig: Rig, lane: str, answer: bytes
) -> None:
    """
    A shell's prompt that comes with the head is not lost, and what comes later is behind it.

    Traps: bytes that follow the 101 head in the same segment.
    """
    take_lane(rig, lane)
    upgrade = UPGRADE if answer is UPGRADED else b""
    client, engine = await rig.exchange(ATTACH + upgrade + b"\r\n")
    await engine.send(answer + b"/ # ")
    assert answer + b"/ # " == await client.read_exactly(len(answer) + 4)
    assert await carried(b"more", engine, client) == b"more"


@pytest_twisted.ensureDeferred
async def test_what_a_client_sends_ahead_of_the_101_follows_it(rig: Rig, lane: str) -> None:
    """
    Bytes behind the request are kept until the engine has left HTTP, and go first then.
    """
    take_lane(rig, lane)
    request = ATTACH + UPGRADE + b"\r\n"
    client = rig.connect()
    await client.send(request + b"early")
    engine = await rig.engine.accept()
    assert request == await engine.read_exactly(len(request))
    assert await engine.has_nothing_to_read()
    await engine.send(UPGRADED)
    await client.read_head()
    await client.send(b" late")
    assert await engine.read_exactly(10) == b"early late"


@pytest_twisted.ensureDeferred
async def test_a_client_may_half_close(rig: Rig, kind: str) -> None:
    """
    The engine is told the end of stdin, and its output goes on as long as it likes.

    Traps: stdin half-close (echo hi | docker run -i … cat).
    """
    client, engine = await tunnel(rig, kind)
    await client.send(b"hi\n")
    client.half_close()
    assert await engine.read_to_end() == b"hi\n"
    assert await client.has_nothing_to_read()
    for _ in range(3):
        assert await carried(b"hi\n", engine, client) == b"hi\n"
        await settle()
    engine.half_close()
    assert await client.read() == b""
    client.close()
    assert await engine.sees_the_end()


@pytest_twisted.ensureDeferred
async def test_an_engine_may_half_close(rig: Rig, kind: str) -> None:
    """
    The client is told the end of the output, and its input goes on.

    Traps: stdin half-close: pass SHUT_WR on, each way; end only when both have ended.
    """
    client, engine = await tunnel(rig, kind)
    await engine.send(b"bye\n")
    engine.half_close()
    assert await client.read_to_end() == b"bye\n"
    assert await engine.has_nothing_to_read()
    for _ in range(3):
        assert await carried(b"more", client, engine) == b"more"
        await settle()
    client.half_close()
    assert await engine.read() == b""
    assert await client.sees_the_end()


@pytest_twisted.ensureDeferred
async def test_a_client_that_half_closes_before_the_tunnel_is_there_is_not_lost(
    rig: Rig, lane: str
) -> None:
    """
    Input that ends before the engine's answer reaches the engine, with its end.
    """
    take_lane(rig, lane)
    request = ATTACH + UPGRADE + b"\r\n"
    client = rig.connect()
    await client.send(request + b"input")
    engine = await rig.engine.accept()
    assert request == await engine.read_exactly(len(request))
    client.half_close()
    await settle()
    await engine.send(UPGRADED + b"output")
    assert (await client.read_exactly(len(UPGRADED) + 6))[len(UPGRADED) :] == b"output"
    assert await engine.read_to_end() == b"input"
    await engine.send(b" and more")
    engine.close()
    assert await client.read_to_end() == b" and more"


@pytest_twisted.ensureDeferred
async def test_megabytes_flow_both_ways_at_once(rig: Rig, kind: str) -> None:
    """
    Not a byte is lost, doubled or out of order, either way.
    """
    client, engine = await tunnel(rig, kind)
    count = 24 * 1024 * 1024
    sent_up, sent_down, received_up, received_down = await gatherResults(
        [
            Deferred.fromCoroutine(client.send_bulk(count)),
            Deferred.fromCoroutine(engine.send_bulk(count - 1)),
            Deferred.fromCoroutine(engine.read_bulk(count)),
            Deferred.fromCoroutine(client.read_bulk(count - 1)),
        ]
    )
    assert (sent_up, sent_down) == (received_up, received_down)
    client.half_close()
    assert await engine.read() == b""
    engine.half_close()
    assert await client.read() == b""


@pytest_twisted.ensureDeferred
async def test_small_messages_go_back_and_forth_at_once(rig: Rig, kind: str) -> None:
    """
    A tunnel that is typed into holds nothing back, before bulk as after it.
    """
    client, engine = await tunnel(rig, kind)
    for size in [16, 200_000, 16]:
        for number in range(50):
            message = b"%016d" % number * (size // 16)
            assert message == await carried(message, client, engine)
            assert message == await carried(message, engine, client)


@pytest.mark.parametrize("in_bulk", [False, True], ids=["quiet", "in bulk"])
@pytest_twisted.ensureDeferred
async def test_a_client_that_breaks_off_is_gone_for_the_engine(
    rig: Rig, kind: str, in_bulk: bool
) -> None:
    """
    A client that is reset in the middle takes the engine's connection with it.
    """
    client, engine = await tunnel(rig, kind)
    if in_bulk:
        sent = await engine.send_while_taken(bytes(32 * 1024 * 1024))
        assert sent < 32 * 1024 * 1024
    client.reset()
    if in_bulk:
        with pytest.raises(ConnectionError):
            await engine.send(bytes(8 * 1024 * 1024))
    else:
        assert await engine.sees_the_end()


@pytest.mark.parametrize("in_bulk", [False, True], ids=["quiet", "in bulk"])
@pytest_twisted.ensureDeferred
async def test_an_engine_that_breaks_off_is_gone_for_the_client(
    rig: Rig, kind: str, in_bulk: bool
) -> None:
    """
    An engine that is killed in the middle ends the client's connection.
    """
    client, engine = await tunnel(rig, kind)
    if in_bulk:
        sent = await client.send_while_taken(bytes(32 * 1024 * 1024))
        assert sent < 32 * 1024 * 1024
    engine.reset()
    assert await client.sees_the_end()
    client.close()
    await settle()
    assert len(rig.exchange_lines()) == 1


@pytest_twisted.ensureDeferred
async def test_an_upgrade_that_the_engine_does_not_follow_leaves_http_in_force(rig: Rig) -> None:
    """
    The next request on the connection is a request still, and hooked.

    Traps: smuggling behind upgrades: a client that only asks to leave HTTP has not left it.
    """
    adapter = KleinAdapter()
    rig.hook("POST /*/containers/create", pre=[rig.serve(adapter)])
    client = rig.connect()
    create = b"POST /v1.41/containers/create HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}"
    await client.send(ATTACH + UPGRADE + b"\r\n" + create)
    engine = await rig.engine.accept()
    assert await engine.read_head() == ATTACH + UPGRADE + b"\r\n"
    assert await engine.has_nothing_to_read()
    not_found = b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno"
    await engine.send(not_found)
    assert not_found == await client.read_exactly(len(not_found))
    assert create == await engine.read_exactly(len(create))
    assert adapter.bodies == ["{}"]


@pytest.mark.parametrize(
    "request_bytes",
    [
        PING,
        b"GET /info HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
        b"POST /v1.41/containers/create HTTP/1.1\r\nUpgrade: tcp\r\nContent-Length: 2\r\n\r\n{}",
        ATTACH + b"\r\n",
    ],
    ids=["not asked for", "info", "create", "attach without Upgrade"],
)
@pytest_twisted.ensureDeferred
async def test_a_101_where_none_is_known_is_refused(
    rig: Rig, lane: str, request_bytes: bytes
) -> None:
    """
    HTTP/2 behind it could carry requests that no hook sees.

    Traps: HTTP/2 on the socket: refuse it plainly where hooks could be passed by.
    """
    take_lane(rig, lane)
    client, engine = await rig.exchange(request_bytes)
    await engine.send(UPGRADED + b"trailing")
    answer = await client.read_to_end()
    assert answer.startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
    assert answer.endswith(
        b'{"message": "powerstrip: the engine left HTTP where it is not known to"}\n'
    )
    await client.send(b"POST /v1.41/containers/create HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
    assert await engine.sees_the_end()


@pytest.mark.parametrize(
    ("request_bytes", "answer"),
    [
        (ATTACH + b"\r\n", RAW.replace(b"\r\n\r\n", b"\r\nContent-Length: 0\r\n\r\n")),
        (PING, RAW.replace(b"\r\n\r\n", b"\r\nContent-Length: 0\r\n\r\n")),
    ],
    ids=["attach with a length", "elsewhere with a length"],
)
@pytest_twisted.ensureDeferred
async def test_a_200_that_is_framed_is_no_tunnel(
    rig: Rig, request_bytes: bytes, answer: bytes
) -> None:
    """
    The content type alone does not make one: the next request is read.
    """
    client, engine = await rig.exchange(request_bytes)
    await engine.send(answer)
    assert answer == await client.read_exactly(len(answer))
    await client.send(PING)
    assert await engine.read_head() == PING


@pytest_twisted.ensureDeferred
async def test_a_raw_stream_elsewhere_is_an_answer_and_no_tunnel(rig: Rig) -> None:
    """
    ``docker logs`` is answered with a raw stream as well: what the client sends is not passed on.
    """
    client, engine = await rig.exchange(b"GET /containers/x/logs HTTP/1.1\r\n\r\n")
    await engine.send(RAW + b"log")
    assert await client.read_exactly(len(RAW) + 3) == RAW + b"log"
    await client.send(PING)
    assert await engine.has_nothing_to_read()
    engine.close()
    assert await client.read() == b""


@pytest_twisted.ensureDeferred
async def test_hooks_are_told_of_a_tunnel_and_cannot_change_it(rig: Rig) -> None:
    """
    A pre-hook is shown the request, a post-hook the head with a Body of null, before it goes on.
    """
    adapter = KleinAdapter()
    url = rig.serve(adapter)
    rig.hook("POST /*/exec/*/start", pre=[url], post=[url])
    client, engine = await tunnel(rig, request=EXEC + UPGRADE + EXEC_BODY)
    assert adapter.bodies == ['{"Detach":false,"Tty":true}', None]
    assert adapter.payloads[1]["ServerResponse"]["Code"] == 101
    assert await carried(b"typed", client, engine) == b"typed"


@pytest_twisted.ensureDeferred
async def test_a_connection_behind_a_tunnel_is_not_used_again(rig: Rig) -> None:
    """
    What a client sends when its tunnel has ended reaches no engine.
    """
    client, engine = await tunnel(rig)
    engine.close()
    assert await client.sees_the_end()
    await client.send(PING)
    await settle()
    assert not rig.engine.is_waited_for


@pytest_twisted.ensureDeferred
async def test_a_tunnel_whose_directions_have_both_ended_is_closed(rig: Rig, kind: str) -> None:
    """
    Nobody waits for a client that has half-closed long ago.
    """
    client, engine = await tunnel(rig, kind)
    client.half_close()
    assert await engine.read() == b""
    engine.close()
    assert await client.read() == b""
    await settle()
    assert not rig.proxy.connections._open
